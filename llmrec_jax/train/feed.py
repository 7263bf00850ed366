"""The next batch on the devices before the step asks for it: one thread, one batch ahead.

Batches are made in `data/batches/pipeline.py`, the mesh is `parallel.py`'s; here the transfer of a batch to the devices
overlaps the step of the batch before.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from llmrec_jax.types import Batch


class Batches(Protocol):
    """What the feed reads: an iterator whose state can be saved."""

    def __next__(self) -> Batch: ...

    def get_state(self) -> dict[str, Any]:
        """Where the iterator stands (JSON)."""
        ...


class Feed:
    """Iterates over pairs: a batch on the host, and the same on the devices. A context manager.

    An error in the thread is raised by the `next` that asks for its batch, and by each one after it.
    """

    def __init__(self, batches: Batches, put: Callable[[Batch], Any]):
        """Begin with the first batch; from here on `batches` belongs to the feed.

        Args:
          batches: the iterator, at the batch to start with.
          put: `Layout.put_batch`; called from the thread.
        """
        self._batches, self._put = batches, put
        self._state = batches.get_state()
        self._thread = ThreadPoolExecutor(1, "feed")
        self._next = self._thread.submit(self._take)

    def __next__(self) -> tuple[Batch, Any]:
        batch, placed, self._state = self._next.result()
        self._next = self._thread.submit(self._take)
        return batch, placed

    def get_state(self) -> dict[str, Any]:
        """The iterator's state behind the last batch handed out: the batch made ahead of it does not count."""
        return self._state

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _take(self) -> tuple[Batch, Any, dict[str, Any]]:
        batch = next(self._batches)
        return batch, self._put(batch), self._batches.get_state()

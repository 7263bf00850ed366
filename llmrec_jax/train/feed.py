"""Prefetches batches to the devices: one thread, one batch ahead.

The transfer of a batch overlaps the step on the previous one. `data/batches/pipeline.py` creates the batches,
`parallel.py` the mesh.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

from llmrec_jax.types import Batch


class Batches(Protocol):
    """An iterator whose state can be saved."""

    def __next__(self) -> Batch: ...

    def get_state(self) -> dict[str, Any]:
        """The position of the iterator (JSON)."""
        ...

    def set_state(self, state: dict[str, Any], /) -> None:
        """Move to the position of a saved state."""
        ...


class Feed:
    """Iterates over pairs of a host batch and the same batch on the devices. A context manager.

    If the thread fails on a batch, `next` raises its error for that batch and from then on.
    """

    def __init__(self, batches: Batches, put: Callable[[Batch], Any]):
        """Start to prefetch; the caller must no longer use `batches`.

        Args:
          batches: the iterator, positioned at the first batch.
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
        """The iterator state after the last batch returned by `next`, not counting the prefetched one."""
        return self._state

    def __enter__(self) -> "Feed":
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _take(self) -> tuple[Batch, Any, dict[str, Any]]:
        batch = next(self._batches)
        return batch, self._put(batch), self._batches.get_state()

"""Iterates over the batches of a run: a function of the step, called in threads."""

from collections.abc import Callable
from typing import Any, TypeAlias

import grain

Iterator: TypeAlias = grain.DatasetIterator


def iterate(make: Callable[[int], Any], num_steps: int) -> Iterator:
    """`make(step)` of steps `0` to `num_steps - 1`, prefetched.

    The iterator state (`get_state`, `set_state`) is the current step: a run resumed from a checkpoint continues with
    the next batch.
    """
    options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
    return iter(grain.MapDataset.range(num_steps).map(make).to_iter_dataset(options))

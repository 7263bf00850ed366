"""The padded array sizes of a batch, and whether a batch fits them. `pipeline` chooses the sizes.

R rows of histories   U distinct items of a bucket, padded   P predictions of a domain, padded
I items of the joint catalogue   N items of the batch, repeated
"""

from typing import NamedTuple

import numpy as np

from llmrec_jax.types import Batch


class Capacity(NamedTuple):
    """Array sizes of a batch, with or without padding."""

    rows: int  # rows of histories: R
    items: tuple[int, ...]  # per bucket: U
    predictions: tuple[int, ...]  # per domain: P
    ratings: int = 0  # to predict

    @classmethod
    def of(cls, batch: Batch) -> "Capacity":
        """The sizes of a batch without its padding."""
        return cls(
            rows=int(batch.last_B.max()) // batch.history_RS.shape[1] + 1,
            items=tuple(int(items.mask_U.sum()) for items in batch.items),
            predictions=tuple(int(predictions.mask_P.sum()) for predictions in batch.predictions),
            ratings=0 if batch.ratings is None else int(batch.ratings.mask_N.sum()),
        )

    def holds(self, need: "Capacity") -> bool:
        """Whether all sizes are at least those of `need`."""
        ours, theirs = ((size.rows, *size.items, *size.predictions, size.ratings) for size in (self, need))
        return all(size >= needed for size, needed in zip(ours, theirs, strict=True))


def padded(values: np.ndarray, size: int, dtype: type = np.int32) -> tuple[np.ndarray, np.ndarray]:
    """The values padded with zeros, and a mask that is False on padding."""
    result: np.ndarray = np.zeros(size, dtype)
    result[: len(values)] = values
    return result, np.arange(size) < len(values)


def distinct_items(items_N: np.ndarray, scratch_I: np.ndarray) -> np.ndarray:
    """The distinct items in ascending order; 3 times as fast as sorting all items, 10 times as fast as `np.unique`."""
    numbers = np.arange(len(items_N), dtype=scratch_I.dtype)
    scratch_I[items_N] = numbers  # one of the duplicates wins
    return np.sort(items_N[scratch_I[items_N] == numbers])

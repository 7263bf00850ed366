"""Augments the histories of a batch: crop, mask or reorder.

Source: Xie et al., "Contrastive learning for sequential recommendation", arXiv:2010.14395, which makes pairs of similar
histories this way. Here a step trains on the augmented history in place of the original, and masked events are left
out, because not every user tower has a vector for a masked item.

M rows   W events of a window
"""

import numpy as np

AT_LEAST = 2  # events of a row, so that it has something to predict


def num_kept(kind: str, rate: float, length_M: np.ndarray) -> np.ndarray:
    """How many of its events a row keeps, int64 [M]."""
    if kind not in ("crop", "mask"):
        return length_M
    return np.clip(np.ceil((1 - rate) * length_M).astype(np.int64), AT_LEAST, length_M)


def augmented(
    kind: str, rate: float, length_M: np.ndarray, width: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The events that each row keeps, in order.

    crop: a contiguous part of `(1 - rate) * length` events, rounded up. mask: as many, each event with the same
    probability. reorder: a contiguous part of `rate * length` events, rounded up, is shuffled, all are kept. At least
    two events are kept or shuffled.

    Args:
      kind: "crop", "mask" or "reorder".
      rate: in (0, 1).
      length_M: events of each row, from 2 to `width`.
      width: W.
      rng: the random stream of this step and domain.

    Returns:
      The positions in the window [M, W] of the new row's events, arbitrary beyond its end, and its length [M].
    """
    place_W, kept_M = np.arange(width), num_kept(kind, rate, length_M)
    random_MW = rng.random((len(length_M), width))
    if kind == "mask":
        random_MW[place_W >= length_M[:, None]] = 1  # after all events
        rank_MW = random_MW.argsort(axis=1).argsort(axis=1)
        return np.argsort(rank_MW >= kept_M[:, None], axis=1, kind="stable"), kept_M
    if kind == "crop":
        return rng.integers(length_M - kept_M, endpoint=True)[:, None] + place_W, kept_M
    assert kind == "reorder", kind
    moved_M = np.clip(np.ceil(rate * length_M).astype(np.int64), AT_LEAST, length_M)
    start_M = rng.integers(length_M - moved_M, endpoint=True)
    is_moved_MW = (place_W >= start_M[:, None]) & (place_W < (start_M + moved_M)[:, None])
    shuffled_MW = start_M[:, None] + moved_M[:, None] * random_MW
    return np.argsort(np.where(is_moved_MW, shuffled_MW, place_W), axis=1, kind="stable"), kept_M

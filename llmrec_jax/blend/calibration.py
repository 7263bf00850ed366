"""Calibrated scores: a monotone map from a score of the answer to the probability that the item is the next event.

Isotonic regression (Zadrozny and Elkan 2002) on validation events: each user with each item outside the history is an
observation, 1 for the item of the event and else 0. The scores are sorted into bins that are the finer the higher they
are, because nearly all items have low scores and nearly all events high ones. The map is piecewise linear between the
mean scores of the bins; below the lowest and above the highest it is constant.

Shape letters besides those of `types.py`: B bins.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.blend.answer import Blend, mix

BINS = 400  # before regression, which merges most of them
FEWEST_USERS = 100  # with fewer, there is no map
SCORES = 2**22  # in memory at a time, per part


class Calibration(NamedTuple):
    """The corners of the map."""

    score_B: np.ndarray  # float64, ascending
    probability_B: np.ndarray  # float64, never falling

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of scores, of the same shape."""
        return np.interp(scores, self.score_B, self.probability_B)


def fit_calibration(
    folds: Iterable[tuple[Blend, Sequence[np.ndarray], np.ndarray]], weights_of: dict[str, float]
) -> Calibration | None:
    """Fit the map to events; None if there are fewer than `FEWEST_USERS`.

    Args:
      folds: a blend, histories and the items of the events [N], of one domain.
      weights_of: of the parts, by name; those of the blends are not read.
    """
    edges_B: np.ndarray | None = None
    counts_B, hits_B, sums_B = (np.zeros(BINS + 1) for _ in range(3))
    for blend, histories, target_N in folds:
        rows_at_once = max(1, SCORES // blend.num_items)
        for begin in range(0, len(target_N), rows_at_once):
            rows = slice(begin, begin + rows_at_once)
            parts = blend.part_scores(histories[rows])
            scores_NI = mix(parts, [weights_of[part.name] for part in blend.parts]).astype(np.float64)
            hit_N = scores_NI[np.arange(len(scores_NI)), target_N[rows]]
            for row, history in enumerate(histories[rows]):
                scores_NI[row, np.setdiff1d(history, target_N[begin + row])] = np.nan
            scores = scores_NI[~np.isnan(scores_NI)]
            if edges_B is None:
                edges_B = np.quantile(scores, 1 - np.geomspace(1, 1 / len(scores), BINS))
            bins = np.searchsorted(edges_B, scores, side="right")
            counts_B += np.bincount(bins, minlength=BINS + 1)
            sums_B += np.bincount(bins, scores, minlength=BINS + 1)
            hits_B += np.bincount(np.searchsorted(edges_B, hit_N, side="right"), minlength=BINS + 1)
    full = counts_B > 0
    if hits_B.sum() < FEWEST_USERS:
        return None
    from scipy.optimize import isotonic_regression  # slow to import, and not needed to apply a calibration

    fitted = isotonic_regression(hits_B[full] / counts_B[full], weights=counts_B[full]).x
    score_B = sums_B[full] / counts_B[full]
    is_corner_B = np.ones(len(fitted), bool)
    is_corner_B[1:-1] = (fitted[1:-1] != fitted[:-2]) | (fitted[1:-1] != fitted[2:])
    return Calibration(score_B[is_corner_B], fitted[is_corner_B])

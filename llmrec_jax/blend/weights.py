"""Fits the weights of a blend on validation events: coordinate ascent on NDCG@10, guarded by cross-fitting.

The initial weights are kept unless the fitted ones are better on users that they were not fitted on. The trained model
starts at weight 0 and gets a weight above 0 only if it improves such users significantly. The best weights for
validation events are not the best for later ones (they differ in age, and popularity drifts), so changes of a weight
are penalized: doubling it has to gain 10 % in NDCG@10, a weight of 1 for the model 2 %.

Shape letters besides those of `types.py`: K parts, C candidates of a user.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from llmrec_jax.blend.answer import MODEL, Blend, mix

FEWEST_USERS = 500  # with fewer validation users, fitted weights are worse than fixed ones
MOST_USERS = 10_000  # more change little
TOP = 60  # candidates from each part; items beyond hardly reach a top 10 of the sum
SCORES = 2**24  # in memory at a time, per part
ROUNDS = 3
FOLDS = 5  # of users, for the guard
COST = 0.2  # of changing a weight by a factor, relative to the first NDCG@10: 0.2 * log(factor)^2
COST_FROM_ZERO = 0.02  # of a weight that started at 0, relative to the first NDCG@10: 0.02 * weight
FACTORS = (0.0, 0.3, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0, 3.0)  # tried on each weight
FROM_ZERO = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)  # tried on a weight of 0


class HeldOut(NamedTuple):
    """NDCG@10 of each user under weights that were fitted on other users, among the candidates of the fit."""

    untrained_N: np.ndarray  # without the trained model
    answer_N: np.ndarray  # with it; equal if it got no weight


class Fit(NamedTuple):
    """Fitted weights and what they were fitted on."""

    weights: dict[str, float]
    users: int
    reason: str
    held_out: HeldOut | None = None  # None: nothing was fitted
    fitted_untrained: dict[str, float] | None = None  # fitted without the model; None: not fitted

    @property
    def untrained(self) -> dict[str, float]:
        """The weights of the answer without the trained model, which may differ from those with a model."""
        return self.weights | (self.fitted_untrained or {}) | {MODEL: 0.0}

    def report(self) -> dict[str, Any]:
        """The facts for the report."""
        return {"weights": self.weights, "users": self.users, "reason": self.reason}


def fit_weights(
    folds: Iterable[tuple[Blend, Sequence[np.ndarray], np.ndarray]],
    domain: str,
    *,
    fit_untrained: bool = True,
) -> Fit:
    """Fit the weights of the parts.

    Args:
      folds: a blend, histories and targets; of one domain, so that the parts are the same. The first blend's weights
        are the start, but the model's is 0.
      domain: its name, for the reason.
      fit_untrained: whether to fit the weights of the untrained parts, too.
    """
    weights: dict[str, float] = {}
    found = []
    for blend, histories, target_N in folds:
        weights = weights or {part.name: blend.weights[part.name] for part in blend.parts} | {MODEL: 0.0}
        assert [part.name for part in blend.parts] == list(weights)
        found.append(candidates(blend, histories, target_N))
    width = max(array.shape[2] for array in found)
    padded = [np.pad(a, ((0, 0), (0, 0), (0, width - a.shape[2])), constant_values=np.nan) for a in found]
    scores_KNC = np.concatenate(padded, axis=1)
    names, start_K = list(weights), np.array(list(weights.values()))
    fold_N = np.random.default_rng(0).permutation(scores_KNC.shape[1]) % FOLDS

    def cross_fitted(free: Sequence[int]) -> np.ndarray:
        """NDCG@10 of each user under weights fitted on the other folds of users."""
        ndcg_N = np.zeros(len(fold_N))
        for fold in range(FOLDS):
            weights_K = ascend(scores_KNC[:, fold_N != fold], start_K, free)
            ndcg_N[fold_N == fold] = ndcg(scores_KNC[:, fold_N == fold], weights_K)
        return ndcg_N

    free: list[int] = []
    best_N, untrained = ndcg(scores_KNC, start_K), [k for k, name in enumerate(names) if name != MODEL]
    if fit_untrained and (fitted_N := cross_fitted(untrained)).mean() > best_N.mean():
        free, best_N = untrained, fitted_N
    model = names.index(MODEL)
    answer_N = cross_fitted([*free, model])
    gain_N = answer_N - best_N
    helps = gain_N.mean() > 1.96 * gain_N.std() / np.sqrt(len(gain_N))
    weights_K = ascend(scores_KNC, start_K, [*free, model] if helps else free)
    reason = (
        f"{'fitted' if free else 'fixed'}; the model {'improves' if helps else 'does not improve'} validation users of "
        f"{domain}: {gain_N.mean():+.4f} NDCG@10, standard error {gain_N.std() / np.sqrt(len(gain_N)):.4f}"
    )
    untrained_K = ascend(scores_KNC, start_K, free) if free and helps else weights_K
    fitted, fitted_untrained = (
        {name: float(weight) for name, weight in zip(names, found_K, strict=True)}
        for found_K in (weights_K, untrained_K)
    )
    held_out = HeldOut(best_N, answer_N if helps else best_N)
    return Fit(fitted, len(fold_N), reason, held_out, fitted_untrained if free else None)


def candidates(blend: Blend, histories: Sequence[np.ndarray], target_N: np.ndarray) -> np.ndarray:
    """The parts' scores of each user's candidates, float32 [K, N, C], NaN on padding.

    Candidates are the target, which is the first, and the best `TOP` items under each part and under the blend's own
    weights, history excluded.
    """
    rows_at_once = max(1, SCORES // blend.num_items)
    top = min(TOP, blend.num_items)
    blocks = []
    for begin in range(0, len(target_N), rows_at_once):
        rows = slice(begin, begin + rows_at_once)
        parts = blend.part_scores(histories[rows])
        users_R = np.arange(len(parts[0]))
        excluded = np.zeros(parts[0].shape, bool)
        for user, history in enumerate(histories[rows]):
            excluded[user, history] = True
        excluded[users_R, target_N[rows]] = True
        lists = []
        for scores_RI in [*parts, mix(parts, [blend.weights[part.name] for part in blend.parts])]:
            masked_RI = np.where(excluded, -np.inf, scores_RI)
            lists.append(np.argpartition(-masked_RI, top - 1, axis=1)[:, :top])
        item_RC = np.sort(np.concatenate(lists, axis=1), axis=1)
        is_padding_RC = np.diff(item_RC, axis=1, prepend=-1) == 0
        is_padding_RC |= np.take_along_axis(excluded, item_RC, axis=1)
        item_RC = np.concatenate([target_N[rows][:, None], item_RC], axis=1)
        is_padding_RC = np.concatenate([np.zeros((len(item_RC), 1), bool), is_padding_RC], axis=1)
        blocks.append(
            np.stack([np.where(is_padding_RC, np.nan, np.take_along_axis(part, item_RC, axis=1)) for part in parts])
        )
    return np.concatenate(blocks, axis=1).astype(np.float32)


def ascend(scores_KNC: np.ndarray, start_K: np.ndarray, free: Sequence[int]) -> np.ndarray:
    """Coordinate ascent on the mean NDCG@10, less the cost of changes, over the weights `free`; the others stay."""
    weights_K = np.array(start_K, np.float32)
    first = best = float(ndcg(scores_KNC, weights_K).mean())
    for _ in range(ROUNDS):
        before = best
        for k in free:
            others_K = np.arange(len(weights_K)) != k
            rest_NC, current = _sum(scores_KNC, weights_K * others_K), weights_K[k]
            for weight in current * np.array(FACTORS) if current else np.array(FROM_ZERO):
                tried_K = np.where(others_K, weights_K, weight)
                value = float(_ndcg(rest_NC + np.float32(weight) * scores_KNC[k]).mean())
                value -= first * _cost(tried_K, start_K)
                if value > best + 1e-9:
                    best, weights_K = value, tried_K.astype(np.float32)
        if best == before:
            break
    return weights_K


def _cost(weights_K: np.ndarray, start_K: np.ndarray) -> float:
    """The cost of weights, relative to the first NDCG@10. A weight of 0 counts as a fifth of its start."""
    started_K = start_K > 0
    ratio_K = np.maximum(weights_K[started_K] / start_K[started_K], 0.2)
    return float(COST * np.sum(np.log(ratio_K) ** 2) + COST_FROM_ZERO * np.sum(weights_K[~started_K]))


def ndcg(scores_KNC: np.ndarray, weights_K: np.ndarray) -> np.ndarray:
    """NDCG@10 of each user among the candidates."""
    return _ndcg(_sum(scores_KNC, weights_K))


def _sum(scores_KNC: np.ndarray, weights_K: np.ndarray) -> np.ndarray:
    return np.tensordot(weights_K.astype(np.float32), scores_KNC, axes=1)


def _ndcg(scores_NC: np.ndarray) -> np.ndarray:
    target_N1, others_NC = scores_NC[:, :1], scores_NC[:, 1:]  # comparisons with NaN are false
    rank_N = 1 + np.count_nonzero(others_NC > target_N1, axis=1) + np.count_nonzero(others_NC == target_N1, axis=1) / 2
    return np.where(rank_N <= 10, 1 / np.log2(1 + rank_N), 0.0)

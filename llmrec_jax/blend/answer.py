"""The blend of parts, and the trained model as one of them. `weights` fits the weights.

Because a score is the sum of the parts' weighted scores, these are an exact explanation of it.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.baselines.channel import Channel, sum_of_scores
from llmrec_jax.predictor import VectorPredictor

ANSWER, MODEL = "answer", "model"  # names in the report


class Part(NamedTuple):
    """A named function from histories (item numbers, oldest first) to scores of all items, float32 [N, I].

    Zero means that the part knows nothing about an item. Scores have a scale that is comparable between users.
    """

    name: str
    scores: Callable[[Sequence[np.ndarray]], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class Blend:
    """The sum of `weights[name]` times the scores of each part."""

    num_items: int
    parts: tuple[Part, ...]
    weights: Mapping[str, float]  # by the name of the part

    def part_scores(self, histories: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The unweighted scores of each part, float32 [N, I]."""
        return [part.scores(histories) for part in self.parts]

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """The scores of the answer, float32 [N, I]."""
        return mix(self.part_scores(histories), [self.weights[part.name] for part in self.parts])

    def mixtures(self) -> dict[str, list[float]]:
        """For the report, weights of the parts by method: each part alone, the answer without each, the answer.

        The trained model alone is not among them, because every report has it as the method `model`.
        """
        names = [part.name for part in self.parts]
        whole = [self.weights[name] for name in names]
        used = [name for name, weight in zip(names, whole, strict=True) if weight]
        alone = {f"only {one}": [float(name == one) for name in names] for one in names if one != MODEL}
        without = {f"without {one}": [w * (name != one) for name, w in zip(names, whole, strict=True)]
                   for one in used if len(used) > 1}  # fmt: skip
        return {**alone, **without, ANSWER: whole}


def mix(scores: Sequence[np.ndarray], weights: Sequence[float]) -> np.ndarray:
    """The weighted sum of arrays of one shape, float32."""
    total = np.zeros(scores[0].shape, np.float32)
    for array, weight in zip(scores, weights, strict=True):
        if weight:
            total += np.float32(weight) * array
    return total


def channel_part(name: str, channels: Sequence[Channel]) -> Part:
    """The sum of channels, which carry their weights in their scale."""
    return Part(name, lambda histories: sum_of_scores(channels, histories))


def model_part(predictor: VectorPredictor, name: str = MODEL) -> Part:
    """The trained model's scores, standardized over the items of each user (z-scores): its cosines have no scale that
    is comparable between users. Items without a vector (all zeros) get 0, as does everything for an empty history.
    """
    items_DI = np.asarray(predictor.items_ID, np.float32).T
    is_known_I = np.asarray(items_DI.any(axis=0))

    def scores(histories: Sequence[np.ndarray]) -> np.ndarray:
        return standardized(np.asarray(predictor.users(histories), np.float32) @ items_DI, is_known_I)

    return Part(name, scores)


def standardized(scores_NI: np.ndarray, is_known_I: np.ndarray) -> np.ndarray:
    """Rows with mean 0 and deviation 1 over the known items, 0 on the others; rows without variance become zero."""
    if not is_known_I.any():
        return np.zeros_like(scores_NI)
    mean_N1 = (scores_NI if is_known_I.all() else scores_NI[:, is_known_I]).mean(axis=1, keepdims=True)
    standard_NI = scores_NI - mean_N1
    standard_NI[:, ~is_known_I] = 0
    squares_N1 = np.einsum("ni,ni->n", standard_NI, standard_NI)[:, None]
    deviation_N1 = np.sqrt(squares_N1 / is_known_I.sum())
    is_flat_N1 = deviation_N1 <= 1e-6 * np.maximum(1e-6, np.abs(mean_N1))
    standard_NI /= np.where(is_flat_N1, np.inf, deviation_N1)
    return standard_NI.astype(np.float32, copy=False)

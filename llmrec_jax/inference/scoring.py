"""The scores of a shelf for a batch of histories, by part of the answer. One matrix product per table and block.

Shape letters besides those of `types.py`: N histories, J items of the shelf, C candidates.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from llmrec_jax.baselines.channel import few_products
from llmrec_jax.blend.answer import MODEL, channel_part, standardized
from llmrec_jax.blend.calibration import Calibration
from llmrec_jax.inference.catalog import Catalog

POPULARITY, DISLIKED = "popularity", "disliked"
DISLIKE = 0.5  # weight of the scores for the disliked items, which are subtracted; 1 empties the shelf of a whole theme


class History(NamedTuple):
    """A history: items known to the catalogue, oldest first."""

    numbers: np.ndarray  # of the items
    times: np.ndarray | None = None  # int64 seconds; None: unknown


class Candidates(NamedTuple):
    """Some items of the target for one history."""

    positions_C: np.ndarray  # ascending
    parts: dict[str, np.ndarray]  # what each part adds to their scores, float32 [C]


class UserTower(Protocol):
    """The part of `network.Network` that scoring needs."""

    def user_vectors(self, items: Sequence[np.ndarray], times: Sequence[np.ndarray | None]) -> np.ndarray:
        """float32 [N, D]."""


class Index(Protocol):
    """The part of `nearest.Nearest` that answering needs."""

    catalog: Catalog

    def candidates(self, scorer: "Scorer", history: History, k: int) -> Candidates:
        """Those for the best `k` items of a history with items of the target."""


class Scorer(NamedTuple):
    """Scores the items of one shop with the parts of an answer."""

    catalog: Catalog
    network: UserTower
    weights: Mapping[str, float]  # by part
    calibration: Calibration | None = None  # of the sum of all parts
    nearest: Index | None = None  # of the items of a catalogue, maybe an older one

    def parts(self, histories: Sequence[History], shop: str, disliked: np.ndarray) -> dict[str, np.ndarray]:
        """What each part adds to the scores of each history, float32 [N, J].

        A history without items is scored by popularity. To a history without items of the target, or to items of
        another domain, only the trained model applies. `disliked` are item numbers: what the parts other than
        popularity give for them is subtracted where it is positive, as the part `DISLIKED`.
        """
        liked = self._liked(histories, shop)
        popular_J = self._popularity(shop)
        is_empty_N = np.array([not len(history.numbers) for history in histories], bool)
        if is_empty_N.any():
            for scores_NJ in liked.values():
                scores_NJ[is_empty_N] = 0
            liked[POPULARITY] = liked.get(POPULARITY, 0) + np.where(is_empty_N[:, None], popular_J[None], 0)
        if len(disliked):
            found = self._liked([History(disliked)], shop)
            found.pop(POPULARITY, None)
            loss_J = DISLIKE * np.maximum(np.sum([scores[0] for scores in found.values()], axis=0), 0)
            # Popularity is on another scale: there the most disliked item loses as much as the most popular one has.
            small_J = loss_J / (loss_J.max() or 1) * popular_J.max(initial=0)
            liked[DISLIKED] = -np.where(is_empty_N[:, None], small_J[None], loss_J[None]).astype(np.float32)
        return liked

    def _liked(self, histories: Sequence[History], shop: str) -> dict[str, np.ndarray]:
        is_target = shop == self.catalog.target
        own = [self.own(history) for history in histories]
        found: dict[str, np.ndarray] = {}
        if is_target and any(map(len, own)):
            for name, fitted in self.catalog.channels.items():
                if self.weights[name]:
                    found[name] = channel_part(name, [f.channel for f in fitted]).scores(own)
                    found[name] *= np.float32(self.weights[name])
        weight = self.weights[MODEL]
        weight_N = np.array([weight if is_target and len(numbers) else weight or 1.0 for numbers in own], np.float32)
        if weight_N.any():
            found[MODEL] = self._model(histories, shop)
            found[MODEL] *= weight_N[:, None]
        return found

    def _model(self, histories: Sequence[History], shop: str) -> np.ndarray:
        """The z-scores of the trained model, float32 [N, J]; see `blend.answer.model_part`."""
        vectors_ID = self.catalog.vectors_ID
        vectors_DJ, is_known_J = self.catalog.vectors(shop)
        items, times = [vectors_ID[h.numbers] for h in histories], [h.times for h in histories]
        users_ND = self.network.user_vectors(items, times)
        return standardized(few_products(users_ND, vectors_DJ), is_known_J)

    def shares(self, parts: Mapping[str, np.ndarray], row: int, position: int, history: History) -> dict[str, float]:
        """What each part of `parts` adds to one score; without the parts that do not apply to the history."""
        names = [name for name in parts if name != POPULARITY or self.weights.get(POPULARITY)]
        if not len(history.numbers):
            names = [name for name in (POPULARITY, DISLIKED) if name in parts]
        return {name: float(parts[name][row, position]) for name in names}

    def model_direction(self, history: History) -> np.ndarray:
        """The vector whose product with an item's vector is what the model adds to its score, up to a constant [D]."""
        vectors_JD = self.catalog.vectors_ID[self.catalog.target_J]
        user_D = self.network.user_vectors([self.catalog.vectors_ID[history.numbers]], [history.times])[0]
        weight = self.weights[MODEL] if len(self.own(history)) else self.weights[MODEL] or 1.0
        return weight * user_D / ((vectors_JD @ user_D)[vectors_JD.any(axis=1)].std() or np.inf)

    def own(self, history: History) -> np.ndarray:
        """The positions on the target's shelf of those items of a history that are the target's."""
        own = self.catalog.position_I[history.numbers]
        return own[own >= 0]

    def _popularity(self, shop: str) -> np.ndarray:
        """The share of each item in the training events of all items, float32 [J]."""
        popularity_I = self.catalog.popularity_I
        return (popularity_I[self.catalog.shelf(shop)] / (popularity_I.sum() or 1)).astype(np.float32)

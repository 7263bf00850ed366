"""The scores of a shelf for a batch of histories, by part of the answer. One matrix product per table and block.

Shape letters besides those of `types.py`: N histories, J items of the shelf, Q texts,
V features of a channel.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from llmrec_jax.blend.answer import MODEL, channel_part, standardized
from llmrec_jax.data.domains.records import Item
from llmrec_jax.inference.catalog import Catalog

POPULARITY, DISLIKED = "popularity", "disliked"
DISLIKE = 1.0  # weight of the scores for the disliked items, which are subtracted


class History(NamedTuple):
    """A history: items known to the catalogue, oldest first."""

    numbers: np.ndarray  # of the items
    times: np.ndarray | None = None  # int64 seconds; None: unknown


class UserTower(Protocol):
    """The part of `network.Network` that scoring needs."""

    def user_vectors(self, items: Sequence[np.ndarray], times: Sequence[np.ndarray | None]) -> np.ndarray:
        """float32 [N, D]."""


class Scorer(NamedTuple):
    """Scores the items of one shop with the parts of an answer."""

    catalog: Catalog
    network: UserTower
    weights: Mapping[str, float]  # by part

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
        own = [numbers[numbers >= 0] for numbers in (self.catalog.position_I[h.numbers] for h in histories)]
        found: dict[str, np.ndarray] = {}
        if is_target and any(map(len, own)):
            for name, fitted in self.catalog.channels.items():
                if self.weights[name]:
                    scores_NJ = channel_part(name, [f.channel for f in fitted]).scores(own)
                    found[name] = np.float32(self.weights[name]) * scores_NJ
        weight = self.weights[MODEL]
        weight_N = np.array([weight if is_target and len(numbers) else weight or 1.0 for numbers in own], np.float32)
        if weight_N.any():
            found[MODEL] = weight_N[:, None] * self._model(histories, shop)
        return found

    def _model(self, histories: Sequence[History], shop: str) -> np.ndarray:
        """The z-scores of the trained model, float32 [N, J]; see `blend.answer.model_part`."""
        vectors_ID = self.catalog.vectors_ID
        vectors_JD = vectors_ID[self.catalog.shelf(shop)]
        items, times = [vectors_ID[h.numbers] for h in histories], [h.times for h in histories]
        users_ND = self.network.user_vectors(items, times)
        return standardized(users_ND @ vectors_JD.T, vectors_JD.any(axis=1))

    def of_texts(
        self,
        history: History,
        items: Sequence[Item],
        features: Callable[[], np.ndarray],
        vectors: Callable[[], np.ndarray | None],
    ) -> np.ndarray:
        """What the texts of items of the target add to their scores, float64 [Q]; without what counts add.

        `features` and `vectors` give the vectors of their texts by the pretrained encoder [Q, F] and by the model
        [Q, D], None if it reads no text.
        """
        total_Q = np.zeros(len(items))
        own = self.catalog.position_I[history.numbers]
        own = own[own >= 0]
        for name, part in self.catalog.channels.items():
            for fitted in part:
                if not self.weights[name] or not len(own) or fitted.channel.as_item_IV is None:
                    continue
                _, rows_QV = fitted.reader.rows(items, features)
                only = dataclasses.replace(fitted.channel, as_item_IV=rows_QV)
                total_Q += self.weights[name] * only.scores([own])[0]
        weight = self.weights[MODEL] if len(own) else 1.0
        if weight and len(history.numbers) and (vectors_QD := vectors()) is not None:
            vectors_JD = self.catalog.vectors_ID[self.catalog.target_J]
            user_D = self.network.user_vectors([self.catalog.vectors_ID[history.numbers]], [history.times])[0]
            known_J = (vectors_JD @ user_D)[vectors_JD.any(axis=1)]
            total_Q += weight * (vectors_QD @ user_D - known_J.mean()) / (known_J.std() or np.inf)
        return total_Q

    def _popularity(self, shop: str) -> np.ndarray:
        """The share of each item in the training events of all items, float32 [J]."""
        popularity_I = self.catalog.popularity_I
        return (popularity_I[self.catalog.shelf(shop)] / (popularity_I.sum() or 1)).astype(np.float32)

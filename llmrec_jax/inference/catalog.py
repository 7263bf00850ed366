"""The items that a `Recommender` knows. Immutable: adding items creates a new catalogue.

A thread that recommends while another adds items therefore sees all of the new items or none.

Shape letters besides those of `types.py`: Q items added, J items of the target.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from llmrec_jax.baselines.readers import Fitted
from llmrec_jax.inference.bundle import Bundle, BundleItem


@dataclasses.dataclass(frozen=True, eq=False)
class Catalog:
    """Items of all training domains, and items added later. Those of the target can be recommended."""

    items: list[BundleItem]
    number: dict[str, int]  # item id -> position in `items`; an id in several domains refers to the target's item
    vectors_ID: np.ndarray  # of the trained model; zeros where it has none
    popularity_I: np.ndarray  # number of training events; with weights their sum
    target_J: np.ndarray  # positions in `items` of the target's items
    position_I: np.ndarray  # the inverse of `target_J`; -1 on items of other domains
    channels: dict[str, list[Fitted]]  # of the untrained parts, over the target's items

    @classmethod
    def of(cls, bundle: Bundle) -> "Catalog":
        """The items of a bundle."""
        target_J = np.flatnonzero([item.domain == bundle.target for item in bundle.items])
        position_I = np.full(len(bundle.items), -1)
        position_I[target_J] = np.arange(len(target_J))
        number = {item.item_id: n for n, item in reversed(list(enumerate(bundle.items)))}
        number |= {bundle.items[n].item_id: int(n) for n in target_J}
        vectors_ID, popularity_I = bundle.extras["item_vectors"], bundle.extras["popularity"]
        channels = bundle.parts.channels
        return cls(list(bundle.items), number, vectors_ID, popularity_I, target_J, position_I, channels)

    def with_items(
        self, items: Sequence[BundleItem], vectors_QD: np.ndarray, channels: dict[str, list[Fitted]]
    ) -> "Catalog":
        """A catalogue with additional items of the target, which have no interactions; `channels` include them."""
        added_Q = len(self.items) + np.arange(len(items))
        return Catalog(
            items=[*self.items, *items],
            number=self.number | {item.item_id: len(self.items) + q for q, item in enumerate(items)},
            vectors_ID=np.concatenate([self.vectors_ID, vectors_QD]),
            popularity_I=np.concatenate([self.popularity_I, np.zeros(len(items), self.popularity_I.dtype)]),
            target_J=np.concatenate([self.target_J, added_Q]),
            position_I=np.concatenate([self.position_I, len(self.target_J) + np.arange(len(items))]),
            channels=channels,
        )

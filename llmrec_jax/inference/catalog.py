"""The items that a `Recommender` knows. Immutable: adding items creates a new catalogue.

A thread that recommends while another adds items therefore sees all of the new items or none.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from llmrec_jax.inference.bundle import Bundle, BundleItem


@dataclasses.dataclass(frozen=True, eq=False)
class Catalog:
    """Items of all training domains, and items added later."""

    items: list[BundleItem]
    number: dict[str, int]  # item id -> position in `items`; an id in several domains refers to the target's item
    vectors_ID: np.ndarray
    popularity_I: np.ndarray  # number of training events; with weights their sum
    is_candidate_I: np.ndarray  # bool: belongs to the target

    @classmethod
    def of(cls, bundle: Bundle) -> "Catalog":
        """The items of a bundle."""
        is_candidate_I = np.array([item.domain == bundle.target for item in bundle.items], bool)
        number = {item.item_id: n for n, item in reversed(list(enumerate(bundle.items)))}
        number |= {bundle.items[n].item_id: int(n) for n in np.flatnonzero(is_candidate_I)}
        vectors_ID, popularity_I = bundle.extras["item_vectors"], bundle.extras["popularity"]
        return cls(list(bundle.items), number, vectors_ID, popularity_I, is_candidate_I)

    def with_items(self, items: Sequence[BundleItem], vectors_QD: np.ndarray) -> "Catalog":
        """A catalogue with additional items of the target, which have no interactions."""
        return Catalog(
            items=[*self.items, *items],
            number=self.number | {item.item_id: len(self.items) + q for q, item in enumerate(items)},
            vectors_ID=np.concatenate([self.vectors_ID, vectors_QD]),
            popularity_I=np.concatenate([self.popularity_I, np.zeros(len(items), self.popularity_I.dtype)]),
            is_candidate_I=np.concatenate([self.is_candidate_I, np.ones(len(items), bool)]),
        )

"""The items of a `Recommender`. Immutable: adding or removing items creates a new catalogue.

So a thread that recommends while another adds items uses all of the new items or none.

Shape letters besides those of `types.py`: Q items added, J items of the target.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import numpy as np

from llmrec_jax.baselines.readers import Fitted, comparing, for_queries
from llmrec_jax.errors import UserError
from llmrec_jax.inference.arguments import as_ids
from llmrec_jax.inference.bundle import Bundle, BundleItem
from llmrec_jax.inference.fields import FieldIndex, field_names, index_field
from llmrec_jax.inference.planar import planar


@dataclasses.dataclass(frozen=True, eq=False)
class Catalog:
    """Items of all training domains, and items added later. Those of the target can be recommended by all parts."""

    items: list[BundleItem]
    number: dict[str, int]  # item id -> position in `items`; an id in several domains refers to the target's item
    vectors_ID: np.ndarray  # of the trained model; zeros where it has none
    popularity_I: np.ndarray  # number of training events; with weights their sum
    target_J: np.ndarray  # positions in `items` of the target's items
    position_I: np.ndarray  # the inverse of `target_J`; -1 on items of other domains
    channels: dict[str, list[Fitted]]  # of the untrained parts, over the target's items
    target: str  # name of the target domain

    @classmethod
    def of(cls, bundle: Bundle) -> "Catalog":
        """The items of a bundle."""
        target_J = np.flatnonzero([item.domain == bundle.target for item in bundle.items])
        position_I = np.full(len(bundle.items), -1)
        position_I[target_J] = np.arange(len(target_J))
        number = {item.item_id: n for n, item in reversed(list(enumerate(bundle.items)))}
        # Of the target's items with one id, all but the last were removed.
        number |= {bundle.items[n].item_id: int(n) for n in target_J}
        vectors_ID, popularity_I = bundle.extras["item_vectors"], bundle.extras["popularity"]
        tables = vectors_ID, popularity_I, target_J, position_I, bundle.parts.channels
        return cls(list(bundle.items), number, *tables, bundle.target)

    def with_items(
        self, items: Sequence[BundleItem], vectors_QD: np.ndarray, channels: dict[str, list[Fitted]]
    ) -> "Catalog":
        """A catalogue with additional items of the target, which have no interactions; `channels` include them."""
        added_Q = len(self.items) + np.arange(len(items))
        return dataclasses.replace(
            self,
            items=[*self.items, *items],
            number=self.number | {item.item_id: len(self.items) + q for q, item in enumerate(items)},
            vectors_ID=np.concatenate([self.vectors_ID, vectors_QD]),
            popularity_I=np.concatenate([self.popularity_I, np.zeros(len(items), self.popularity_I.dtype)]),
            target_J=np.concatenate([self.target_J, added_Q]),
            position_I=np.concatenate([self.position_I, len(self.target_J) + np.arange(len(items))]),
            channels=channels,
        ).prepared()

    def without_items(self, item_ids: Iterable[Any]) -> "Catalog":
        """A catalogue in which these items are marked as removed: never recommended, but still read in histories.

        Raises ValueError if an id is not that of an item of the target, or of one that was removed before.
        """
        items = list(self.items)
        for number in self.numbers_of(item_ids, "item_ids"):
            item = items[number]
            if item.domain != self.target or item.is_removed:
                state = "was removed before" if item.is_removed else f"is not an item of {self.target!r}"
                raise UserError(f"item_ids: {item.item_id!r} {state}")
            items[number] = msgspec.structs.replace(item, is_removed=True)
        return dataclasses.replace(self, items=items).prepared()

    def prepared(self) -> "Catalog":
        """Itself, with what the first recommendation would have to compute."""
        for part in self.channels.values():
            for fitted in part:
                fitted.channel.prepare()
        self.vectors(self.target)
        _ = self.is_offered_I
        return self

    def shelf(self, shop: str) -> np.ndarray:
        """Positions in `items` of the items of a domain, removed ones included; for the target `target_J`."""
        if shop not in self._shelves:
            self._shelves[shop] = np.flatnonzero([item.domain == shop for item in self.items])
        return self._shelves[shop]

    def places(self, shop: str) -> np.ndarray:
        """The inverse of `shelf`: position on the shelf of each of `items`, -1 on those of other domains [I]."""
        if shop == self.target:
            return self.position_I
        shelf_J, place_I = self.shelf(shop), np.full(len(self.items), -1)
        place_I[shelf_J] = np.arange(len(shelf_J))
        return place_I

    def vectors(self, shop: str) -> tuple[np.ndarray, np.ndarray]:
        """Vectors of the trained model of the items of `shelf`, float32 [D, J], and which of them are not zero [J]."""
        if shop not in self._vectors:
            shelf_J = self.shelf(shop)
            is_all = len(shelf_J) == len(self.items)
            vectors_JD = self.vectors_ID if is_all else self.vectors_ID[shelf_J]
            self._vectors[shop] = np.ascontiguousarray(vectors_JD.T), np.asarray(vectors_JD.any(axis=1))
        return self._vectors[shop]

    def number_in(self, shop: str) -> dict[str, int]:
        """Item id -> position in `items`, of the items of one domain."""
        return self.number if shop == self.target else {self.items[n].item_id: int(n) for n in self.shelf(shop)}

    def numbers_of(self, item_ids: Iterable[Any], name: str) -> list[int]:
        """The positions in `items` of the ids in an argument (`name`). Raises ValueError for an unknown id."""
        ids = as_ids(item_ids, self.number, name)
        if unknown := [item_id for item_id in ids if item_id not in self.number]:
            raise UserError(f"{name}: no item has the id {unknown[0]!r}")
        return [self.number[item_id] for item_id in ids]

    def field(self, name: str) -> FieldIndex:
        """The items by their values of a field."""
        if name not in self._fields:
            self._fields[name] = index_field(self.items, name)
        return self._fields[name]

    @property
    def text_channels(self) -> list[Fitted]:
        """The channels of the answer's part "text" that compare two texts; none if no two texts share a word."""
        return comparing(self.channels.get("text", []))

    @functools.cached_property
    def query_channels(self) -> list[Fitted]:
        """`text_channels` as they read a query."""
        return for_queries(self.text_channels)

    @functools.cached_property
    def field_names(self) -> list[str]:
        """The fields that at least one item has, sorted."""
        return field_names(self.items)

    @functools.cached_property
    def is_offered_I(self) -> np.ndarray:
        """Whether each item may be recommended, that is, was not removed."""
        return np.array([not item.is_removed for item in self.items], bool)

    @functools.cached_property
    def is_new_I(self) -> np.ndarray:
        """Whether each item was added after the training."""
        return np.array([item.is_new for item in self.items], bool)

    @functools.cached_property
    def taken(self) -> set[str]:
        """The ids that an item added later may not have."""
        return {item_id for item_id, n in self.number.items() if not self.items[n].is_removed}

    @functools.cached_property
    def shops(self) -> list[str]:
        """The names of all domains, the target last."""
        others = dict.fromkeys(item.domain for item in self.items if item.domain != self.target)
        return [*others, self.target]

    @functools.cached_property
    def offered(self) -> list[BundleItem]:
        """The items of the target that were not removed, in order."""
        return [self.items[n] for n in self.target_J if not self.items[n].is_removed]

    @functools.cached_property
    def _vectors(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {}

    @functools.cached_property
    def map_J2(self) -> np.ndarray:
        """The vectors of `offered` in two dimensions, float32."""
        return planar(self.vectors_ID[self.target_J[self.is_offered_I[self.target_J]]])

    @functools.cached_property
    def _shelves(self) -> dict[str, np.ndarray]:
        return {self.target: self.target_J}

    @functools.cached_property
    def _fields(self) -> dict[str, FieldIndex]:
        return {}

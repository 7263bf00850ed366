"""The `Recommender`: loads a bundle and recommends items. One CPU is enough; no data folder, no optimizer.

JAX and Flax are imported when a bundle is loaded, the trainer never.
"""

import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmrec_jax.data.domains.records import item_text
from llmrec_jax.errors import UserError
from llmrec_jax.inference.arguments import as_count, as_ids, as_items, as_texts
from llmrec_jax.inference.bundle import Bundle, BundleItem, load
from llmrec_jax.inference.catalog import Catalog


class Recommendation(NamedTuple):
    """One recommended item: a triple with names."""

    item_id: str
    score: float  # a cosine in [-1, 1]; of the popularity fallback, the item's share of the training events
    title: str


class Recommendations(list[Recommendation]):
    """A list of recommendations, best first, and what it is based on."""

    def __init__(self, found: Sequence[Recommendation], *, unknown: Sequence[str], fallback: bool):
        super().__init__(found)
        self.unknown = list(unknown)  # ids of the history that were left out
        self.fallback = fallback  # True: nothing in the history was known, so these are the most popular items


class Recommender:
    """Recommends items of the bundle's target domain. Several threads may use one.

    A history may name items of every domain the model was trained on: taste shown in one shop counts in the other. An
    id that two domains share means the target's item.
    """

    def __init__(self, bundle: Bundle):
        """See `load`."""
        from llmrec_jax.inference.network import Network

        self._network = Network(bundle)
        self._target = bundle.target
        self._text = bundle.text
        self._catalog = Catalog.of(bundle)
        self._adding = threading.Lock()

    @classmethod
    def load(cls, bundle: str | Path) -> "Recommender":
        """Load a bundle, or the one in a run's work folder. Raises ValueError if it is neither."""
        return cls(load(Path(bundle)))

    def unknown(self, history: Sequence[str]) -> list[str]:
        """The ids of a history that the recommender does not know."""
        number = self._catalog.number
        return [item_id for item_id in as_ids(history, number) if item_id not in number]

    def recommend(self, history: Sequence[str], k: int = 10) -> Recommendations:
        """The `k` best items for a history (oldest first), without those in it: `[(item_id, score, title), ...]`.

        Unknown ids are warned of, left out and listed in the result's `unknown`. Where nothing known is left (an empty
        history too), the most popular items come, and the result's `fallback` is True.

        Raises:
          ValueError: the history is no list of ids, `k` no whole number of at least 1, or the scores are not finite.
        """
        catalog, k = self._catalog, as_count(k)
        ids = as_ids(history, catalog.number)
        numbers = np.array([catalog.number[item_id] for item_id in ids if item_id in catalog.number], np.int64)
        unknown = [item_id for item_id in ids if item_id not in catalog.number]
        if unknown:
            some = ", ".join(item_id if item_id.isprintable() else ascii(item_id) for item_id in unknown[:5])
            answer = "" if len(numbers) else "; the answer is the most popular items"
            warnings.warn(f"{len(unknown)} of {len(ids)} items are unknown: {some}{answer}", stacklevel=2)
        if len(numbers):
            scores_I = catalog.vectors_ID @ self._network.user_vector(catalog.vectors_ID[numbers])
        else:
            scores_I = catalog.popularity_I / max(catalog.popularity_I.sum(), 1)
        if not np.isfinite(scores_I).all():
            raise UserError(f"{(~np.isfinite(scores_I)).sum()} scores are not finite; the bundle is damaged")
        is_candidate_I = catalog.is_candidate_I.copy()
        is_candidate_I[numbers] = False
        candidates = np.flatnonzero(is_candidate_I)
        best = candidates[np.argsort(-scores_I[candidates], kind="stable")[:k]]
        found = [Recommendation(catalog.items[n].item_id, float(scores_I[n]), catalog.items[n].title) for n in best]
        return Recommendations(found, unknown=unknown, fallback=not len(numbers))

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Add items that came after the training, known by their text: dicts with `item_id`, `title` and, optionally,
        `brand`, `category`, `description`. Nothing is added where one of them is wrong.

        Raises:
          ValueError: a field is missing or of a wrong type, an id is taken; the position in the list is named.
        """
        with self._adding:
            new = as_items(items, self._catalog.number)
            template = self._text.text_fields, self._text.description_chars
            texts = [item_text(item.title, item.category, item.brand, item.description, *template) for item in new]
            added = [BundleItem(item.item_id, item.title, self._target) for item in new]
            self._catalog = self._catalog.with_items(added, self._network.item_vectors(texts))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Item vectors of free texts, float32 [n, width] with rows of length one.

        Raises:
          ValueError: the model knows items by id alone, or `texts` is no list of strings.
        """
        return self._network.item_vectors(as_texts(texts))

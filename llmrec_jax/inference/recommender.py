"""The `Recommender`: loads a bundle and recommends items. Runs on one CPU, without a data folder or an optimizer.

JAX and Flax are imported when a bundle is loaded; the trainer is never imported.
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
    """One recommended item."""

    item_id: str
    score: float  # a cosine in [-1, 1]; in the popularity fallback, the item's share of the training events
    title: str


class Recommendations(list[Recommendation]):
    """A list of recommendations, best first."""

    def __init__(self, found: Sequence[Recommendation], *, unknown: Sequence[str], fallback: bool):
        super().__init__(found)
        self.unknown = list(unknown)  # ids of the history that are unknown and were ignored
        self.fallback = fallback  # True: no id of the history is known, so these are the most popular items


class Recommender:
    """Recommends items of the bundle's target domain. Thread-safe.

    A history may contain items of any domain that the model was trained on. An id in several domains refers to
    the target's item.
    """

    def __init__(self, bundle: Bundle):
        """See `load`."""
        from llmrec_jax.inference.network import Network

        self._network = Network(bundle)
        self._target, self._width = bundle.target, bundle.model.width
        self._text = bundle.text
        self._catalog = Catalog.of(bundle)
        self._adding = threading.Lock()

    @classmethod
    def load(cls, bundle: str | Path) -> "Recommender":
        """Load a bundle, or the one in a run's work folder. Raises ValueError if it is neither."""
        return cls(load(Path(bundle)))

    def unknown(self, history: Sequence[str]) -> list[str]:
        """The ids of a history that are not in the catalogue."""
        number = self._catalog.number
        return [item_id for item_id in as_ids(history, number) if item_id not in number]

    def recommend(self, history: Sequence[str], k: int = 10) -> Recommendations:
        """The `k` best items for a history (oldest first), excluding those in it: `[(item_id, score, title), ...]`.

        Unknown ids are ignored with a warning, and listed in the result's `unknown`. If no known id is left (or the
        history is empty), the result is the most popular items, with `fallback` set to True.

        Raises:
          ValueError: the history is not a list of ids, `k` is not a whole number above 0, or a score is not finite.
        """
        catalog, k = self._catalog, as_count(k)
        ids = as_ids(history, catalog.number)
        numbers = np.array([catalog.number[item_id] for item_id in ids if item_id in catalog.number], np.int64)
        unknown = [item_id for item_id in ids if item_id not in catalog.number]
        if unknown:
            some = ", ".join(item_id if item_id.isprintable() else ascii(item_id) for item_id in unknown[:5])
            answer = "" if len(numbers) else "; returning the most popular items"
            warnings.warn(f"{len(unknown)} of {len(ids)} items are unknown: {some}{answer}", stacklevel=2)
        if len(numbers):
            scores_I = catalog.vectors_ID @ self._network.user_vector(catalog.vectors_ID[numbers])
        else:
            scores_I = catalog.popularity_I / (catalog.popularity_I.sum() or 1)
        if not np.isfinite(scores_I).all():
            raise UserError(f"{(~np.isfinite(scores_I)).sum()} scores are not finite; the bundle is damaged")
        is_candidate_I = catalog.is_candidate_I.copy()
        is_candidate_I[numbers] = False
        candidates = np.flatnonzero(is_candidate_I)
        best = candidates[np.argsort(-scores_I[candidates], kind="stable")[:k]]
        found = [Recommendation(catalog.items[n].item_id, float(scores_I[n]), catalog.items[n].title) for n in best]
        return Recommendations(found, unknown=unknown, fallback=not len(numbers))

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Add items that were not in the training data, by their text: dicts with `item_id`, `title` and, optionally,
        `brand`, `category`, `description`; other fields are named in a warning. If one is invalid, none is added.

        Raises:
          ValueError: a field is missing or has the wrong type, or an id is taken; gives the item's position.
        """
        with self._adding:
            new = as_items(items, self._catalog.number)
            template = self._text.text_fields, self._text.description_chars
            texts = [item_text(item.title, item.category, item.brand, item.description, *template) for item in new]
            added = [BundleItem(item.item_id, item.title, self._target) for item in new]
            self._catalog = self._catalog.with_items(added, self._network.item_vectors(texts))

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Item vectors of any texts, float32 [n, width]; L2-normalized with model.score=cosine.

        Raises:
          ValueError: the model reads no text, or `texts` is not a list of strings.
        """
        return self._network.item_vectors(as_texts(texts))[:, : self._width]

"""The `Recommender`: loads a bundle and recommends items. Runs on one CPU, without a data folder or an optimizer.

JAX and Flax are imported when a bundle is loaded; the trainer is never imported.
"""

import functools
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmrec_jax.blend.answer import MODEL, channel_part, model_part
from llmrec_jax.data.domains.records import item_text
from llmrec_jax.errors import UserError
from llmrec_jax.inference.arguments import as_count, as_ids, as_items, as_texts, as_times
from llmrec_jax.inference.bundle import Bundle, BundleItem, load
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.predictor import VectorPredictor


class Recommendation(NamedTuple):
    """One recommended item."""

    item_id: str
    score: float  # the sum of the answer's parts; in the popularity fallback, the item's share of the training events
    title: str


class Recommendations(list[Recommendation]):
    """A list of recommendations, best first."""

    def __init__(
        self,
        found: Sequence[Recommendation],
        *,
        unknown: Sequence[str],
        fallback: bool,
        parts: Sequence[dict[str, float]] | None = None,
    ):
        super().__init__(found)
        self.unknown = list(unknown)  # ids of the history that are unknown and were ignored
        self.fallback = fallback  # True: no id of the history is known, so these are the most popular items
        self.parts = parts  # for each recommendation, what each part adds to its score; None unless asked for


class Recommender:
    """Recommends items of the bundle's target domain. Thread-safe.

    A history may contain items of any domain that the model was trained on. An id in several domains refers to
    the target's item.
    """

    def __init__(self, bundle: Bundle):
        """See `load`."""
        from llmrec_jax.inference.network import Network

        self._network = Network(bundle)
        self._target, self._text, self._weights = bundle.target, bundle.text, bundle.parts.weights
        self._reads_text, self._width = bundle.model.item_features != "id", bundle.model.width
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

    def recommend(
        self, history: Sequence[str], k: int = 10, *, times: Sequence[float] | None = None, explain: bool = False
    ) -> Recommendations:
        """The `k` best items for a history (oldest first), excluding those in it: `[(item_id, score, title), ...]`.

        A score is the sum of the answer's parts. With `explain`, the result's `parts` hold what each part adds. To a
        history without items of the target, only the trained model applies.

        `times` are those of the history's events, in seconds since any moment. Only a model that was trained with times
        (HSTU) reads them; without them, it scores as if it had none.

        Unknown ids are ignored with a warning, and listed in the result's `unknown`. If no known id is left (or the
        history is empty), the result is the most popular items, with `fallback` set to True.

        Raises:
          ValueError: the history is not a list of ids, `times` are not one number per id in ascending order, `k` is not
            a whole number above 0, or a score is not finite.
        """
        catalog, k = self._catalog, as_count(k)
        ids = as_ids(history, catalog.number)
        number_S = np.array([catalog.number.get(item_id, -1) for item_id in ids], np.int64)
        numbers, unknown = number_S[number_S >= 0], [ids[n] for n in np.flatnonzero(number_S < 0)]
        times_S = None if times is None else as_times(times, len(ids))[number_S >= 0]
        if unknown:
            some = ", ".join(item_id if item_id.isprintable() else ascii(item_id) for item_id in unknown[:5])
            answer = "" if len(numbers) else "; returning the most popular items"
            warnings.warn(f"{len(unknown)} of {len(ids)} items are unknown: {some}{answer}", stacklevel=2)
        if len(numbers):
            parts = self._parts(catalog, numbers, times_S)
        else:
            parts = {"popularity": catalog.popularity_I[catalog.target_J] / (catalog.popularity_I.sum() or 1)}
        scores_J = np.sum(list(parts.values()), axis=0)
        if not np.isfinite(scores_J).all():
            raise UserError(f"{(~np.isfinite(scores_J)).sum()} scores are not finite; the bundle is damaged")
        is_candidate_J = np.ones(len(scores_J), bool)
        own = catalog.position_I[numbers]
        is_candidate_J[own[own >= 0]] = False
        candidates = np.flatnonzero(is_candidate_J)
        best = candidates[np.argsort(-scores_J[candidates], kind="stable")[:k]]
        items = [catalog.items[catalog.target_J[j]] for j in best]
        found = [
            Recommendation(item.item_id, float(scores_J[j]), item.title) for j, item in zip(best, items, strict=True)
        ]
        shares = [{name: float(part_J[j]) for name, part_J in parts.items()} for j in best] if explain else None
        return Recommendations(found, unknown=unknown, fallback=not len(numbers), parts=shares)

    def _parts(self, catalog: Catalog, numbers: np.ndarray, times_S: np.ndarray | None) -> dict[str, np.ndarray]:
        """What each part adds to the scores of the target's items."""
        own, weights = catalog.position_I[numbers], self._weights
        own = own[own >= 0]
        found: dict[str, np.ndarray] = {}
        if len(own):
            parts = [channel_part(name, [f.channel for f in fitted]) for name, fitted in catalog.channels.items()]
            found = {part.name: weights[part.name] * part.scores([own])[0] for part in parts if weights[part.name]}
        if weights[MODEL] or not len(own):
            users_1D = self._network.user_vector(catalog.vectors_ID[numbers], times_S)[None]
            model = model_part(VectorPredictor(MODEL, catalog.vectors_ID[catalog.target_J], lambda _: users_1D))
            found[MODEL] = (weights[MODEL] or 1.0) * model.scores([own])[0]
        return found

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Add items that were not in the training data, by their text: dicts with `item_id`, `title` and, optionally,
        `brand`, `category`, `description`, and `facts` of the knowledge graph, a list of (relation, tail) pairs; other
        fields are named in a warning. If one is invalid, none is added.

        Raises:
          ValueError: a field is missing or has the wrong type, or an id is taken; gives the item's position.
        """
        with self._adding:
            catalog = self._catalog
            new = as_items(items, catalog.number)
            template = self._text.text_fields, self._text.description_chars
            texts = [
                item_text(item.title, item.category, item.brand, item.description, *template,
                          item.facts if self._text.graph_text else ())
                for item in new
            ]  # fmt: skip
            vectors_QD = np.zeros((len(new), catalog.vectors_ID.shape[1]), np.float32)
            if self._reads_text:
                vectors_QD = self._network.item_vectors(texts)
            features = functools.cache(lambda: self._network.text_features(texts))  # several channels read them
            channels = {
                name: [fitted.with_items(new, features) for fitted in part] for name, part in catalog.channels.items()
            }
            added = [BundleItem(item.item_id, item.title, self._target) for item in new]
            self._catalog = catalog.with_items(added, vectors_QD, channels)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Item vectors of any texts, float32 [n, width]; L2-normalized with model.score=cosine.

        Raises:
          ValueError: the model reads no text, or `texts` is not a list of strings.
        """
        return self._network.item_vectors(as_texts(texts))[:, : self._width]

"""The `Recommender`: loads a bundle and recommends items. Runs on one CPU, without a data folder or an optimizer.

JAX and Flax are imported when a bundle is loaded; the trainer is never imported.
"""

import functools
import threading
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec_jax.data.domains.records import Item
from llmrec_jax.errors import UserError
from llmrec_jax.inference.adding import with_new_items
from llmrec_jax.inference.arguments import as_count, as_ids, as_items, as_share, as_texts, as_times
from llmrec_jax.inference.bundle import Bundle, BundleItem, load
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.inference.explanation import by_history, by_word
from llmrec_jax.inference.filters import allowed
from llmrec_jax.inference.planar import planar
from llmrec_jax.inference.ranking import best, diverse
from llmrec_jax.inference.results import Explanation, Recommendation, Recommendations
from llmrec_jax.inference.saving import save
from llmrec_jax.inference.scoring import POPULARITY, History, Scorer
from llmrec_jax.inference.search import BY, By, model_scores, purchase_scores, text_scores

BLOCK = 2**22  # scores of a part in memory at a time


class Recommender:
    """Recommends items of the bundle's target domain. Thread-safe.

    A history may contain items of any domain that the model was trained on. An id in several domains refers to
    the target's item.
    """

    def __init__(self, bundle: Bundle):
        """See `load`."""
        from llmrec_jax.inference.network import Network

        self._bundle, self._network = bundle, Network(bundle)
        self._catalog = Catalog.of(bundle)
        self._changing = threading.Lock()

    @classmethod
    def load(cls, bundle: str | Path) -> "Recommender":
        """Load a bundle, or the one in a run's work folder. Raises ValueError if it is neither."""
        return cls(load(Path(bundle)))

    @property
    def target(self) -> str:
        """The name of the domain whose items are recommended."""
        return self._catalog.target

    @property
    def shops(self) -> list[str]:
        """The names of all domains of the bundle, the target last."""
        return list(self._catalog.shops)

    @property
    def items(self) -> Sequence[BundleItem]:
        """The items of the target, added ones included: item_id, title, category, brand, attributes, is_new."""
        return self._catalog.offered

    def item(self, item_id: str) -> BundleItem:
        """An item of any domain, also a removed one. Raises ValueError if there is none of this id."""
        catalog = self._catalog
        return catalog.items[_number(catalog, item_id)]

    def unknown(self, history: Sequence[str]) -> list[str]:
        """The ids of a history that are not in the catalogue."""
        number = self._catalog.number
        return [item_id for item_id in as_ids(history, number) if item_id not in number]

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        times: Sequence[float] | None = None,
        explain: bool = False,
        **options: Any,
    ) -> Recommendations:
        """The `k` best items for a history (oldest first), excluding those in it: `[(item_id, score, title), ...]`.

        A score is the sum of the answer's parts. With `explain`, the result's `parts` hold what each part adds. To a
        history without items of the target, only the trained model applies.

        `times` are those of the history's events, in seconds since any moment. Only a model that was trained with times
        (HSTU) reads them; without them, it scores as if it had none. `options` are those of `recommend_many`.

        Unknown ids are ignored with a warning, and listed in the result's `unknown`. If no known id is left (or the
        history is empty), the result is the most popular items, with `fallback` set to True.

        Raises:
          ValueError: the history is not a list of ids, `times` are not one number per id in ascending order, `k` is not
            a whole number above 0, or a score is not finite.
        """
        all_times = None if times is None else [times]
        return self.recommend_many([history], k, times=all_times, explain=explain, **options)[0]

    def recommend_many(
        self,
        histories: Iterable[Sequence[str]],
        k: int = 10,
        *,
        disliked: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        among: Iterable[str] | None = None,
        seen: bool = False,
        diversity: float = 0.0,
        times: Sequence[Sequence[float]] | None = None,
        explain: bool = False,
        shop: str | None = None,
    ) -> list[Recommendations]:
        """`recommend` for many histories at once, which is faster: one matrix product for a block of them."""
        catalog, k, diversity = self._catalog, as_count(k), as_share(diversity, "diversity")
        shop = self._shop(catalog, shop)
        shelf_J, allowed_J = catalog.shelf(shop), allowed(catalog, shop, where, among)
        position_I = np.full(len(catalog.items), -1)
        position_I[shelf_J] = np.arange(len(shelf_J))
        dislike = _known(catalog, as_ids(disliked, catalog.number, "disliked"))
        allowed_J[position_I[dislike][position_I[dislike] >= 0]] = False
        found, scorer = [], self._scorer(catalog)
        listed = [as_ids(history, catalog.number) for history in histories]
        if times is not None and len(times) != len(listed):
            raise UserError(f"times for {len(times)} histories, but there are {len(listed)}")
        size = max(1, BLOCK // max(1, len(shelf_J)))
        for start in range(0, len(listed), size):
            block = listed[start : start + size]
            known = [_history(catalog, ids, None if times is None else times[start + n]) for n, ids in enumerate(block)]
            parts = scorer.parts(known, shop, dislike)
            scores_NJ = np.sum(list(parts.values()), axis=0)
            if not np.isfinite(scores_NJ).all():
                raise UserError(f"{(~np.isfinite(scores_NJ)).sum()} scores are not finite; the bundle is damaged")
            for row, (ids, history) in enumerate(zip(block, known, strict=True)):
                allowed_row_J = allowed_J.copy()
                if not seen:
                    own = position_I[history.numbers]
                    allowed_row_J[own[own >= 0]] = False
                vectors_JD = catalog.vectors_ID[shelf_J] if diversity else np.zeros((0, 0), np.float32)
                top = (
                    diverse(scores_NJ[row], allowed_row_J, k, vectors_JD, diversity)
                    if diversity
                    else best(scores_NJ[row], allowed_row_J, k)
                )
                fallback = not len(history.numbers)
                shares = None
                if explain:
                    names = [name for name in parts if fallback or name != POPULARITY or parts[name][row].any()]
                    if fallback:
                        names = [name for name in parts if name in (POPULARITY, "disliked")]
                    shares = [{name: float(parts[name][row, j]) for name in names} for j in top]
                unknown = [item_id for item_id in ids if item_id not in catalog.number]
                if unknown:
                    _warn(ids, unknown, fallback)
                found.append(
                    Recommendations(
                        [Recommendation(catalog.items[shelf_J[j]].item_id, float(scores_NJ[row, j]),
                                        catalog.items[shelf_J[j]].title) for j in top],
                        unknown=unknown, fallback=fallback, parts=shares,
                    )
                )  # fmt: skip
        return found

    def search(
        self, text: str, k: int = 10, *, where: Mapping[str, Any] | None = None, among: Iterable[str] | None = None
    ) -> Recommendations:
        """The `k` items of the target whose texts are the most similar to a free text."""
        catalog, [text] = self._catalog, as_texts([text])
        scores_J = text_scores(catalog, Item("", text), lambda: self._network.text_features([text]))
        return _ranked(catalog, scores_J, allowed(catalog, self.target, where, among), k)

    def similar(self, item_id: str, k: int = 10, *, by: By = "text") -> Recommendations:
        """The `k` items of the target that are the most similar to an item of any domain."""
        catalog = self._catalog
        number = _number(catalog, item_id)
        position, item = catalog.position_I[number], catalog.items[number]
        allowed_J = allowed(catalog, self.target, None, None)
        if position >= 0:
            allowed_J[position] = False
        if by == "text":
            text = item.as_record()
            scores_J = text_scores(catalog, text, lambda: self._network.text_features([self._text(text)]))
        elif by == "purchase":
            scores_J = purchase_scores(catalog, position)
            allowed_J &= scores_J > 0
        elif by == "model":
            scores_J = model_scores(catalog.vectors_ID[catalog.target_J], catalog.vectors_ID[number])
        else:
            raise UserError(f"by={by!r}: one of {', '.join(BY)} is expected")
        return _ranked(catalog, scores_J, allowed_J, k)

    def explain(self, history: Sequence[str], item_id: str) -> Explanation:
        """Why an item of the target has its score for a history."""
        catalog = self._catalog
        scorer, ids = self._scorer(catalog), as_ids(history, catalog.number)
        known, position = _history(catalog, ids, None), int(catalog.position_I[_number(catalog, item_id)])
        if position < 0:
            raise UserError(f"{item_id!r} is not an item of {self.target!r}")
        found = scorer.parts([known], self.target, np.array([], np.int64))
        parts = {name: float(scores_NJ[0, position]) for name, scores_NJ in found.items()}
        shares = by_history(scorer, known, position)
        of_history = [(catalog.items[n].item_id, share) for n, share in zip(known.numbers, shares, strict=True)]
        item = catalog.items[catalog.target_J[position]].as_record()
        words = by_word(item, lambda items: self._text_scores(scorer, known, items))
        return Explanation(sum(parts.values()), parts, _sorted(of_history), _sorted(words))

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Add items that were not in the training data, by their text: dicts with `item_id`, `title` and, optionally,
        `brand`, `category`, `description`, and `facts` of the knowledge graph, a list of (relation, tail) pairs. Other
        fields are kept as attributes. If one is invalid, none is added.

        Raises:
          ValueError: a field is missing or has the wrong type, or an id is taken; gives the item's position.
        """
        with self._changing:
            catalog = self._catalog
            taken = {i for i, n in catalog.number.items() if not catalog.items[n].is_removed}
            new = as_items(items, taken, catalog.target)
            self._catalog = with_new_items(catalog, new, self._network, self._bundle.text)

    def remove_items(self, item_ids: Sequence[str]) -> None:
        """Stop recommending items of the target. They are still read in histories; their ids may be added again.

        Raises:
          ValueError: an id is not one of an item of the target; then none is removed.
        """
        with self._changing:
            catalog = self._catalog
            numbers = [_number(catalog, item_id) for item_id in as_ids(item_ids, catalog.number, "item_ids")]
            for number in numbers:
                item = catalog.items[number]
                if item.domain != catalog.target or item.is_removed:
                    raise UserError(f"{item.item_id!r} is not an item of {catalog.target!r}, or was removed before")
            self._catalog = catalog.without_items(numbers)

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Item vectors of any texts, float32 [n, width]; L2-normalized with model.score=cosine.

        Raises:
          ValueError: the model reads no text, or `texts` is not a list of strings.
        """
        return self._network.item_vectors(as_texts(texts))[:, : self._bundle.model.width]

    def map(self) -> np.ndarray:
        """The items of the target in two dimensions, float32 [n, 2], in the order of `items`."""
        catalog = self._catalog
        offered_J = catalog.target_J[catalog.is_offered_I[catalog.target_J]]
        return planar(catalog.vectors_ID[offered_J])

    def save(self, folder: str | Path) -> None:
        """Write a bundle with the items as they are now, which loads as this recommender. Replaces a bundle there."""
        save(self._bundle, self._catalog, Path(folder))

    def _scorer(self, catalog: Catalog) -> Scorer:
        return Scorer(catalog, self._network, self._bundle.parts.weights)

    def _text(self, item: Item) -> str:
        from llmrec_jax.inference.adding import text_of

        return text_of(item, self._bundle.text)

    def _shop(self, catalog: Catalog, shop: str | None) -> str:
        if shop is not None and shop not in catalog.shops:
            raise UserError(f"shop={shop!r}: not in this bundle; there are {', '.join(catalog.shops)}")
        return shop or catalog.target

    def _text_scores(self, scorer: Scorer, history: History, items: Sequence[Item]) -> np.ndarray:
        texts = [self._text(item) for item in items]
        features = functools.cache(lambda: self._network.text_features(texts))
        vectors = functools.cache(lambda: self._network.item_vectors(texts) if self._network.reads_text else None)
        return scorer.of_texts(history, items, features, vectors)


def _history(catalog: Catalog, ids: Sequence[str], times: Sequence[float] | None) -> History:
    number_S = np.array([catalog.number.get(item_id, -1) for item_id in ids], np.int64)
    times_S = None if times is None else as_times(times, len(ids))[number_S >= 0]
    return History(number_S[number_S >= 0], times_S)


def _known(catalog: Catalog, ids: Sequence[str]) -> np.ndarray:
    return _history(catalog, ids, None).numbers


def _number(catalog: Catalog, item_id: str) -> int:
    [known] = as_ids([item_id], catalog.number, "item_id")
    if known not in catalog.number:
        raise UserError(f"no item has the id {known!r}")
    return catalog.number[known]


def _ranked(catalog: Catalog, scores_J: np.ndarray, allowed_J: np.ndarray, k: int) -> Recommendations:
    top = best(scores_J, allowed_J, as_count(k))
    items = [catalog.items[catalog.target_J[j]] for j in top]
    return Recommendations(
        [Recommendation(item.item_id, float(scores_J[j]), item.title) for j, item in zip(top, items, strict=True)]
    )


def _sorted(shares: list[tuple[str, float]]) -> list[tuple[str, float]]:
    return sorted(shares, key=lambda pair: -pair[1])


def _warn(ids: Sequence[str], unknown: Sequence[str], fallback: bool) -> None:
    some = ", ".join(item_id if item_id.isprintable() else ascii(item_id) for item_id in unknown[:5])
    answer = "; returning the most popular items" if fallback else ""
    warnings.warn(f"{len(unknown)} of {len(ids)} items are unknown: {some}{answer}", stacklevel=4)

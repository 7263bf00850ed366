"""The `Recommender`: loads a bundle and recommends items. Runs on one CPU, without a data folder or an optimizer.

JAX and Flax are imported when a bundle is loaded; the trainer is never imported. In the examples, `r` recommends books
and was trained on films, too.
"""

import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from llmrec_jax.data.domains.records import Item
from llmrec_jax.errors import UserError
from llmrec_jax.inference.adding import text_of, with_new_items
from llmrec_jax.inference.answering import Options, answers, read_history, recommendations, warn_of_unknown
from llmrec_jax.inference.arguments import as_count, as_items, as_texts
from llmrec_jax.inference.bundle import Bundle, BundleItem, load
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.inference.filters import allowed
from llmrec_jax.inference.nearest import Nearest
from llmrec_jax.inference.ranking import best
from llmrec_jax.inference.results import Explanation, Recommendations
from llmrec_jax.inference.scoring import Scorer
from llmrec_jax.inference.search import By, similar_scores, text_scores


class Recommender:
    """Recommends items of the bundle's target domain. Thread-safe.

    A history may contain items of any domain that the model was trained on. An id in several domains refers to the
    target's item.
    """

    def __init__(self, bundle: Bundle):
        """See `load`."""
        from llmrec_jax.inference.network import Network

        self._bundle, self._network = bundle, Network(bundle)
        self._catalog = Catalog.of(bundle)
        self._nearest: Nearest | None = None
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
        """The names of all domains of the bundle, the target last.

        >>> r.shops
        ['films', 'books']
        """
        return list(self._catalog.shops)

    @property
    def items(self) -> Sequence[BundleItem]:
        """The items of the target, added ones included: item_id, title, category, brand, attributes, is_new."""
        return self._catalog.offered

    def item(self, item_id: str) -> BundleItem:
        """An item of any domain, also a removed one. Raises ValueError if no item has this id."""
        return self._catalog.items[self._catalog.numbers_of([item_id], "item_id")[0]]

    def unknown(self, history: Sequence[str]) -> list[str]:
        """The ids of a history that are not in the catalogue."""
        return read_history(self._catalog, history, None).unknown

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        disliked: Sequence[str] = (),
        where: Mapping[str, Any] | None = None,
        among: Iterable[str] | None = None,
        seen: bool = False,
        diversity: float = 0.0,
        new: int = 0,
        times: Sequence[float] | None = None,
        explain: bool = False,
        shop: str | None = None,
    ) -> Recommendations:
        """The `k` best items for a history (oldest first): `[(item_id, score, title), ...]`.

        A score is the sum of the answer's parts. To a history without items of the target, only the trained model
        applies. Unknown ids are ignored with a warning, and listed in the result's `unknown`. If no known id is left
        (or the history is empty), the result is the most popular items, with `fallback` set to True.

        >>> [item_id for item_id, score, title in r.recommend(["book-0007"], k=3)] == r.recommend(["book-0007"], 3).ids
        True

        Args:
          history: ids of items of any domain.
          k: how many items; fewer if there are not as many candidates.
          disliked: ids of items to avoid: what the parts other than popularity add for a history of these items is
            subtracted where it is positive, as the part "disliked".
          where: a filter, such as `{"category": ["novel", "poem"], "price": {"min": 5, "max": 20}}`; see `filters`.
          among: ids of the candidates; None: all items.
          seen: whether items of the history are candidates.
          diversity: 0 to 1: the weight of maximal marginal relevance over the model's item vectors.
          new: at least this many of the `k` are items added after the training: the best ones, at the end of the list.
          times: of the events, in seconds since any moment. Only a model that was trained with times (HSTU) reads them.
          explain: whether the result's `parts` hold what each part adds to each score.
          shop: recommend items of this domain of the bundle, by the trained model alone; None: the target.

        Raises:
          ValueError: an argument is invalid, or a score is not finite.
        """
        scorer = self._scorer()
        asked = read_history(scorer.catalog, history, times)
        warn_of_unknown(asked, stacklevel=2)
        options = Options(disliked=disliked, where=where, among=among, seen=seen, diversity=diversity, new=new,
                          explain=explain, shop=shop)  # fmt: skip
        return answers(scorer, [asked], k, **options)[0]

    def recommend_many(
        self,
        histories: Iterable[Sequence[str]],
        k: int = 10,
        *,
        times: Sequence[Sequence[float]] | None = None,
        **options: Unpack[Options],
    ) -> list[Recommendations]:
        """`recommend` for many histories at once, which is faster: one matrix product for a block of them.

        `times` holds the times of each history; the options apply to all. Does not warn of unknown ids.

        >>> [len(found) for found in r.recommend_many([["book-0001", "book-0002"], ["film-0003"], []], k=5)]
        [5, 5, 5]
        """
        scorer, listed = self._scorer(), list(histories)
        if times is not None and len(times) != len(listed):
            raise UserError(f"times of {len(times)} histories, but there are {len(listed)}")
        asked = [read_history(scorer.catalog, ids, None if times is None else times[n]) for n, ids in enumerate(listed)]
        return answers(scorer, asked, k, **options)

    def search(
        self, text: str, k: int = 10, *, where: Mapping[str, Any] | None = None, among: Iterable[str] | None = None
    ) -> Recommendations:
        """The `k` items of the target whose texts are the most similar to a text.

        The query is compared as the title of an item is in the answer's part "text": by vectors of the pretrained
        encoder (without one, TF-IDF of the whole text), and TF-IDF of title and brand.

        >>> r.search("Suitor in Vienna", k=1)[0].title
        'Suitor in Vienna'

        Raises ValueError if an argument is invalid, or texts cannot be compared: no two of the items share a word.
        """
        catalog, [text] = self._catalog, as_texts([text])
        scores_J = text_scores(catalog, Item("", text), lambda: self._network.text_features([text]))
        top = best(scores_J, allowed(catalog, catalog.target, where, among), as_count(k))
        return recommendations(catalog, catalog.target_J, scores_J, top)

    def similar(self, item_id: str, k: int = 10, *, by: By = "text") -> Recommendations:
        """The `k` items of the target that are the most similar to an item of any domain, which is left out.

        `by` is "text" (see `search`), "purchase" (what others had along with the item: only items with such a count, so
        none for an item without events), or "model" (cosine of the vectors of the trained model).

        >>> [len(r.similar("book-0003", k=4, by=by)) for by in ("text", "purchase", "model")]
        [4, 4, 4]
        """
        catalog, template = self._catalog, self._bundle.text
        [number] = catalog.numbers_of([item_id], "item_id")
        features = lambda item: self._network.text_features([text_of(item, template)])  # noqa: E731
        scores_J, candidate_J = similar_scores(catalog, number, by, features)
        return recommendations(catalog, catalog.target_J, scores_J, best(scores_J, candidate_J, as_count(k)))

    def explain(self, history: Sequence[str], item_id: str) -> Explanation:
        """Why an item of the target has its score for a history: see `Explanation` and `explanation`.

        >>> why = r.explain(["book-0001", "book-0002"], "book-0003")
        >>> abs(why.score - sum(why.parts.values())) < 1e-6, [item_id for item_id, _ in why.history]
        (True, ['book-0002', 'book-0001'])
        """
        from llmrec_jax.inference.explanation import explanation  # imports JAX

        scorer = self._scorer()
        asked, [number] = read_history(scorer.catalog, history, None), scorer.catalog.numbers_of([item_id], "item_id")
        return explanation(scorer, self._network, asked.history, number, self._bundle.text)

    def add_items(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Add items that were not in the training data, by their text; counts are borrowed from similar items.
        Dicts with `item_id`, `title` and, optionally, `brand`, `category`, `description`, and `facts` of the knowledge
        graph, (relation, tail) pairs. Other numbers and short texts are attributes. If one is invalid, none is added.

        >>> r.add_items([{"item_id": "new", "title": "A Winter in Vienna", "price": 1.5}])
        >>> r.item("new").attributes, r.recommend(["book-0000"], where={"price": {"max": 2}}).ids
        ({'price': 1.5}, ['new'])

        Raises:
          ValueError: a field is missing or has the wrong type, or an id is taken; gives the item's position.
        """
        with self._changing:
            catalog = self._catalog
            new = as_items(items, catalog.taken, catalog.target)
            self._catalog = with_new_items(catalog, new, self._network, self._bundle.text)

    def remove_items(self, item_ids: Sequence[str]) -> None:
        """Stop recommending items of the target. They are still read in histories; their ids may be added again.

        >>> r.remove_items(["book-0000"])
        >>> "book-0000" in [item.item_id for item in r.items]
        False

        Raises ValueError if an id is not that of an item of the target; then none is removed.
        """
        with self._changing:
            self._catalog = self._catalog.without_items(item_ids)

    def build_index(self) -> None:
        """Build an approximate index of the items, for catalogues of millions; needs the extra `index`. See `nearest`.

        Until the items change, recommending without options finds its candidates by the index. Scores stay exact.
        """
        self._nearest = Nearest(self._scorer())

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Item vectors of any texts, float32 [n, width]; L2-normalized with model.score=cosine.

        Raises ValueError if the model reads no text, or `texts` is not a list of strings.
        """
        return self._network.item_vectors(as_texts(texts))[:, : self._bundle.model.width]

    def map(self) -> np.ndarray:
        """The items of the target in two dimensions, float32 [n, 2], in the order of `items`: PCA of their vectors."""
        return self._catalog.map_J2

    def save(self, folder: str | Path) -> None:
        """Write a bundle with the items as they are now, replacing a bundle in `folder`. It loads as this recommender.

        Raises ValueError if `folder` holds something else, or if the loaded bundle was replaced on disk.
        """
        from llmrec_jax.inference.saving import save  # imports JAX

        save(self._bundle, self._catalog, Path(folder))

    def _scorer(self) -> Scorer:
        parts = self._bundle.parts
        return Scorer(self._catalog, self._network, parts.weights, parts.calibration, self._nearest)

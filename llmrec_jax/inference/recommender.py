"""The `Recommender`: recommends the items of a bundle. Runs on one CPU, without a data folder or an optimizer.

`stored` loads, changes and saves it. JAX and Flax are imported when a bundle is loaded; the trainer is never imported.
In the examples, `r` recommends books and was trained on films, too.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Unpack

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.inference.adding import text_of
from llmrec_jax.inference.answering import Options, answers, read_history, recommendations, warn_of_unknown
from llmrec_jax.inference.arguments import as_count, as_ids, as_texts
from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.inference.filters import Where, allowed
from llmrec_jax.inference.nearest import Nearest
from llmrec_jax.inference.ranking import best
from llmrec_jax.inference.results import Explanation, Recommendations
from llmrec_jax.inference.scoring import Scorer
from llmrec_jax.inference.search import By, query_scores, similar_scores
from llmrec_jax.inference.stored import Stored

if TYPE_CHECKING:
    from llmrec_jax.data.domains.frames import Frame


class Recommender(Stored):
    """Recommends items of the bundle's target domain. Thread-safe.

    A history may contain items of any domain that the model was trained on. An id in several domains refers to the
    target's item.
    """

    def __init__(self, bundle: Bundle):
        """See `load`."""
        super().__init__(bundle)
        self._nearest: Nearest | None = None

    @property
    def has_probabilities(self) -> bool:
        """Whether the bundle was calibrated, so that results have `probabilities`; see `Recommendations`."""
        return self._bundle.parts.calibration is not None

    def unknown(self, history: Sequence[str]) -> list[str]:
        """The ids of a history that are not in the catalogue."""
        return read_history(self._catalog, history, None).unknown

    def recommend(
        self,
        history: Sequence[str],
        k: int = 10,
        *,
        disliked: Sequence[str] = (),
        where: Where | None = None,
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
        disliked = as_ids(disliked, scorer.catalog.number, "disliked")
        options = Options(disliked=disliked, where=where, among=among, seen=seen, diversity=diversity, new=new,
                          explain=explain, shop=shop)  # fmt: skip
        [found] = answers(scorer, [asked], k, **options)
        answer = "; returning the most popular items" if found.fallback else ""
        warn_of_unknown(found.unknown, asked.num_ids + len(disliked), answer, stacklevel=2)
        return found

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

    def recommend_frame(self, events: "Frame", k: int = 10, **options: Unpack[Options]) -> dict[str, Recommendations]:
        """`recommend_many` for the users of a frame, by user id, in the order in which the users first appear.

        The options apply to all. Does not warn of unknown ids.

        >>> events = {"user_id": ["ann", "bob", "ann"], "item_id": ["book-0001", "film-0003", "book-0002"]}
        >>> found = r.recommend_frame(events, k=5)
        >>> list(found), found["ann"].ids == r.recommend(["book-0001", "book-0002"], k=5).ids
        (['ann', 'bob'], True)

        Args:
          events: columns `user_id`, `item_id` and, optionally, `timestamp` (dates, numbers since 1970 or ISO 8601
            texts; without it, each user's rows are in order): a frame of pandas, polars or Arrow, a dict of columns, or
            a list of dicts. Other columns are not read.
          k: see `recommend`, as for the options.

        Raises:
          ValueError: a column is missing, a cell is empty or no time (gives the row, from 0), or an option is invalid.
        """
        from llmrec_jax.inference.histories import read_histories

        ids, times = read_histories(events)
        return dict(zip(ids, self.recommend_many(ids.values(), k, times=times, **options), strict=True))

    def search(
        self,
        text: str,
        k: int = 10,
        *,
        where: Where | None = None,
        among: Iterable[str] | None = None,
    ) -> Recommendations:
        """The `k` items of the target whose texts are the most similar to a text.

        The query is compared as the title of an item is in the answer's part "text": by vectors of the pretrained
        encoder (without one, TF-IDF of the whole text), and TF-IDF of title and brand.

        >>> r.search("Suitor in Vienna", k=1)[0].title
        'Suitor in Vienna'

        Raises ValueError if an argument is invalid, or texts cannot be compared: no two of the items share a word.
        """
        catalog, [text] = self._catalog, as_texts([text])
        scores_J = query_scores(catalog, text, lambda: self._network.text_features([text]))
        top = best(scores_J, allowed(catalog, catalog.target, where, among) & (scores_J != 0), as_count(k))
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

        Unknown ids of the history are ignored with a warning.

        >>> why = r.explain(["book-0001", "book-0002"], "book-0003")
        >>> abs(why.score - sum(why.parts.values())) < 1e-6, [item_id for item_id, _ in why.history]
        (True, ['book-0002', 'book-0001'])
        """
        from llmrec_jax.inference.explanation import explanation  # imports JAX

        scorer = self._scorer()
        asked, [number] = read_history(scorer.catalog, history, None), scorer.catalog.numbers_of([item_id], "item_id")
        warn_of_unknown(asked.unknown, asked.num_ids, "", stacklevel=2)
        return explanation(scorer, self._network, asked.history, number, self._bundle.text)

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

    def _scorer(self) -> Scorer:
        parts = self._bundle.parts
        return Scorer(self._catalog, self._network, parts.weights, parts.calibration, self._nearest)

"""The approximate index: its scores are exact, and so is its list while the candidates are enough."""

import sys

import numpy as np
import pytest

from llmrec_jax import Recommender
from llmrec_jax.inference import nearest


@pytest.mark.parametrize("run", ["text_run", "id_run"])
def test_enough_candidates_give_the_exact_list(run, request):
    exact, indexed = (Recommender.load(request.getfixturevalue(run)[1]) for _ in range(2))
    indexed.build_index()
    histories = [[item.item_id, exact.items[-1 - n].item_id] for n, item in enumerate(exact.items[:20])]
    found, expected = indexed.recommend_many(histories, k=10), exact.recommend_many(histories, k=10)
    for one, other in zip(found, expected, strict=True):
        assert one.ids == other.ids
        np.testing.assert_allclose([score for _, score, _ in one], [score for _, score, _ in other], atol=1e-4)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-4)


def test_few_candidates_still_find_most_of_the_best(text_run, monkeypatch):
    exact, indexed = Recommender.load(text_run[1]), Recommender.load(text_run[1])
    monkeypatch.setattr(nearest, "MIN_CANDIDATES", 40)
    monkeypatch.setattr(nearest, "CANDIDATES", 4)
    indexed.build_index()
    histories = [[item.item_id] for item in exact.items[:40]]
    pairs = zip(indexed.recommend_many(histories), exact.recommend_many(histories), strict=True)
    assert np.mean([len(set(one.ids) & set(other.ids)) / 10 for one, other in pairs]) > 0.9


def test_options_and_changed_items_are_answered_exactly(text_run, monkeypatch):
    recommender = Recommender.load(text_run[1])
    expected = recommender.recommend(["book-0001"], where={"category": "Paperback"})
    recommender.build_index()

    def fail(*_):
        raise AssertionError("the index was read")

    monkeypatch.setattr(nearest.Nearest, "candidates", fail)
    assert recommender.recommend(["book-0001"], where={"category": "Paperback"}) == expected
    for options in ({"seen": True}, {"disliked": ["book-0002"]}, {"shop": "films"}, {"among": ["book-0004"]}):
        recommender.recommend(["book-0001"], **options)
    recommender.recommend([])
    with pytest.raises(AssertionError, match="the index was read"):
        recommender.recommend(["book-0001"])
    recommender.add_items([{"item_id": "new", "title": "New"}])
    assert "new" in recommender.recommend(["book-0001"], k=10_000).ids


def test_without_usearch_the_extra_is_named(text_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "usearch.index", None)
    with pytest.raises(ValueError, match=r"needs usearch: pip install 'llmrec_jax\[index\]'"):
        Recommender.load(text_run[1]).build_index()

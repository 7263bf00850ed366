"""Link prediction: filtered ranks equal a plain loop, ties count half; the popularity baseline."""

import numpy as np
import pytest

from llmrec_jax.data.batches.triples import Graph
from llmrec_jax.evaluate.links import (
    Embeddings,
    link_prediction,
    metrics,
    model_scores,
    popularity_ranks,
    popularity_scores,
    ranks,
)
from llmrec_jax.losses.knowledge_graph import SCORES

ITEMS, WIDTH = 30, 4
STARTS = np.array([0, 3, 40])  # a relation with 3 tails, and one with 37


@pytest.fixture(scope="module")
def graph():
    rng = np.random.default_rng(0)
    triples = {(item, 0, int(tail)) for item in range(ITEMS) for tail in rng.integers(3, size=2)}
    triples |= {(item, 1, int(tail)) for item in range(ITEMS) for tail in rng.integers(3, 40, size=6)}
    head_X, relation_X, tail_X = np.array(sorted(triples)).T
    return Graph(head_X, relation_X.astype(np.int32), tail_X.astype(np.int32), rng.random(len(head_X)) < 0.3,
                 ("small", "large"), tuple(map(str, range(40))), STARTS)  # fmt: skip


@pytest.fixture(scope="module")
def embeddings():
    rng = np.random.default_rng(1)
    shapes = ((ITEMS, WIDTH), (2, WIDTH), (40, WIDTH), (40,))
    return Embeddings(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def plain_ranks(graph, score_of, among_all=False):
    true = set(zip(graph.head_X.tolist(), graph.relation_X.tolist(), graph.tail_X.tolist(), strict=True))
    found = []
    for head, relation, tail, is_out in zip(
        graph.head_X, graph.relation_X, graph.tail_X, graph.is_held_out_X, strict=True
    ):
        if is_out:
            tails = range(40) if among_all else range(STARTS[relation], STARTS[relation + 1])
            others = [score_of(head, relation, other) for other in tails if (head, relation, other) not in true]
            own = score_of(head, relation, tail)
            found.append(1 + sum(other > own for other in others) + sum(other == own for other in others) / 2)
    return np.array(found)


@pytest.mark.parametrize("name", SCORES)
def test_ranks_are_filtered_and_among_the_tails_of_the_relation(graph, embeddings, name):
    heads, relations, tails, biases = embeddings

    def score_of(head, relation, tail):
        score_11 = SCORES[name](heads[head][None], relations[relation][None], tails[tail][None, None])
        return float(score_11[0, 0] + biases[tail])

    found = ranks(graph, model_scores(graph, SCORES[name], embeddings))
    np.testing.assert_array_equal(found, plain_ranks(graph, score_of))


def test_popularity_counts_training_triples_and_ties_half(graph):
    count = np.bincount(graph.tail_X[~graph.is_held_out_X], minlength=40)
    found = ranks(graph, popularity_scores(graph))
    np.testing.assert_array_equal(found, plain_ranks(graph, lambda head, relation, tail: count[tail]))
    assert (found % 1 == 0.5).any()
    among_all = plain_ranks(graph, lambda head, relation, tail: count[tail], among_all=True)
    np.testing.assert_array_equal(popularity_ranks(graph), among_all)
    assert (among_all > found).any()


def test_rows_by_domain_and_relation(graph, embeddings):
    rows = link_prediction(graph, SCORES["transe"], embeddings, [("one", 10), ("two", 20)])
    assert [(row["method"], row["domain"], row["relation"]) for row in rows] == [
        (method, domain, relation)
        for method in ("model", "popularity_of_tail", "popularity_in_relation")
        for domain in ("one", "two")
        for relation in ("all", "small", "large")
    ]
    rank_N = ranks(graph, model_scores(graph, SCORES["transe"], embeddings))
    held_out = graph.part(is_held_out=True)
    chosen_N = (held_out.head_X >= 10) & (held_out.relation_X == 1)
    assert rows[5]["triples"] == chosen_N.sum()
    assert rows[5]["mrr"] == pytest.approx((1 / rank_N[chosen_N]).mean())


def test_metrics():
    assert metrics(np.array([1.0, 2.0, 4.0, 20.0])) == {"mrr": 0.45, "hits@1": 0.25, "hits@3": 0.5, "hits@10": 0.75}


def test_a_score_that_is_nan_is_an_error(graph, embeddings):
    broken = embeddings._replace(tails=np.full_like(embeddings.tails, np.nan))
    with pytest.raises(FloatingPointError, match="relation 'small': a score is NaN"):
        ranks(graph, model_scores(graph, SCORES["transe"], broken))

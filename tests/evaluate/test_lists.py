"""Coverage, Gini index, novelty and diversity of lists, against their definitions item by item."""

import itertools

import numpy as np
import pytest
import scipy.sparse

from llmrec_jax.data.corpus import Case
from llmrec_jax.evaluate import lists
from llmrec_jax.evaluate.lists import ListMeasures, measures, top_items
from llmrec_jax.predictor import MatrixPredictor, ScorePredictor, VectorPredictor

RNG = np.random.default_rng(0)
ITEMS, USERS = 14, 9
ITEMS_ID, USERS_ND = RNG.standard_normal((ITEMS, 3), np.float32), RNG.standard_normal((USERS, 3), np.float32)
HISTORIES = [RNG.permutation(ITEMS)[: 2 + user % 3] for user in range(USERS)]
SCORES_NI = USERS_ND @ ITEMS_ID.T
NUMBERS_N = np.arange(USERS)


def test_measures_are_those_of_their_definitions():
    top_NK = np.array([[0, 1, 2], [0, 3, -1], [0, -1, -1]])
    counts_I = np.array([5, 0, 2, 1])
    vectors = RNG.random((4, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = measures(top_NK, counts_I, scipy.sparse.csr_matrix(vectors))
    recommended = [0, 1, 2, 0, 3, 0]
    assert found["coverage@10"] == 1
    times = [recommended.count(item) for item in range(4)]
    apart = sum(abs(a - b) for a, b in itertools.product(times, times))
    assert found["gini@10"] == pytest.approx(apart / (2 * 4 * sum(times)) * 4 / 3)  # of a finite population
    shares = (counts_I + 1) / np.sum(counts_I + 1)
    assert found["novelty@10"] == pytest.approx(np.mean([-np.log2(shares[item]) for item in recommended]))
    cosines = [[vectors[a] @ vectors[b] for a, b in itertools.combinations(kept, 2)] for kept in ([0, 1, 2], [0, 3])]
    assert found["diversity@10"] == pytest.approx(1 - np.mean([np.mean(of_a_list) for of_a_list in cosines]), abs=1e-6)


def test_the_extremes():
    texts_IV = scipy.sparse.identity(4, np.float32, "csr")
    same = measures(np.zeros((4, 1), int), np.zeros(4), texts_IV)
    all_different = measures(np.arange(4)[:, None], np.zeros(4), texts_IV)
    assert (same["coverage@10"], same["gini@10"], same["diversity@10"]) == (0.25, 1.0, None)
    assert (all_different["coverage@10"], all_different["gini@10"]) == (1.0, 0.0)
    assert all_different["novelty@10"] == 2.0  # bits: four items that are equally rare
    assert set(measures(np.full((2, 10), -1), np.zeros(4), texts_IV).values()) == {None}


@pytest.mark.parametrize(
    "predictor",
    [
        VectorPredictor("x", ITEMS_ID, lambda histories: USERS_ND[[_user(history) for history in histories]]),
        ScorePredictor("x", ITEMS, lambda histories: SCORES_NI[[_user(history) for history in histories]]),
        MatrixPredictor("x", SCORES_NI),
    ],
    ids=["vectors", "scores", "matrix"],
)
def test_the_best_ten_without_the_history(predictor, monkeypatch):
    monkeypatch.setattr("llmrec_jax.evaluate.host_ranking.SCORES", 4 * ITEMS)  # several blocks
    found_NK = top_items(predictor, HISTORIES, NUMBERS_N)
    assert found_NK.shape == (USERS, 10)
    for user, history in enumerate(HISTORIES):
        best = [item for item in np.argsort(-SCORES_NI[user]) if item not in history][:10]
        assert {*found_NK[user]} == {*best}
    long = [np.arange(ITEMS - 2)] * USERS
    rows = top_items(MatrixPredictor("x", SCORES_NI), long, NUMBERS_N)
    assert all({*row} == {ITEMS - 2, ITEMS - 1, -1} for row in rows)


def test_a_sample_of_the_users_is_the_same_for_every_method(monkeypatch):
    monkeypatch.setattr(lists, "MOST_USERS", 4)
    case = Case(0, "test", HISTORIES, np.zeros(USERS, np.int32), NUMBERS_N)
    found = ListMeasures(case, np.ones(ITEMS), ["one", "two"] * 7)
    found.add(MatrixPredictor("a", SCORES_NI))
    found.add(ScorePredictor("b", ITEMS, lambda histories: SCORES_NI[[_user(history) for history in histories]]))
    first, second = found.rows
    assert (first.pop("method"), second.pop("method")) == ("a", "b")
    assert first == second
    assert first["users"] == 4


def _user(history):
    return next(user for user, other in enumerate(HISTORIES) if np.array_equal(other, history))

"""The blend: a sum whose parts explain it, and which of its parts stand in the report."""

import numpy as np
import pytest

from llmrec_jax.blend.answer import Blend, Part, model_part, standardized
from llmrec_jax.evaluate.host_ranking import rank_blend, rank_scores
from llmrec_jax.predictor import ScorePredictor, VectorPredictor

ITEMS, USERS = 30, 50


def table(seed):
    return np.random.default_rng(seed).standard_normal((ITEMS, ITEMS)).astype(np.float32)


def part(name, seed):
    return Part(name, lambda histories: table(seed)[[history[-1] for history in histories]])


def blend(**weights):
    return Blend(ITEMS, tuple(part(name, seed) for seed, name in enumerate(weights)), weights)


HISTORIES = [np.array([user % 7, (3 * user) % ITEMS]) for user in range(USERS)]
TARGETS = np.array([(5 * user + 1) % ITEMS for user in range(USERS)])


def test_a_score_is_the_sum_of_the_weighted_parts():
    found = blend(text=1.0, structure=0.5, model=2.0)
    parts = found.part_scores(HISTORIES)
    np.testing.assert_allclose(found.scores(HISTORIES), parts[0] + 0.5 * parts[1] + 2 * parts[2], rtol=1e-5)


def test_the_report_ranks_the_answer_each_part_and_the_answer_without_each():
    found = rank_blend(blend(text=1.0, structure=0.5, model=0.0), HISTORIES, TARGETS)
    names = ["only text", "only structure", "without text", "without structure", "answer"]
    assert list(found) == names

    def ranks(scores):
        return rank_scores(ScorePredictor("x", ITEMS, scores), HISTORIES, TARGETS).rank_N

    np.testing.assert_array_equal(found["only text"].rank_N, ranks(part("text", 0).scores))
    np.testing.assert_array_equal(found["answer"].rank_N, ranks(blend(text=1.0, structure=0.5).scores))
    np.testing.assert_array_equal(found["without text"].rank_N, ranks(part("structure", 1).scores))
    assert list(rank_blend(blend(text=1.0), HISTORIES, TARGETS)) == ["only text", "answer"]


def test_ranks_do_not_depend_on_the_number_of_users_scored_at_a_time(monkeypatch):
    whole = rank_blend(blend(text=1.0, model=0.7), HISTORIES, TARGETS)
    monkeypatch.setattr("llmrec_jax.evaluate.host_ranking.SCORES", 7 * ITEMS)
    for name, ranks in rank_blend(blend(text=1.0, model=0.7), HISTORIES, TARGETS).items():
        np.testing.assert_array_equal(ranks.rank_N, whole[name].rank_N)


def test_the_models_scores_are_standardized_over_the_items_that_it_knows():
    rng = np.random.default_rng(0)
    vectors_ID, users_ND = rng.standard_normal((ITEMS, 4)), rng.standard_normal((3, 4)).astype(np.float32)
    vectors_ID[3] = 0
    scores_NI = model_part(VectorPredictor("model", vectors_ID, lambda _: users_ND)).scores([np.array([0])] * 3)
    assert not scores_NI[:, 3].any()
    known = np.delete(scores_NI, 3, axis=1)
    np.testing.assert_allclose(known.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(known.std(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(
        np.argsort(known, axis=1), np.argsort(np.delete(users_ND @ vectors_ID.T, 3, axis=1), axis=1)
    )


@pytest.mark.parametrize("scores_NI", [np.zeros((2, 4)), np.full((2, 4), 0.7)])
def test_a_model_that_tells_no_item_from_another_adds_nothing(scores_NI):
    assert not standardized(scores_NI.astype(np.float32), np.ones(4, bool)).any()

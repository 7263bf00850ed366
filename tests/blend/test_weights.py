"""Fitted weights: what helps gets a weight, noise does not, and few users change nothing."""

import numpy as np
import pytest

from llmrec_jax.blend.answer import Blend, Part
from llmrec_jax.blend.weights import candidates, fit_weights, ndcg

ITEMS, USERS = 200, 1500
RNG = np.random.default_rng(0)
HISTORIES = [np.array([user, user + 1]) % ITEMS for user in range(USERS)]
TARGETS = (np.arange(USERS) * 7 + 3) % ITEMS
NOISE = RNG.standard_normal((5, USERS, ITEMS)).astype(np.float32)


def informative(seed, strength):
    """Scores that put the target higher than the noise does."""
    scores_NI = NOISE[seed].copy()
    scores_NI[np.arange(USERS), TARGETS] += strength
    return scores_NI


def blend_of(rows=slice(None), **parts):
    """Each part's scores are given for all users."""
    made = tuple(Part(name, lambda _, scores=scores_NI[rows]: scores) for name, scores_NI in parts.items())
    return Blend(ITEMS, made, {name: float(name != "model") for name in parts})


def fit(fit_untrained=True, **parts):
    whole = blend_of(**parts)
    return fit_weights([(whole, HISTORIES, TARGETS)], "shop", fit_untrained=fit_untrained)


@pytest.fixture(autouse=True)
def one_block(monkeypatch):
    monkeypatch.setattr("llmrec_jax.blend.weights.SCORES", USERS * ITEMS)  # the parts return all users at once


def test_a_model_that_helps_gets_a_weight_and_noise_gets_none():
    helps = fit(text=informative(0, 1.5), model=informative(1, 1.5))
    assert 0.4 < helps.weights["model"] / helps.weights["text"] < 2.5
    assert "the model improves validation users of shop" in helps.reason
    noise = fit(text=informative(0, 1.5), model=NOISE[1])
    assert noise.weights["model"] == 0
    assert "does not improve" in noise.reason
    assert noise.users == USERS


def test_a_part_of_noise_loses_its_weight_and_a_good_start_stays():
    found = fit(text=informative(0, 1.5), structure=NOISE[2], model=NOISE[1])
    assert found.weights["structure"] / found.weights["text"] < 0.8
    assert (
        fit(text=informative(0, 2.0), structure=informative(2, 2.0), model=NOISE[1]).weights.keys()
        == found.weights.keys()
    )


def test_weights_of_untrained_parts_can_stay_fixed():
    found = fit(text=informative(0, 1.5), structure=NOISE[2], model=informative(1, 1.5), fit_untrained=False)
    assert (found.weights["text"], found.weights["structure"]) == (1, 1)
    assert found.weights["model"] > 0


def test_the_answer_without_the_model_has_weights_of_its_own():
    parts = {"text": informative(0, 1.5), "structure": informative(2, 1.0)}
    found, alone = fit(**parts, model=informative(1, 1.5)), fit(**parts, model=NOISE[1])
    assert found.weights["model"] > 0
    assert found.untrained == alone.untrained == alone.weights
    fixed = fit(**parts, model=informative(1, 1.5), fit_untrained=False)
    assert fixed.untrained == fixed.weights | {"model": 0} == {"text": 1, "structure": 1, "model": 0}


def test_folds_are_fitted_together():
    parts = {"text": informative(0, 1.5), "structure": NOISE[2], "model": informative(1, 1.5)}
    halves = [(blend_of(rows, **parts), HISTORIES[rows], TARGETS[rows]) for rows in (slice(0, 750), slice(750, USERS))]
    assert fit_weights(halves, "shop").report() == fit(**parts).report()


def test_the_users_that_judge_a_fit_are_not_those_it_was_fitted_on(monkeypatch):
    found = fit(text=informative(0, 1.5), model=informative(1, 1.5), fit_untrained=False)
    assert len(found.held_out.answer_N) == len(found.held_out.untrained_N) == USERS
    assert found.held_out.answer_N.mean() > found.held_out.untrained_N.mean() + 0.05
    seen = []
    monkeypatch.setattr("llmrec_jax.blend.weights.ascend", lambda scores, start, free: seen.append(scores) or start + 1)
    again = fit(text=informative(0, 1.5), model=informative(1, 1.5), fit_untrained=False)
    assert [scores.shape[1] for scores in seen[:5]] == [USERS * 4 // 5] * 5
    whole_KNC = candidates(blend_of(text=informative(0, 1.5), model=informative(1, 1.5)), HISTORIES, TARGETS)
    np.testing.assert_array_equal(again.held_out.answer_N, ndcg(whole_KNC, np.array([2.0, 1.0])))
    np.testing.assert_array_equal(again.held_out.untrained_N, ndcg(whole_KNC, np.array([1.0, 0.0])))


def test_a_model_without_a_weight_is_judged_as_the_answer_without_it():
    noise = fit(text=informative(0, 1.5), model=NOISE[1])
    assert noise.weights["model"] == 0
    np.testing.assert_array_equal(noise.held_out.answer_N, noise.held_out.untrained_N)


def test_candidates_give_the_ranks_of_the_whole_catalogue():
    blend = blend_of(text=informative(0, 1.5), model=informative(1, 1.0))
    scores_KNC = candidates(blend, HISTORIES, TARGETS)
    for weights in ([1.0, 0.0], [1.0, 1.0]):
        scores_NI = weights[0] * informative(0, 1.5) + weights[1] * informative(1, 1.0)
        for user, history in enumerate(HISTORIES):
            scores_NI[user, history[history != TARGETS[user]]] = -np.inf
        rank_N = 1 + (scores_NI > scores_NI[np.arange(USERS), TARGETS][:, None]).sum(axis=1)
        expected_N = np.where(rank_N <= 10, 1 / np.log2(1 + rank_N), 0)
        np.testing.assert_allclose(ndcg(scores_KNC, np.array(weights)), expected_N)

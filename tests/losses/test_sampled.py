"""Losses over sampled negatives against float64 NumPy references, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.losses import ranking, sampled

N, D, NUM_ITEMS, TEMPERATURE = 7, 4, 11, 0.3


@pytest.fixture(scope="module")
def case():
    """Every item is a negative with a probability of its own, except item 9, which is padding."""
    rng = np.random.default_rng(0)
    items_KD, target_N = rng.normal(size=(NUM_ITEMS, D)).astype(np.float32), rng.integers(NUM_ITEMS, size=N)
    is_negative_NK = (np.arange(NUM_ITEMS)[None] != target_N[:, None]) & (np.arange(NUM_ITEMS) != 9)[None]
    return {
        "user_ND": rng.normal(size=(N, D)).astype(np.float32),
        "target_ND": items_KD[target_N],
        "negatives_KD": items_KD,
        "is_negative_NK": is_negative_NK,
        "log_q_K": np.log(rng.uniform(0.1, 1, NUM_ITEMS)).astype(np.float32),
    }


def scores_of(case):
    """The score of each row's target [N], and those of all negatives [N, K], in float64."""
    user_ND, target_ND, negatives_KD = (
        case[name].astype(np.float64) for name in ("user_ND", "target_ND", "negatives_KD")
    )
    return (user_ND * target_ND).sum(axis=1) / TEMPERATURE, user_ND @ negatives_KD.T / TEMPERATURE


def sampled_softmax(case, **changes):
    return sampled.sampled_softmax(**case | changes, temperature=TEMPERATURE)


def gbce(case, calibration=0.75, **changes):
    return sampled.gbce(**case | changes, temperature=TEMPERATURE, calibration=calibration)


def test_sampled_softmax_is_the_reference(case):
    right_N, score_NK = scores_of(case)
    weight_NK = case["is_negative_NK"] / np.exp(case["log_q_K"].astype(np.float64))
    expected_N = np.log(np.exp(right_N) + (weight_NK * np.exp(score_NK)).sum(axis=1)) - right_N
    np.testing.assert_allclose(sampled_softmax(case), expected_N, 1e-5)


def test_sampled_softmax_over_all_items_is_the_softmax(case):
    everything = {
        "is_negative_NK": (case["negatives_KD"][None] != case["target_ND"][:, None]).any(axis=2),
        "log_q_K": np.zeros(NUM_ITEMS, np.float32),
    }
    expected_N = ranking.softmax(
        case["user_ND"],
        case["negatives_KD"],
        case["target_ND"],
        is_candidate_I=np.ones(NUM_ITEMS, bool),
        temperature=TEMPERATURE,
        block_size=4,
    )
    np.testing.assert_allclose(sampled_softmax(case, **everything), expected_N, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("calibration", [0.0, 0.75, 1.0])
def test_gbce_is_the_reference(case, calibration):
    """The formula of the paper, with the sampling rate of a sample that holds each item with probability 1/4."""
    alpha = 0.25
    beta = alpha * (calibration * (1 - 1 / alpha) + 1 / alpha)
    right_N, score_NK = scores_of(case)
    is_negative_NK = case["is_negative_NK"]
    offset_N = np.log(beta / is_negative_NK.sum(axis=1))
    right_N, score_NK = right_N + offset_N, score_NK + offset_N[:, None]
    wrong_N = (np.log1p(np.exp(score_NK)) * is_negative_NK).sum(axis=1)
    expected_N = beta * np.log1p(np.exp(-right_N)) + wrong_N
    log_q_K = np.full(NUM_ITEMS, np.log(alpha), np.float32)
    np.testing.assert_allclose(gbce(case, calibration, log_q_K=log_q_K), expected_N, 1e-5)


def test_gbce_pulls_the_targets_as_much_as_it_pushes_the_negatives_where_all_scores_are_zero(case):
    """Otherwise training would begin with many steps that only lower all scores."""

    def loss(score):
        vectors = {"user_ND": np.ones((N, 1)), "target_ND": jnp.full((N, 1), score)}
        return gbce(case, **vectors, negatives_KD=jnp.full((NUM_ITEMS, 1), score)).sum()

    assert abs(jax.grad(loss)(0.0)) < 0.1
    assert jax.grad(loss)(1.0) > 1


@pytest.mark.parametrize("loss", [sampled_softmax, gbce])
def test_an_item_that_is_no_negative_has_no_gradient(case, loss):
    def gradient(is_negative_NK):
        total = jax.grad(
            lambda negatives_KD: loss(case, negatives_KD=negatives_KD, is_negative_NK=is_negative_NK).sum()
        )
        return total(case["negatives_KD"])

    gradient_KD = gradient(case["is_negative_NK"])
    np.testing.assert_array_equal(gradient_KD[9], 0)
    assert (np.abs(gradient_KD).max(axis=1) > 0).sum() == NUM_ITEMS - 1
    only_first = case["is_negative_NK"] & (np.arange(N) < 1)[:, None]
    assert np.abs(gradient(only_first)).max() > 0


@pytest.mark.parametrize("loss", [sampled_softmax, gbce])
def test_a_row_without_negatives_is_finite(case, loss):
    none = np.zeros((N, NUM_ITEMS), bool)
    value, gradient_ND = jax.value_and_grad(lambda user_ND: loss(case, user_ND=user_ND, is_negative_NK=none).sum())(
        case["user_ND"]
    )
    assert np.isfinite(value)
    assert np.isfinite(gradient_ND).all()


@pytest.mark.parametrize("loss", [sampled_softmax, gbce])
def test_large_scores_and_bfloat16_vectors_give_finite_float32(case, loss):
    assert np.isfinite(loss(case, user_ND=case["user_ND"] * 1e4)).all()
    narrow = {name: jnp.asarray(case[name], jnp.bfloat16) for name in ("user_ND", "target_ND", "negatives_KD")}
    assert loss(case, **narrow).dtype == jnp.float32


@pytest.mark.parametrize("loss", [sampled_softmax, gbce])
def test_every_product_is_full_float32_forward_and_backward(case, loss):
    def total(user_ND, negatives_KD):
        return loss(case, user_ND=user_ND, negatives_KD=negatives_KD).sum()

    gradients = jax.jit(jax.value_and_grad(total, (0, 1))).trace(case["user_ND"], case["negatives_KD"])
    text = gradients.lower(lowering_platforms=("tpu",)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) >= 3
    assert all("[HIGHEST, HIGHEST]" in line for line in products)

"""Losses on predictions at their extremes, where logarithms, ratios and singular values are at risk."""

import jax
import numpy as np
import pytest

from llmrec_jax.losses import adaptation
from llmrec_jax.losses.adaptation.predictions import _nuclear_norm
from llmrec_jax.losses.ranking import EXCLUDED

USERS, ITEMS = 6, 4
LOSSES = {
    name: jax.jit(jax.value_and_grad(getattr(adaptation, name))) for name in ("information_maximization", "mcc", "bnm")
}
each_loss = pytest.mark.parametrize("name", LOSSES)
ALL_N = np.ones(USERS, bool)
CERTAIN_NI = 200 * np.eye(ITEMS, dtype=np.float32)[[0, 1, 2, 3, 0, 1]]


@pytest.mark.parametrize(
    ("name", "uniform", "certain"),
    [
        ("information_maximization", 0, -(2 * np.log(3) / 3 + np.log(6) / 3)),
        ("mcc", 1 - 1 / ITEMS, 0),
        ("bnm", -1 / np.sqrt(USERS * ITEMS), -(2 * np.sqrt(2) + 2) / USERS),
    ],
)
def test_uniform_predictions_are_worst_and_certain_diverse_ones_best(name, uniform, certain):
    np.testing.assert_allclose(LOSSES[name](np.zeros((USERS, ITEMS), np.float32), ALL_N)[0], uniform, atol=1e-6)
    np.testing.assert_allclose(LOSSES[name](CERTAIN_NI, ALL_N)[0], certain, atol=1e-5)
    collapsed_NI = CERTAIN_NI[[0] * USERS]
    value, _ = LOSSES[name](collapsed_NI, ALL_N)
    if name != "mcc":  # which a prediction of one item for all users satisfies
        assert certain < value <= max(uniform, -1 / np.sqrt(USERS) + 1e-6)


@each_loss
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_excluded_items_and_large_scores_are_finite(name, scale):
    logits_NI = scale * np.random.default_rng(0).normal(size=(USERS, ITEMS)).astype(np.float32)
    logits_NI[:, 2] = EXCLUDED
    for array in LOSSES[name](logits_NI, ALL_N):
        assert np.isfinite(array).all()


@each_loss
def test_a_step_down_the_gradient_makes_predictions_more_certain(name):
    logits_NI = np.random.default_rng(0).normal(size=(USERS, ITEMS)).astype(np.float32)
    before, gradient_NI = LOSSES[name](logits_NI, ALL_N)
    step_NI = logits_NI - 0.1 * gradient_NI / np.abs(gradient_NI).max()
    assert LOSSES[name](step_NI, ALL_N)[0] < before
    assert adaptation.entropy(step_NI).mean() < adaptation.entropy(logits_NI).mean()


def test_the_gradient_of_the_nuclear_norm_is_its_smallest_subgradient():
    """With equal singular values, with zero ones, and at 0."""
    gradient = jax.jit(jax.grad(_nuclear_norm))
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    np.testing.assert_allclose(gradient(3 * rotation.astype(np.float32)), rotation, atol=1e-5)
    u, v = rotation[:, 0], np.array([0, 0.6, 0.8, 0])
    np.testing.assert_allclose(gradient(np.outer(2 * u, v).astype(np.float32)), np.outer(u, v), atol=1e-5)
    np.testing.assert_array_equal(gradient(np.zeros((4, 4), np.float32)), 0)

"""What is built from discriminators: the inputs of CDAN's, and the importance weights from their logits."""

import jax
import numpy as np
import pytest

from llmrec_jax.losses import adaptation
from tests.losses.adaptation.cases import make_rows

weights = jax.jit(adaptation.density_ratio, static_argnames="alpha")


def test_cdan_features_are_the_outer_product():
    rng = np.random.default_rng(0)
    features_ND, probabilities_NI = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(4), 5)
    outer = adaptation.cdan_features(features_ND, probabilities_NI)
    expected = np.stack([np.outer(f, p).ravel() for f, p in zip(features_ND, probabilities_NI, strict=True)])
    np.testing.assert_allclose(outer, expected, rtol=1e-5)

    projections = adaptation.random_projections(jax.random.key(0), (3, 4), 20000)
    random = adaptation.cdan_features(features_ND, probabilities_NI, projections)
    assert random.shape == (5, 20000)
    np.testing.assert_allclose(random @ random.T, outer @ outer.T, atol=0.15)


def test_features_oppose_cdan_s_discriminator():
    rows_ND, is_source_N, is_target_N = make_rows()
    rows_ND = np.where((is_source_N | is_target_N)[:, None], rows_ND, 0)

    @jax.jit
    @jax.value_and_grad
    def loss(rows_ND, scale):
        logits_N = adaptation.gradient_reversal(rows_ND, scale)[:, 0] - 5
        return adaptation.cdan(logits_N, is_source_N, is_target_N)

    value, gradient_ND = loss(rows_ND, 1.0)
    assert loss(rows_ND - 0.1 * gradient_ND, 1.0)[0] > value
    np.testing.assert_allclose(loss(rows_ND, 0.25)[1], 0.25 * gradient_ND, rtol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5])
def test_weights_are_the_relative_density_ratio(alpha):
    logits_N = np.random.default_rng(0).normal(size=30, scale=4).astype(np.float32)
    odds = np.exp(logits_N.astype(np.float64))
    np.testing.assert_allclose(weights(logits_N, alpha=alpha), odds / (alpha * odds + 1 - alpha), rtol=1e-5)


def test_weights_turn_a_mean_over_the_source_into_one_over_the_target():
    """Source N(0, 1) and target N(1, 1), whose best discriminator has the logit x - 1/2."""
    x_N = np.random.default_rng(0).normal(size=4000).astype(np.float32)
    weight_N = weights(x_N - 0.5, alpha=0.0)
    np.testing.assert_allclose(weight_N.mean(), 1, atol=0.1)
    np.testing.assert_allclose(np.average(x_N, weights=weight_N), 1, atol=0.1)


def test_enormous_logits_give_finite_weights_above_0_and_no_gradient():
    """A source row that is surely of the source counts next to nothing, but a batch of them still has a mean."""
    logits_N = np.array([500.0, -500], np.float32)
    for alpha, largest in ((0.0, np.exp(20)), (0.1, 10)):
        weight_N = weights(logits_N, alpha=alpha)
        np.testing.assert_allclose(weight_N[0], largest, rtol=1e-5)
        assert 0 < weight_N[1] < 1e-8
    gradient_N = jax.grad(lambda x: adaptation.density_ratio(x).sum())(logits_N)
    np.testing.assert_array_equal(gradient_N, 0)

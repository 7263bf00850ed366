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
    rows_ND, is_source_N, is_target_N = make_rows()
    logits_N = rows_ND[:, 0] - 5
    got_N = weights(logits_N, is_source_N, is_target_N, alpha=alpha)
    odds = np.exp(logits_N[is_source_N].astype(np.float64))
    ratio = odds / (alpha * odds + 1 - alpha)
    np.testing.assert_allclose(got_N[is_source_N], ratio / ratio.mean(), rtol=1e-5)
    np.testing.assert_array_equal(got_N[~is_source_N], 0)


def test_weights_turn_a_mean_over_the_source_into_one_over_the_target():
    """Source N(0, 1) and target N(1, 1), whose best discriminator has the logit x - 1/2."""
    x_N = np.random.default_rng(0).normal(size=4000).astype(np.float32)
    is_source_N = np.arange(4000) < 3999
    weight_N = weights(x_N - 0.5, is_source_N, ~is_source_N, alpha=0.0)
    np.testing.assert_allclose(np.mean((weight_N * x_N)[is_source_N]), 1, atol=0.1)


def test_weights_at_the_edges():
    """Enormous logits, a side without rows; never a gradient."""
    logits_N, is_source_N = np.array([500.0, -500, 0, np.nan], np.float32), np.arange(4) < 3
    np.testing.assert_allclose(weights(logits_N, is_source_N, ~is_source_N, alpha=0.0), [3, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(weights(logits_N, is_source_N, ~is_source_N, alpha=0.5), [2, 0, 1, 0], atol=1e-6)
    none_N = np.zeros(4, bool)
    np.testing.assert_array_equal(weights(logits_N, is_source_N, none_N), [1, 1, 1, 0])
    np.testing.assert_array_equal(weights(logits_N, none_N, is_source_N), 0)
    gradient_N = jax.grad(lambda x: adaptation.density_ratio(x, is_source_N, ~is_source_N)[0])(logits_N)
    np.testing.assert_array_equal(gradient_N, 0)

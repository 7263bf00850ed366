"""WDGRL with a critic that is not linear, so that the points of the gradient penalty matter; its pairs of rows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.losses import adaptation
from tests.losses.adaptation.cases import D, N, make_rows

WIDTH = 3
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def weights():
    rng = np.random.default_rng(6)
    return tuple((0.3 * rng.normal(size=shape)).astype(np.float32) for shape in ((D, WIDTH), (WIDTH,)))


@jax.jit
def value_and_grad(weights, rows_ND, is_source_N, is_target_N):
    def loss(weights, rows_ND):
        critic = lambda x: jnp.tanh(x @ weights[0]) @ weights[1]  # noqa: E731
        return adaptation.wdgrl(critic, rows_ND, is_source_N, is_target_N, KEY, penalty=2.0)

    return jax.value_and_grad(loss, (0, 1))(weights, rows_ND)


def reference(weights, rows_ND, constant_ND, is_source_N, is_target_N):
    hidden, out = (x.astype(np.float64) for x in weights)

    def penalty(points):
        slope = (1 - np.tanh(points @ hidden) ** 2) * out @ hidden.T
        return np.mean((np.linalg.norm(slope, axis=1) - 1) ** 2)

    def mean_score(rows):
        return np.mean(np.tanh(rows @ hidden) @ out)

    partner_N, share_N = (np.asarray(x) for x in adaptation.random_pairs(KEY, is_source_N, is_target_N))
    between = share_N[:, None] * constant_ND + (1 - share_N[:, None]) * constant_ND[partner_N]
    points = constant_ND[is_source_N], constant_ND[is_target_N], between[is_source_N | is_target_N]
    distance = mean_score(rows_ND[is_source_N]) - mean_score(rows_ND[is_target_N])
    return 2 * np.mean([penalty(x) for x in points]) - distance


def test_value_and_gradients_are_the_reference_s(weights):
    """The critic is trained by both parts, the features by the distance alone."""
    rows_ND, *sides = make_rows()
    value, (weight_gradients, rows_gradient_ND) = value_and_grad(weights, rows_ND, *sides)
    constant_ND = rows_ND.astype(np.float64)
    np.testing.assert_allclose(value, reference(weights, constant_ND, constant_ND, *sides), rtol=1e-5)

    rng = np.random.default_rng(7)
    for _ in range(3):
        directions = tuple(rng.normal(size=x.shape) for x in weights)
        direction_ND = rng.normal(size=(N, D))
        changed_weights = (tuple(x + h * d for x, d in zip(weights, directions, strict=True)) for h in (1e-5, -1e-5))
        ahead, behind = (reference(x, constant_ND, constant_ND, *sides) for x in changed_weights)
        got = sum(np.sum(g * d) for g, d in zip(weight_gradients, directions, strict=True))
        np.testing.assert_allclose(got, (ahead - behind) / 2e-5, rtol=1e-3, atol=1e-5)
        moved = (constant_ND + h * direction_ND for h in (1e-5, -1e-5))
        ahead, behind = (reference(weights, x, constant_ND, *sides) for x in moved)
        np.testing.assert_allclose(
            np.sum(rows_gradient_ND * direction_ND), (ahead - behind) / 2e-5, rtol=1e-3, atol=1e-5
        )


def test_a_critic_of_zeros_has_a_penalty_of_one_and_finite_gradients(weights):
    """The norm of its gradient is 0, where the derivative of a norm does not exist."""
    value, gradients = value_and_grad(jax.tree.map(np.zeros_like, weights), *make_rows())
    assert value == 2
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(gradients))


def test_partners_are_random_rows_of_the_other_side():
    _, is_source_N, is_target_N = make_rows()
    draw = jax.jit(adaptation.random_pairs)
    seen = np.zeros((N, N), int)
    for seed in range(60):
        partner_N, share_N = draw(jax.random.key(seed), is_source_N, is_target_N)
        seen[np.arange(N), partner_N] += 1
        assert ((share_N >= 0) & (share_N < 1)).all()
    between_sides_NN = is_source_N[:, None] & is_target_N | is_target_N[:, None] & is_source_N
    assert not seen[is_source_N | is_target_N][~between_sides_NN[is_source_N | is_target_N]].any()
    assert (seen[is_source_N].sum(axis=0)[is_target_N] > 60).all()  # 100 expected of each


def test_the_distance_is_positive_where_the_source_scores_higher():
    is_source_N = np.arange(4) < 2
    assert adaptation.wdgrl_distance(np.array([3.0, 1, -1, np.nan]), is_source_N, np.arange(4) == 2) == 3

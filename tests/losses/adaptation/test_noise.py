"""Distances less their noise: unbiased, and indifferent to the variance of domains that are alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from llmrec_jax.losses import adaptation
from llmrec_jax.parallel import AXES

N, D = 64, 4
IS_SOURCE_N = np.arange(N) < 40
IS_FIRST_N = np.asarray(jax.random.bernoulli(jax.random.key(5), shape=(N,)))
DIRECTIONS_QD = adaptation.random_directions(jax.random.key(1), 8, D)
DISTANCES = {
    "coral": lambda rows_ND, *masks: adaptation.coral(rows_ND, rows_ND, *masks),
    "sliced_wasserstein": lambda rows_ND, *masks: adaptation.sliced_wasserstein(rows_ND, *masks, DIRECTIONS_QD),
    "sinkhorn": adaptation.sinkhorn,
}
each_distance = pytest.mark.parametrize("name", DISTANCES)


def loss(name, rows_ND, is_source_N=IS_SOURCE_N, is_target_N=~IS_SOURCE_N, is_first_N=IS_FIRST_N):
    return adaptation.less_noise(functools.partial(DISTANCES[name], rows_ND), is_source_N, is_target_N, is_first_N)


def make_rows(shape=(N, D), shift=0.0):
    rows = np.random.default_rng(0).normal(size=shape)
    return (rows + shift * ~IS_SOURCE_N[:, None]).astype(np.float32)


def test_it_is_the_distance_less_those_of_the_halves_in_numpy():
    rows_ND = make_rows(shift=1.0)

    def coral(one, other):
        difference = np.cov(rows_ND[one].astype(np.float64), rowvar=False) - np.cov(rows_ND[other], rowvar=False)
        return np.sum(difference**2) / (4 * D**2)

    expected = coral(IS_SOURCE_N, ~IS_SOURCE_N)
    for side_N in (IS_SOURCE_N, ~IS_SOURCE_N):
        first_N, second_N = side_N & IS_FIRST_N, side_N & ~IS_FIRST_N
        expected -= first_N.sum() * second_N.sum() / side_N.sum() ** 2 * coral(first_N, second_N)
    np.testing.assert_allclose(jax.jit(functools.partial(loss, "coral"))(rows_ND), expected, rtol=1e-4)


@each_distance
def test_domains_that_are_alike_are_at_a_mean_distance_of_0_and_others_are_not(name):
    """The distance alone is above 0 there, and its gradient makes all rows smaller."""
    keys = jax.random.split(jax.random.key(2), 60)

    @jax.jit
    @jax.vmap
    def measure(key):
        rows_ND = jax.random.normal(jax.random.fold_in(key, 0), (N, D))
        is_first_N = jax.random.bernoulli(jax.random.fold_in(key, 1), shape=(N,))
        plain = lambda scale: DISTANCES[name](scale * rows_ND, IS_SOURCE_N, ~IS_SOURCE_N)  # noqa: E731
        less = lambda scale: loss(name, scale * rows_ND, is_first_N=is_first_N)  # noqa: E731
        shifted_ND = rows_ND * jnp.where(IS_SOURCE_N[:, None], 1.0, 2.0)
        return (
            jax.value_and_grad(plain)(1.0),
            jax.value_and_grad(less)(1.0),
            loss(name, shifted_ND, is_first_N=is_first_N),
        )

    (plain, slope), (less, less_slope), apart = measure(keys)
    assert plain.mean() > 4 * plain.std() / 60**0.5
    assert slope.mean() > 4 * slope.std() / 60**0.5
    assert abs(less.mean()) < 0.25 * plain.mean()
    assert abs(less_slope.mean()) < 0.25 * slope.mean()
    assert apart.mean() > 2 * plain.mean()


@pytest.mark.parametrize("name", ["coral", "sliced_wasserstein"])
def test_the_gradient_is_that_of_finite_differences(name):
    rows_ND = make_rows(shift=1.0)
    direction_ND = np.random.default_rng(1).normal(size=(N, D)).astype(np.float32)
    value = jax.jit(functools.partial(loss, name))
    ahead, behind = (float(value(rows_ND + h * direction_ND)) for h in (1e-2, -1e-2))
    np.testing.assert_allclose(np.sum(jax.grad(value)(rows_ND) * direction_ND), (ahead - behind) / 2e-2, rtol=2e-2)


@each_distance
def test_8_devices_give_the_value_of_one_and_the_mean_of_their_own_is_wrong(name):
    rows_ND, sides = make_rows(shift=1.0), (np.arange(N) % 2 == 0, np.arange(N) % 2 == 1)
    value = jax.jit(functools.partial(loss, name))
    mesh = jax.make_mesh((8,), AXES[:1], axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put((rows_ND, *sides, IS_FIRST_N), NamedSharding(mesh, PartitionSpec(AXES[0])))
    whole = value(rows_ND, *sides)
    np.testing.assert_allclose(value(*sharded), whole, rtol=1e-5, atol=1e-6)
    own = jax.vmap(value)(*(x.reshape(8, -1, *x.shape[1:]) for x in (rows_ND, *sides, IS_FIRST_N)))
    assert abs(own.mean() - whole) > 0.03 * abs(whole)


@each_distance
def test_unused_rows_change_nothing_and_too_few_give_0(name):
    rows_ND = make_rows(shift=1.0)
    used_N = np.arange(N) % 3 > 0
    sides = (used_N & IS_SOURCE_N, used_N & ~IS_SOURCE_N)
    value, gradient_ND = jax.jit(jax.value_and_grad(functools.partial(loss, name)))(
        np.where(used_N[:, None], rows_ND, np.nan), *sides
    )
    assert np.isfinite(value)
    np.testing.assert_array_equal(gradient_ND[~used_N], 0)
    few_N = sides[1] & (np.cumsum(sides[1]) < 2)
    assert jax.jit(functools.partial(loss, name))(rows_ND, sides[0], few_N) == 0

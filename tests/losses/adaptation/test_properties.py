"""Each loss equals its NumPy counterpart, in value and gradient, and keeps the conventions of the package."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.losses.adaptation.cases import CASES, D, N, make_rows

each_case = pytest.mark.parametrize("name", CASES)


@functools.cache
def value_and_grad(name):
    return jax.jit(jax.value_and_grad(CASES[name].loss))


def reference(name, rows_ND, is_source_N, is_target_N, constant_ND=None):
    constant_ND = rows_ND if constant_ND is None else constant_ND
    sides = [x[side] for x in (rows_ND, constant_ND) for side in (is_source_N, is_target_N)]
    return CASES[name].reference(*(side.astype(np.float64) for side in sides))


@each_case
def test_the_value_is_the_reference_in_any_order(name):
    rows_ND, *sides = make_rows()
    value, _ = value_and_grad(name)(rows_ND, *sides)
    assert value.dtype == np.float32
    assert value.shape == ()
    np.testing.assert_allclose(value, reference(name, rows_ND, *sides), rtol=2e-4, atol=1e-6)
    order_N = np.random.default_rng(1).permutation(N)
    moved, _ = value_and_grad(name)(rows_ND[order_N], *(side[order_N] for side in sides))
    np.testing.assert_allclose(moved, value, rtol=2e-5, atol=1e-6)


@each_case
def test_the_gradient_is_that_of_finite_differences(name):
    """Along random directions, each of which has a part of every used entry."""
    rows_ND, *sides = make_rows()
    _, gradient_ND = value_and_grad(name)(rows_ND, *sides)
    rows_ND = rows_ND.astype(np.float64)
    for seed in range(4):
        direction_ND = np.random.default_rng(seed).normal(size=rows_ND.shape)
        ahead, behind = (reference(name, rows_ND + h * direction_ND, *sides, rows_ND) for h in (1e-5, -1e-5))
        expected = (ahead - behind) / 2e-5
        np.testing.assert_allclose(np.sum(gradient_ND * direction_ND), expected, rtol=1e-3, atol=2e-5)


@each_case
def test_narrow_features_give_float32(name):
    rows_ND, *sides = make_rows()
    value = jax.eval_shape(CASES[name].loss, jnp.asarray(rows_ND, jnp.bfloat16), *sides)
    assert value.dtype == np.float32


@each_case
def test_masked_rows_change_nothing(name):
    rows_ND, *sides = make_rows()
    is_unused_N = ~sides[1] if CASES[name].used == "target" else ~(sides[0] | sides[1])
    value, gradient_ND = value_and_grad(name)(rows_ND, *sides)
    np.testing.assert_array_equal(gradient_ND[is_unused_N], 0)
    others_ND = np.where(is_unused_N[:, None], 1, rows_ND).astype(np.float32)
    other_value, other_gradient_ND = value_and_grad(name)(others_ND, *sides)
    np.testing.assert_array_equal(value, other_value)
    np.testing.assert_array_equal(gradient_ND, other_gradient_ND)


@each_case
def test_too_few_rows_give_zero_and_no_gradient(name):
    rows_ND, *sides = make_rows()
    _, _, used, enough = CASES[name]
    none_N = np.zeros(N, bool)
    few_source_N, few_target_N = (side & (np.cumsum(side) < enough) for side in sides)
    few = {
        "both": [(sides[0], few_target_N), (few_source_N, sides[1]), (few_source_N, few_target_N), (none_N, none_N)],
        "target": [(sides[0], few_target_N), (sides[0], none_N)],
        "union": [(few_source_N, none_N), (none_N, few_target_N), (none_N, none_N)],
    }
    for masks in few[used]:
        for array in value_and_grad(name)(rows_ND, *masks):
            np.testing.assert_array_equal(array, 0)


@each_case
@pytest.mark.parametrize("row_D", [np.zeros(D), np.full(D, 0.1), np.full(D, 5.0), 1e4 * np.eye(D)[0]], ids=str)
def test_equal_rows_have_a_finite_gradient(name, row_D):
    """A collapsed representation: norms, distances and variances are 0 or rounding errors."""
    _, *sides = make_rows()
    for array in value_and_grad(name)(np.broadcast_to(row_D, (N, D)).astype(np.float32), *sides):
        assert np.isfinite(array).all()
        assert np.abs(array).max() < 1e5


@pytest.mark.parametrize("name", ["joint_mmd", "sinkhorn", "sliced_wasserstein"])
def test_a_distance_is_zero_for_equal_sides_and_grows_with_the_shift(name):
    """The unbiased discrepancy leaves out pairs of a row and itself, so for equal sides it is below 0."""
    half_ND = np.random.default_rng(0).normal(size=(N // 2, D))
    is_source_N = np.arange(N) < N // 2
    values = []
    for shift in (0, 0.5, 1, 2):
        rows_ND = np.concatenate([half_ND, half_ND + shift]).astype(np.float32)
        values.append(float(value_and_grad(name)(rows_ND, is_source_N, ~is_source_N)[0]))
    assert values == sorted(values)
    assert -0.1 < values[0] <= 0 if name == "joint_mmd" else abs(values[0]) < 1e-5
    assert values[1] > values[0] + 0.05
    assert values[2] > 0.05
    if name == "sinkhorn":  # translated copies: the transport is the translation
        np.testing.assert_allclose(values[1:], [D * shift**2 for shift in (0.5, 1, 2)], rtol=1e-3)

"""Adaptation losses against float64 NumPy references written from the definitions; masks and other invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import approx_fprime

from llmrec_jax.losses import adaptation

WIDTH = 3


def coral(source, target):
    difference = np.cov(source, rowvar=False) - np.cov(target, rowvar=False)
    return np.sum(difference**2) / (4 * source.shape[1] ** 2)


def mk_mmd(source, target, bandwidth=None):
    both = np.concatenate([source, target])
    if bandwidth is None:
        squared = [np.sum((x - y) ** 2) for i, x in enumerate(both) for y in both[:i]]
        bandwidth = np.sort(squared)[(len(squared) - 1) // 2]

    def mean_kernel(pairs):
        squared = [np.sum((x - y) ** 2) for x, y in pairs]
        return np.mean([np.exp(-np.array(squared) / (scale * bandwidth)) for scale in (0.25, 0.5, 1, 2, 4)])

    def within(rows):
        return mean_kernel([(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])

    return within(source) + within(target) - 2 * mean_kernel([(x, y) for x in source for y in target])


def dann(source, target):
    return (np.log1p(np.exp(source)).mean() + np.log1p(np.exp(-target)).mean()) / 2


def domain_accuracy(source, target):
    return (np.mean(source < 0) + np.mean(target > 0)) / 2


LOSSES = [
    (jax.jit(adaptation.coral), coral, (WIDTH,)),
    (jax.jit(adaptation.mk_mmd), mk_mmd, (WIDTH,)),
    (jax.jit(adaptation.dann), dann, ()),
    (jax.jit(adaptation.domain_accuracy), domain_accuracy, ()),
]
NAMES = ["coral", "mk_mmd", "dann", "domain_accuracy"]
each_loss = pytest.mark.parametrize(("loss", "reference", "shape"), LOSSES, ids=NAMES)
each_distance = pytest.mark.parametrize("distance", [loss for loss, _, _ in LOSSES[:2]], ids=NAMES[:2])


def sides(shape, num_source=9, num_target=6):
    rng = np.random.default_rng(0)
    source = rng.normal(size=(num_source, *shape)) + 5
    target = 2 * rng.normal(size=(num_target, *shape)) + 6
    if not shape:  # logits, not features: around 0
        source, target = source - 5, target - 6
    return source.astype(np.float32), target.astype(np.float32)


@each_loss
def test_value_is_the_reference_in_any_order(loss, reference, shape):
    source, target = sides(shape)
    value = loss(source, target)
    assert value.dtype == jnp.float32
    assert value.shape == ()
    np.testing.assert_allclose(value, reference(source.astype(np.float64), target.astype(np.float64)), 1e-4)
    np.testing.assert_allclose(loss(source[::-1], np.roll(target, 2, axis=0)), value, 1e-5)
    np.testing.assert_allclose(loss(source, target, np.ones(9, bool), np.ones(6, bool)), value, 1e-6)


@each_loss
def test_gradient_is_the_reference_s(loss, reference, shape):
    source, target = sides(shape)
    if reference is mk_mmd:  # no gradient passes the bandwidth
        both = np.concatenate([source, target]).astype(np.float64)
        squared = np.sum((both[:, None] - both) ** 2, axis=-1)[np.triu_indices(len(both), 1)]
        bandwidth = np.sort(squared)[(len(squared) - 1) // 2]

        def expected(flat):
            flat_source, flat_target = np.split(flat, [source.size])
            return mk_mmd(flat_source.reshape(source.shape), flat_target.reshape(target.shape), bandwidth)
    else:

        def expected(flat):
            flat_source, flat_target = np.split(flat, [source.size])
            return reference(flat_source.reshape(source.shape), flat_target.reshape(target.shape))

    got = jax.grad(loss, (0, 1))(source, target)
    flat = np.concatenate([source.ravel(), target.ravel()]).astype(np.float64)
    np.testing.assert_allclose(np.concatenate([g.ravel() for g in got]), approx_fprime(flat, expected, 1e-7), atol=1e-5)


@each_loss
def test_masked_rows_change_nothing(loss, reference, shape):
    """One array twice with complementary masks, and rows of no side at all, as a jitted step passes them."""
    source, target = sides(shape)
    garbage = np.broadcast_to(np.array([1e38, -1e38, np.inf, np.nan], np.float32), (*shape, 4)).T
    rows = np.concatenate([source, target, garbage])
    order = np.random.default_rng(1).permutation(len(rows))
    side = np.repeat([0, 1, 2], [len(source), len(target), 4])[order]

    value, gradient = jax.jit(jax.value_and_grad(lambda x: loss(x, x, side == 0, side == 1)))(rows[order])
    source_gradient, target_gradient = jax.grad(loss, (0, 1))(source, target)
    np.testing.assert_allclose(value, loss(source, target), 1e-4)
    expected = np.concatenate([source_gradient, target_gradient, np.zeros((4, *shape))])[order]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)
    np.testing.assert_array_equal(gradient[side == 2], 0)


@each_loss
def test_too_few_rows_give_zero_and_no_gradient(loss, reference, shape):
    source, target = sides(shape)
    too_few = 1 if shape else 0
    few_mask_B, all_mask_B = np.arange(len(target)) < too_few, np.ones(len(target), bool)
    source_all_B, source_none_B = np.ones(len(source), bool), np.zeros(len(source), bool)
    for masks in [(source_all_B, few_mask_B), (source_none_B, all_mask_B), (source_none_B, few_mask_B)]:
        value, gradients = jax.value_and_grad(lambda s, t, m=masks: loss(s, t, *m), (0, 1))(source, target)
        for array in (value, *gradients):
            np.testing.assert_array_equal(array, 0)


def test_coral_compares_shapes_not_places():
    source, target = sides((WIDTH,))
    np.testing.assert_allclose(adaptation.coral(source, source[::-1] + 3), 0, atol=1e-10)
    np.testing.assert_allclose(adaptation.coral(source + 3, target - 3), adaptation.coral(source, target), 1e-4)


@each_distance
def test_rows_that_all_coincide_have_a_finite_gradient(distance):
    """A collapsed representation: distances are rounding errors, and no bandwidth may be made of them."""
    collapsed_BD = np.full((8, WIDTH), 0.1, np.float32)
    for rows_BD in (collapsed_BD, np.zeros_like(collapsed_BD)):
        value, gradient_BD = jax.value_and_grad(distance)(rows_BD, rows_BD)
        np.testing.assert_allclose(value, 0, atol=1e-6)
        np.testing.assert_allclose(gradient_BD, 0, atol=1e-3)


def test_mmd_keeps_its_digits_far_from_the_origin():
    source, target = sides((WIDTH,))
    far = np.float32(1024)
    exact = mk_mmd(*((x + far).astype(np.float64) for x in (source, target)))
    np.testing.assert_allclose(adaptation.mk_mmd(source + far, target + far), exact, rtol=2e-3)


def test_mmd_is_unbiased():
    """Of like samples the mean is 0 within its error, so many values are negative; of unlike ones it is not."""
    rows_RBD = jax.random.normal(jax.random.key(0), (400, 20, WIDTH))
    values_R = jax.jit(jax.vmap(lambda rows: adaptation.mk_mmd(rows[:12], rows[12:])))(rows_RBD)
    assert abs(values_R.mean()) < 3 * values_R.std() / 20
    assert 0.3 < np.mean(values_R < 0) < 0.8
    shifted_R = jax.jit(jax.vmap(lambda rows: adaptation.mk_mmd(rows[:12], rows[12:] + 1)))(rows_RBD)
    assert shifted_R.mean() > 5 * abs(values_R.mean())


def test_gradient_reversal_passes_values_and_turns_gradients():
    x = jnp.array([1.0, -2.0, 3.0])
    value, pull = jax.vjp(adaptation.gradient_reversal, x, jnp.float32(0.25))
    np.testing.assert_array_equal(value, x)
    gradient, scale_gradient = pull(jnp.array([4.0, 8.0, -4.0]))
    np.testing.assert_array_equal(gradient, [-1.0, -2.0, 1.0])
    assert scale_gradient == 0
    half = jax.grad(lambda x: adaptation.gradient_reversal(x, 0.5).sum().astype(jnp.float32))(x.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(half, -0.5)


def test_features_oppose_the_discriminator():
    """A step down the reversed gradient lowers the loss for the discriminator and raises it for the features."""
    source, target = sides((WIDTH,))
    weight_D = jnp.array([0.3, -0.2, 0.1])

    @jax.jit
    def loss(source, weight_D):
        return adaptation.dann(adaptation.gradient_reversal(source, 1.0) @ weight_D, target @ weight_D)

    source_gradient, weight_gradient = jax.grad(loss, (0, 1))(source, weight_D)
    start = loss(source, weight_D)
    assert loss(source, weight_D - 0.01 * weight_gradient) < start
    assert loss(source - 0.1 * source_gradient, weight_D) > start


def test_dann_schedule():
    np.testing.assert_allclose(adaptation.dann_schedule(np.array([0, 0.1, 1])), [0, 0.46211716, 0.9999092], atol=1e-6)


def test_undecided_discriminator_is_at_chance():
    assert adaptation.domain_accuracy(np.zeros(5, np.float32), np.zeros(3, np.float32)) == 0.5


def test_mmd_within_one_array_is_mmd_between_its_sides():
    rng = np.random.default_rng(3)
    rows_MD = rng.normal(size=(20, 4)).astype(np.float32)
    side_M = rng.permutation([0] * 8 + [1] * 9 + [2] * 3)
    rows_MD[side_M == 2] = np.nan
    within, gradient_MD = jax.value_and_grad(adaptation.mk_mmd_within)(rows_MD, side_M == 0, side_M == 1)
    np.testing.assert_allclose(within, adaptation.mk_mmd(rows_MD[side_M == 0], rows_MD[side_M == 1]), rtol=1e-5)
    np.testing.assert_array_equal(gradient_MD[side_M == 2], 0)
    assert np.abs(gradient_MD[side_M < 2]).max() > 1e-4

"""Statistics are over the global batch: 8 devices give what one gives, which the mean of their own values is not."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from llmrec_jax.losses import adaptation
from llmrec_jax.parallel import AXES
from tests.losses.adaptation.cases import CASES, D, N

NUM_DEVICES = 8


def _domains(rows, is_source, is_target):
    return jnp.where(is_target, 1, 0), is_source | is_target


def _normalization(rows, *sides):
    moments = adaptation.domain_moments(rows, *_domains(rows, *sides), num_domains=2)
    return jnp.mean(adaptation.domain_normalization(rows, *_domains(rows, *sides), moments) ** 3)


def _whitening(rows, *sides):
    domains = _domains(rows, *sides)
    parameters = adaptation.whitening_parameters(rows, *domains, num_domains=2)
    return jnp.mean(adaptation.domain_whitening(rows, *domains, *parameters) ** 3)


def _weighted_mean(rows, is_source):
    """What the weights are for: a mean of the source's losses, here the second column."""
    weight = jnp.where(is_source, adaptation.density_ratio(rows[:, 0] - 5), 0)
    return jnp.sum(weight * jnp.where(is_source, rows[:, 1] - 5, 0)) / weight.sum()


LOSSES = {name: case.loss for name, case in CASES.items()} | {
    "coral": lambda rows, *sides: adaptation.coral(rows, rows, *sides),
    "mk_mmd_within": adaptation.mk_mmd_within,
    "dann": lambda rows, *sides: adaptation.dann(rows[:, 0], rows[:, 0], *sides),
    "density_ratio": lambda rows, is_source, _: _weighted_mean(rows, is_source),
    "normalization": _normalization,
    "whitening": _whitening,
}


def batch():
    """Each device has two rows of either side and one of neither."""
    rng = np.random.default_rng(0)
    side_N = np.tile([0, 1, 2, 0, 1], NUM_DEVICES)
    rows_ND = np.where((side_N == 1)[:, None], 2 * rng.normal(size=(N, D)) + 6, rng.normal(size=(N, D)) + 5)
    rows_ND[side_N == 2] = np.nan
    return rows_ND.astype(np.float32), side_N == 0, side_N == 1


@jax.jit
def values_and_gradients(rows, is_source, is_target):
    return {name: jax.value_and_grad(loss)(rows, is_source, is_target) for name, loss in LOSSES.items()}


@pytest.fixture(scope="module")
def on_one_device():
    return values_and_gradients(*batch())


@pytest.fixture(scope="module")
def on_all_devices():
    mesh = jax.make_mesh((NUM_DEVICES,), AXES[:1], axis_types=(jax.sharding.AxisType.Auto,))
    sharded = jax.device_put(batch(), NamedSharding(mesh, PartitionSpec(AXES[0])))
    assert len(sharded[0].sharding.device_set) == NUM_DEVICES
    assert sharded[0].addressable_shards[0].data.shape == (N // NUM_DEVICES, D)
    return values_and_gradients(*sharded)


@pytest.mark.parametrize("name", LOSSES)
def test_sharded_rows_give_the_value_and_gradient_of_one_device(name, on_one_device, on_all_devices):
    for sharded, whole in zip(on_all_devices[name], on_one_device[name], strict=True):
        assert np.abs(whole).max() > 1e-4
        np.testing.assert_allclose(sharded, whole, rtol=1e-5, atol=1e-5)


WRONG_PER_DEVICE = [
    *("coral", "mk_mmd_within", "joint_mmd", "sinkhorn", "sliced_wasserstein", "information_maximization", "mcc"),
    *("bnm", "llm_recg", "multi_domain_contrastive", "density_ratio", "normalization", "whitening"),
]


@pytest.mark.parametrize("name", WRONG_PER_DEVICE)
def test_the_mean_of_each_device_s_own_value_is_wrong(name, on_one_device):
    own = jax.jit(jax.vmap(LOSSES[name]))(*(x.reshape(NUM_DEVICES, -1, *x.shape[1:]) for x in batch()))
    whole = on_one_device[name][0]
    assert np.isfinite(own).all()
    assert abs(own.mean() - whole) > 0.03 * abs(whole), (own.mean(), whole)


def test_the_mean_over_devices_of_a_mean_of_as_many_rows_is_right(on_one_device):
    """A classifier's loss is a mean over rows: the counterexample that shows that the test above can fail."""
    own = jax.vmap(LOSSES["dann"])(*(x.reshape(NUM_DEVICES, -1, *x.shape[1:]) for x in batch()))
    np.testing.assert_allclose(own.mean(), on_one_device["dann"][0], rtol=1e-5)


def test_every_product_is_full_float32_on_a_tpu():
    """By default, TPUs round the operands to bfloat16."""
    text = values_and_gradients.trace(*batch()).lower(lowering_platforms=("tpu",)).as_text()
    products = [line for line in text.splitlines() if "dot_general" in line]
    assert len(products) >= 20
    assert all("[HIGHEST, HIGHEST]" in line for line in products)

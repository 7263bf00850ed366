"""The blocks of the user tower against float64 NumPy references, for two packed histories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.models.hstu import TIME_BUCKETS, HstuBlock
from llmrec_jax.models.layers import StackConfig
from llmrec_jax.models.ligr import LigrBlock

LENGTH, WIDTH, HEADS = 7, 8, 2
SEGMENT_L = np.array([1, 1, 1, 2, 2, 2, 2], np.int32)
SEEN_LL = np.tri(LENGTH, dtype=bool) & (SEGMENT_L[:, None] == SEGMENT_L[None])
CONFIG = StackConfig(width=WIDTH, num_layers=1, num_heads=HEADS, dropout=0.5)


@pytest.fixture(scope="module")
def x_LD():
    return np.random.default_rng(0).normal(size=(LENGTH, WIDTH)).astype(np.float32)


def shaken(block):
    """The block with all parameters moved away from zero and one, and its parameters as float64."""
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda x: x + jnp.float32(0.4 * rng.standard_normal(x.shape)), nnx.state(block))
    nnx.update(block, params)
    return block, jax.tree.map(lambda x: np.asarray(x, np.float64), nnx.to_pure_dict(nnx.state(block)))


def linear(params, x):
    return x @ params["kernel"] + params["bias"]


def norm(params, x, eps=CONFIG.norm_eps):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(centred.var(axis=-1, keepdims=True) + eps) * params["scale"] + params["bias"]


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def heads(x_LD):
    """[H, L, W]"""
    return x_LD.reshape(LENGTH, HEADS, WIDTH // HEADS).swapaxes(0, 1)


def test_ligr_block_is_the_reference(x_LD):
    block, params = shaken(LigrBlock(CONFIG, rngs=nnx.Rngs(0)))
    inputs_LD = norm(params["attention_norm"], x_LD.astype(np.float64))
    query, key, value = (heads(linear(params["attention"][name], inputs_LD)) for name in ("query", "key", "value"))
    weights = np.where(SEEN_LL, np.exp(query @ key.swapaxes(1, 2) / (WIDTH // HEADS) ** 0.5), 0)
    mixed = weights / weights.sum(axis=-1, keepdims=True) @ value
    attended_LD = linear(params["attention"]["out"], mixed.swapaxes(0, 1).reshape(LENGTH, WIDTH))
    expected_LD = x_LD + sigmoid(linear(params["attention_gate"], x_LD)) * attended_LD
    mlp, inputs_LD = params["mlp"], norm(params["mlp_norm"], expected_LD)
    fed_LD = linear(mlp["down"], silu(linear(mlp["gate"], inputs_LD)) * linear(mlp["up"], inputs_LD))
    expected_LD = expected_LD + sigmoid(linear(params["mlp_gate"], expected_LD)) * fed_LD
    np.testing.assert_allclose(block(x_LD[None], SEGMENT_L[None])[0], expected_LD, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("time_L", [None, np.array([0, 5, 5, 0, -1, 86_400, 2**31 - 1], np.int32)])
def test_hstu_block_is_the_reference(x_LD, time_L):
    """The bias of two times is that of the bucket of the log of their distance; there is none for the unknown one."""
    block, params = shaken(HstuBlock(CONFIG, max_history=LENGTH, has_times=time_L is not None, rngs=nnx.Rngs(0)))
    more = () if time_L is None else (None, time_L[None])
    inputs_LD = norm(params["norm"], x_LD.astype(np.float64))
    query, key, value = (heads(silu(linear(params[name], inputs_LD))) for name in ("query", "key", "value"))
    bias_LL = params["age_bias"][np.maximum(np.subtract.outer(np.arange(LENGTH), np.arange(LENGTH)), 0)]
    if time_L is not None:
        assert params["time_bias"].shape == (TIME_BUCKETS,) == (72,)
        apart_LL = np.abs(np.subtract.outer(time_L.astype(np.int64), time_L))
        of_times_LL = params["time_bias"][(np.log(np.maximum(apart_LL, 1)) / 0.301).astype(int)]
        bias_LL = bias_LL + np.where((time_L[:, None] >= 0) & (time_L >= 0), of_times_LL, 0)
    weights = np.where(SEEN_LL, silu(query @ key.swapaxes(1, 2) + bias_LL), 0) / LENGTH
    mixed_LD = (weights @ value).swapaxes(0, 1).reshape(LENGTH, WIDTH)
    gated_LD = norm(params["attention_norm"], mixed_LD, eps=1e-6) * silu(linear(params["up"], inputs_LD))
    expected_LD = x_LD + linear(params["out"], gated_LD)
    np.testing.assert_allclose(block(x_LD[None], SEGMENT_L[None], *more)[0], expected_LD, rtol=1e-4, atol=1e-5)
    if time_L is not None:
        return
    shorter_LD = block(x_LD[None, :5], SEGMENT_L[None, :5])[0]
    np.testing.assert_allclose(shorter_LD, expected_LD[:5], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["ligr", "hstu"])
def test_a_key_turns_dropout_on_and_bfloat16_stays(x_LD, kind):
    narrow = StackConfig(width=WIDTH, num_layers=1, num_heads=HEADS, dropout=0.5, dtype=jnp.bfloat16)
    make = {"ligr": LigrBlock, "hstu": lambda config, rngs: HstuBlock(config, max_history=LENGTH, rngs=rngs)}[kind]
    block, _ = shaken(make(narrow, rngs=nnx.Rngs(0)))
    x_1LD = jnp.asarray(x_LD[None], jnp.bfloat16)
    plain, dropped, again = (block(x_1LD, SEGMENT_L[None], key) for key in (None, jax.random.key(0), jax.random.key(1)))
    assert plain.dtype == jnp.bfloat16
    assert not np.array_equal(plain, dropped)
    assert not np.array_equal(again, dropped)

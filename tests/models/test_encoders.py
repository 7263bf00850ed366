"""BERT and GPT-2: causality, padding, positions, remat, dropout, dtypes and initialisation."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.models.attention import attention
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.models.layers import StackConfig, dropout, pool

SIZES = {"vocab_size": 30, "width": 16, "num_layers": 3, "num_heads": 2, "mlp_width": 24, "max_positions": 12}
IDS_BL = np.random.default_rng(0).integers(0, 30, (2, 8))
MASK_BL = np.array([[1, 1, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0, 0, 0]], bool)
WEIGHT_BLD = np.random.default_rng(1).normal(size=(2, 8, 16)).astype(np.float32)


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def encoder(request):
    return new_encoder(ENCODERS[request.param].config(**SIZES), nnx.Rngs(0))


def with_config(encoder, **changes):
    """The same parameters under another config."""
    other = nnx.eval_shape(lambda: new_encoder(dataclasses.replace(encoder.config, **changes), nnx.Rngs(1)))
    return nnx.merge(nnx.split(other)[0], nnx.state(encoder))


@functools.partial(jax.jit, static_argnums=0)
def _hidden(graphdef, params, ids_BL, mask_BL, key):
    return nnx.merge(graphdef, params)(ids_BL, mask_BL, rngs=None if key is None else nnx.Rngs(dropout=key))


def hidden(encoder, ids_BL=IDS_BL, mask_BL=MASK_BL, key=None):
    """Hidden states, compiled."""
    return _hidden(*nnx.split(encoder), ids_BL, mask_BL, key)


def grads(encoder, mask_BL=MASK_BL, weight_BLD=WEIGHT_BLD, key=None):
    """Gradients of a weighted sum of the hidden states to the parameters, compiled."""
    graphdef, params = nnx.split(encoder)
    return _grads(graphdef, params, mask_BL, weight_BLD, key)


@functools.partial(jax.jit, static_argnums=0)
def _grads(graphdef, params, mask_BL, weight_BLD, key):
    return jax.grad(lambda p: (_hidden(graphdef, p, IDS_BL, mask_BL, key) * weight_BLD).sum())(params)


def test_gpt2_is_causal_and_bert_is_not(encoder):
    only_token_3_BLD = WEIGHT_BLD * (np.arange(8) == 3)[None, :, None]
    reached = np.abs(grads(encoder, weight_BLD=only_token_3_BLD).positions.embedding[...]).max(axis=1) > 0
    last_seen = 7 if isinstance(encoder.config, BertConfig) else 3
    np.testing.assert_array_equal(reached, np.arange(12) <= last_seen)


def test_padding_on_either_side_changes_nothing(encoder):
    alone_LD = hidden(encoder, IDS_BL[:1, :5], np.ones((1, 5), bool))[0]
    for left, right in [(0, 4), (4, 0), (2, 2)]:
        padded = np.pad(IDS_BL[:1, :5], ((0, 0), (left, right)), constant_values=29)
        mask = np.pad(np.ones((1, 5), np.int32), ((0, 0), (left, right)))
        np.testing.assert_allclose(hidden(encoder, padded, mask)[0, left : left + 5], alone_LD, atol=1e-5)


def test_a_row_without_tokens_is_finite(encoder):
    leaves = jax.tree.leaves(grads(encoder, mask_BL=np.zeros_like(MASK_BL)))
    assert all(np.isfinite(leaf).all() for leaf in leaves)


def test_scan_is_the_unrolled_loop(encoder):
    key = jax.random.key(1)
    scanned_BLD = encoder.stack(WEIGHT_BLD, MASK_BL, key)
    graphdef, params = nnx.split(encoder.stack.layers)
    block = jax.jit(lambda params, x_BLD, key: nnx.merge(graphdef, params)(x_BLD, MASK_BL, key))
    x_BLD = WEIGHT_BLD
    for layer, layer_key in enumerate(jax.random.split(key, 3)):
        x_BLD = block(jax.tree.map(lambda leaf, layer=layer: leaf[layer], params), x_BLD, layer_key)
    np.testing.assert_allclose(scanned_BLD, x_BLD, atol=1e-5)


def test_layers_start_apart(encoder):
    kernels = encoder.stack.layers.mlp.up.kernel[...]
    assert np.abs(kernels[0] - kernels[1]).max() > 1e-3


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_nothing(encoder, remat):
    plain, again = (grads(with_config(encoder, remat=how), key=jax.random.key(3)) for how in ("none", remat))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-4), plain, again)


def test_remat_computes_again_what_it_says(encoder):
    """Products of matrices: with "dots" no projection runs twice, only the two of the attention; with "full" all."""

    def products(remat):
        return str(jax.make_jaxpr(grads)(with_config(encoder, remat=remat))).count("dot_general")

    assert products("dots") - products("none") == 2
    assert products("full") - products("none") >= 6


def test_parameter_count(encoder):
    D, M, V, P, num_layers = 16, 24, 30, 12, 3
    block = 4 * (D * D + D) + (D * M + M) + (M * D + D) + 2 * 2 * D
    tables = (V + P + 2 * isinstance(encoder.config, BertConfig)) * D
    leaves = jax.tree.leaves(nnx.state(encoder))
    assert sum(leaf.size for leaf in leaves) == num_layers * block + tables + 2 * D
    assert len(leaves) <= 21


def test_bfloat16_computes_in_it_and_keeps_float32_parameters(encoder):
    half = with_config(encoder, dtype="bfloat16")
    assert hidden(half).dtype == jnp.bfloat16
    np.testing.assert_allclose(hidden(half).astype(jnp.float32), hidden(encoder), atol=0.05)
    dtypes = {leaf.dtype for leaf in jax.tree.leaves((nnx.state(half), grads(half)))}
    assert dtypes == {jnp.dtype("float32")}


def test_dropout_only_with_keys(encoder):
    plain = hidden(encoder)
    drawn, same, other = (hidden(encoder, key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(drawn, same)
    assert np.abs(drawn - other).max() > 0.01
    assert np.abs(drawn - plain).max() > 0.01
    without = with_config(encoder, dropout=0.0)
    np.testing.assert_allclose(hidden(without, key=jax.random.key(0)), plain, atol=1e-6)


def test_every_call_draws_its_own_dropout(encoder):
    rngs = nnx.Rngs(dropout=0)
    assert np.abs(encoder(IDS_BL, MASK_BL, rngs=rngs) - encoder(IDS_BL, MASK_BL, rngs=rngs)).max() > 0.01


def test_initialisation_under_jit_and_in_the_abstract(encoder):
    def init(key):
        return nnx.split(new_encoder(encoder.config, nnx.Rngs(key)))[1]

    compiled, abstract = jax.jit(init)(jax.random.key(0)), jax.eval_shape(init, jax.random.key(0))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), compiled, nnx.state(encoder))
    assert jax.tree.map(jnp.shape, compiled) == jax.tree.map(lambda leaf: leaf.shape, abstract)


def test_more_tokens_than_positions(encoder):
    with pytest.raises(ValueError, match="13 tokens in a row, but the encoder has 12 positions"):
        encoder(np.zeros((1, 13), np.int32), np.ones((1, 13), bool))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "width 16 is not divisible by num_heads 3"),
        ({"num_layers": 0}, "num_layers is 0"),
        ({"activation": "swish"}, "'swish'"),
        ({"dropout": 1.0}, "dropout is 1.0"),
    ],
)
def test_config_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        StackConfig(**{"width": 16, "num_layers": 1, "num_heads": 2, **changes})


@pytest.mark.parametrize("causal", [False, True])
def test_attention_against_numpy(causal):
    query, key, value = np.random.default_rng(1).normal(size=(3, 2, 8, 2, 4)).astype(np.float32)
    allowed = np.broadcast_to(MASK_BL[:, None, None, :], (2, 2, 8, 8))
    allowed = np.tril(allowed) if causal else allowed
    weight = np.where(allowed, np.exp(np.einsum("bqnh,bknh->bnqk", query, key) / 2), 0)
    expected = np.einsum("bnqk,bknh->bqnh", weight / weight.sum(-1, keepdims=True), value)
    ours = jax.jit(attention, static_argnums=4)(query, key, value, MASK_BL, causal)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_to_nothing_is_finite(causal):
    x = np.random.default_rng(1).normal(size=(2, 8, 2, 4)).astype(np.float32)
    mask_BL = MASK_BL[:, ::-1] & np.array([[False], [True]])  # nothing at all; padding on the left

    @functools.partial(jax.value_and_grad, argnums=(0, 1, 2))
    def total(query, key, value):
        return attention(query, key, value, mask_BL, causal).sum()

    value, (query_grad, key_grad, value_grad) = jax.jit(total)(x, x, x)
    assert all(np.isfinite(leaf).all() for leaf in (value, query_grad, key_grad, value_grad))


def test_pool():
    hidden_BLD = np.random.default_rng(2).normal(size=(4, 5, 3)).astype(np.float32)
    mask_BL = np.array([[0, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 1], [0, 0, 0, 0, 0]], bool)
    hidden_BLD[~mask_BL] = np.nan  # what stands on padding must not matter
    expected = {
        "mean": [hidden_BLD[0, 1:3].mean(0), hidden_BLD[1].mean(0), hidden_BLD[2, 4], np.zeros(3)],
        "cls": [hidden_BLD[0, 1], hidden_BLD[1, 0], hidden_BLD[2, 4], np.zeros(3)],
        "last": [hidden_BLD[0, 2], hidden_BLD[1, 4], hidden_BLD[2, 4], np.zeros(3)],
    }
    for how, expected_BD in expected.items():
        np.testing.assert_allclose(pool(hidden_BLD, mask_BL, how), np.stack(expected_BD), atol=1e-6)
    assert pool(jnp.ones((4, 5, 3), jnp.bfloat16), mask_BL, "mean").dtype == jnp.float32
    with pytest.raises(ValueError, match="'max'"):
        pool(hidden_BLD, mask_BL, "max")


def test_dropout_keeps_the_mean():
    dropped = np.asarray(dropout(jnp.ones(100_000), 0.25, jax.random.key(0)))
    np.testing.assert_allclose(np.unique(dropped), [0, 4 / 3], rtol=1e-6)
    np.testing.assert_allclose(dropped.mean(), 1, atol=0.01)

"""The cross entropy of tokens, against plain NumPy."""

import jax
import numpy as np
import pytest

from llmrec_jax.losses import language_model
from llmrec_jax.types import TokenOutputs

N, V, D = 6, 11, 4


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    hidden_ND, embedding_VD, bias_V = (rng.normal(size=size).astype(np.float32) for size in ((N, D), (V, D), V))
    return hidden_ND, rng.integers(V, size=N).astype(np.int32), embedding_VD, bias_V


def expected(hidden_ND, target_N, embedding_VD, bias_V):
    logits_NV = hidden_ND.astype(np.float64) @ embedding_VD.T + (0 if bias_V is None else bias_V)
    log_p_NV = logits_NV - np.log(np.exp(logits_NV).sum(axis=1, keepdims=True))
    return -log_p_NV[np.arange(len(target_N)), target_N]


@pytest.mark.parametrize("has_bias", [True, False], ids=["bert", "gpt2"])
def test_cross_entropy_is_that_of_a_softmax_over_the_vocabulary(arrays, has_bias, monkeypatch):
    monkeypatch.setattr(language_model, "BLOCK", 4)  # the last of three blocks is not full
    *others, bias_V = arrays
    loss_N = language_model.cross_entropy(*others, bias_V if has_bias else None)
    np.testing.assert_allclose(loss_N, expected(*others, bias_V if has_bias else None), rtol=1e-5)


def test_the_loss_is_the_mean_over_the_predicted_tokens_alone(arrays):
    is_predicted_N = np.array([True, False, True, True, False, False])

    def total(hidden_ND):
        outputs = TokenOutputs(hidden_ND, arrays[1], is_predicted_N, *arrays[2:])
        mean = language_model.token_loss(outputs, 0.0)["tokens"]
        return mean.total, mean.size

    (value, size), gradient_ND = jax.value_and_grad(total, has_aux=True)(arrays[0])
    np.testing.assert_allclose(value, expected(*arrays)[is_predicted_N].sum(), rtol=1e-5)
    assert size == 3
    np.testing.assert_array_equal(np.abs(gradient_ND).max(axis=1) > 0, is_predicted_N)

"""Which tokens a language model predicts, and from which it may predict them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.models.language_model import LanguageModel, MaskRule, mask_tokens, predict
from llmrec_jax.types import Catalog

CLS, SEP, MASK, FIRST, VOCAB = 2, 3, 4, 5, 50
RULE = MaskRule(MASK, (CLS, SEP))
LENGTHS = np.array([3, 12, 40, 2, 20])  # the fourth text has special tokens only


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    mask_UL = np.arange(40) < LENGTHS[:, None]
    tokens_UL = rng.integers(FIRST, VOCAB, mask_UL.shape).astype(np.int32)
    tokens_UL[:, 0] = CLS
    tokens_UL[np.arange(len(LENGTHS)), LENGTHS - 1] = SEP
    return np.where(mask_UL, tokens_UL, 0), mask_UL


def model(kind, rule):
    sizes = {"vocab_size": VOCAB, "max_positions": 40, "width": 8, "num_layers": 1, "num_heads": 2}
    return LanguageModel(new_encoder(ENCODERS[kind].config(**sizes), nnx.Rngs(0)), rule, rngs=nnx.Rngs(1))


def test_bert_masks_15_percent_of_the_tokens_that_are_not_special(texts):
    tokens_UL, mask_UL = texts
    number_U = [1, 2, 6, 0, 3]  # of 1, 10, 38, 0 and 18
    masked = jax.jit(lambda keys: mask_tokens(jnp.array(tokens_UL), jnp.array(mask_UL), keys, RULE, VOCAB))
    became = {"mask": 0, "other": 0, "same": 0}
    for seed in range(100):
        masked_UL, place_UK, is_masked_UK = jax.device_get(masked(jax.random.split(jax.random.key(seed), len(LENGTHS))))
        np.testing.assert_array_equal(is_masked_UK.sum(axis=1), number_U)
        may_UL = np.zeros_like(mask_UL)
        for text, (places, is_masked) in enumerate(zip(place_UK, is_masked_UK, strict=True)):
            chosen = places[is_masked]
            assert len({*chosen}) == len(chosen)
            assert (tokens_UL[text, chosen] >= FIRST).all()  # neither special nor padding
            may_UL[text, chosen] = True
        np.testing.assert_array_equal(masked_UL[~may_UL], tokens_UL[~may_UL])
        new, old = masked_UL[may_UL], tokens_UL[may_UL]
        became["mask"] += int((new == MASK).sum())
        became["same"] += int((new == old).sum())
        became["other"] += int(((new != MASK) & (new != old)).sum())
    total = sum(became.values())
    assert total == 100 * sum(number_U)
    assert [became[name] / total for name in ("mask", "other", "same")] == pytest.approx([0.8, 0.1, 0.1], abs=0.03)


def test_bert_predicts_the_tokens_that_it_masked_and_masks_a_text_alike_at_any_place_of_a_batch(texts):
    catalog, bert = Catalog(*map(jnp.array, texts), None, None, None, None), model("bert", RULE)
    in_batch = jax.jit(lambda texts_U: predict(bert.encoder, bert, texts_U, catalog, jax.random.key(3)))
    order = np.array([2, 1, 4, 0, 3])
    expected, found = (jax.device_get(in_batch(texts_U)) for texts_U in (np.arange(5), order))
    _, target_UK, is_predicted_UK = expected
    assert (target_UK[is_predicted_UK] >= FIRST).all()  # as they were before they were masked
    for array, expected_array in zip(found, expected, strict=True):
        np.testing.assert_allclose(array, expected_array[order], atol=1e-6)


def test_gpt2_predicts_each_next_token_from_those_before_it(texts):
    tokens_UL, mask_UL = texts
    gpt2, seen = model("gpt2", None), 7
    other_UL = np.where(np.arange(40) > seen, (tokens_UL + 1) % VOCAB, tokens_UL)
    texts = jnp.array(tokens_UL), jnp.array(other_UL)
    found, other = (gpt2.predictions(gpt2.encoder, text_UL, jnp.array(mask_UL), None, None) for text_UL in texts)
    np.testing.assert_array_equal(found[1], tokens_UL[:, 1:])
    np.testing.assert_array_equal(found[2], mask_UL[:, 1:])  # every token but the first
    np.testing.assert_array_equal(found[0][:, : seen + 1], other[0][:, : seen + 1])
    assert not np.allclose(found[0][2, seen + 1], other[0][2, seen + 1])

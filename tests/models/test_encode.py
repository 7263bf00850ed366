"""Encoding texts in batches of similar length: every text is encoded once, as if alone, whatever its length."""

import numpy as np
import pytest

from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.models import encode, from_pretrained
from llmrec_jax.models.encode import ON_ACCELERATOR, ON_CPU, batches, encode_texts, padded_length
from tests.models.golden_folders import GOLDEN


def table(*lengths):
    offsets = np.cumsum([0, *lengths])
    return TokenTable(np.random.default_rng(0).integers(0, 50, offsets[-1]).astype(np.int32), offsets)


def test_padded_lengths_go_on_by_doubling():
    lengths = ON_CPU.lengths
    assert [padded_length(length, lengths) for length in (1, 8, 9, 513, 1024)] == [8, 8, 12, 768, 1024]
    assert [padded_length(length, lengths) for length in (1025, 2048, 2049, 8192)] == [2048, 2048, 4096, 8192]
    assert all(padded_length(length, lengths) == length for length in lengths)


@pytest.mark.parametrize("shapes", [ON_CPU, ON_ACCELERATOR])
def test_every_text_is_in_one_batch_that_is_not_too_large(shapes):
    texts = table(*([5] * 70), *([1100] * 40), 3000, 40)
    seen = []
    for rows, tokens_BL, mask_BL in batches(texts, max_positions=4000, shapes=shapes):
        assert tokens_BL.size <= shapes.tokens
        assert len(tokens_BL) <= min(shapes.texts, 128)
        assert mask_BL[: len(rows)].sum(axis=1).tolist() == np.diff(texts.offsets)[rows].tolist()
        seen += rows.tolist()
    assert sorted(seen) == list(range(112))


def test_texts_beyond_the_longest_of_the_usual_lengths(monkeypatch):
    monkeypatch.setattr(encode, "ON_CPU", ON_CPU._replace(lengths=(8,)))
    golden = np.load(GOLDEN / "bert" / "hidden.npz")
    token_ids = golden["token_ids"][0]  # of ten tokens, none of them masked
    texts = TokenTable(np.concatenate([token_ids, [5, 6]]).astype(np.int32), np.array([0, 10, 12]))
    vectors_NF = encode_texts(from_pretrained(GOLDEN / "bert"), texts, "mean")
    np.testing.assert_allclose(vectors_NF[0], golden["hidden"][0].mean(axis=0), atol=1e-4)

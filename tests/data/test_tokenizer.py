"""Tokenizers and the ragged table: deterministic, special tokens kept, padding only on request."""

import json
import subprocess
import sys

import numpy as np
import pytest
from tokenizers import trainers

from llmrec_jax.data.texts.tokenizer import (
    END_OF_TEXT,
    TokenTable,
    _alphabet,
    _bert_tokenizer,
    encode,
    load_tokenizer,
    train_tokenizer,
)

TEXTS = [
    "The Silent Sea. Blue Harbor Press. Science Fiction & Fantasy",
    "Crème brûlée torch, 2-pack",
    "日本語のタイトル",
    "",
    "a sea of silent harbors; the sequel to The Silent Sea",
    "x" * 300,
]


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def tokenizer(kind):
    return train_tokenizer(TEXTS, kind, 400)


def test_training_gives_the_same_bytes_in_every_process(kind, tokenizer):
    # Within one process a hash map may keep its seed; the trap is between processes.
    code = (
        "import json, sys; from llmrec_jax.data.texts.tokenizer import train_tokenizer\n"
        f"sys.stdout.write(train_tokenizer(json.loads(sys.stdin.read()), {kind!r}, 400).to_str())"
    )
    run = subprocess.run([sys.executable, "-c", code], input=json.dumps(TEXTS), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == tokenizer.to_str()


def test_the_alphabet_is_that_of_the_trainer():
    """The trainer adds no piece of one character to those given, so none is numbered in its own random order."""
    given = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}
    tokenizer = _bert_tokenizer({})
    alphabet = sorted(_alphabet(tokenizer, TEXTS))
    trainer = trainers.WordPieceTrainer(vocab_size=0, special_tokens=list(given), show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    assert alphabet == sorted(tokenizer.get_vocab().keys() - given.keys())
    vocab = train_tokenizer(TEXTS, "bert", 400).get_vocab()
    assert [vocab[piece] for piece in alphabet] == list(range(len(given), len(given) + len(alphabet)))


def test_special_tokens_stand_where_pooling_expects_them(kind, tokenizer):
    table = encode(tokenizer, TEXTS, 12)
    first, last = table.ids[table.offsets[:-1]], table.ids[table.offsets[1:] - 1]
    assert np.diff(table.offsets).min() >= 1
    assert np.diff(table.offsets).max() == 12
    if kind == "bert":
        assert tokenizer.token_to_id("[PAD]") == 0
        assert set(first) == {tokenizer.token_to_id("[CLS]")}
        assert set(last) == {tokenizer.token_to_id("[SEP]")}
        assert tokenizer.encode("SEA").ids == tokenizer.encode("sea").ids
    else:
        assert set(last) == {tokenizer.token_to_id(END_OF_TEXT)}
        assert [tokenizer.decode(tokenizer.encode(text).ids) for text in TEXTS] == TEXTS


@pytest.mark.parametrize("texts", [[], [""], ["a"]])
def test_tiny_catalogues(kind, texts):
    tokenizer = train_tokenizer(texts, kind, 300)
    assert len(encode(tokenizer, ["", "unseen words"], 8)) == 2


def test_a_saved_tokenizer_reads_the_same(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    before, after = encode(tokenizer, TEXTS, 16), encode(load_tokenizer(tmp_path), TEXTS, 16)
    np.testing.assert_array_equal(before.ids, after.ids)
    np.testing.assert_array_equal(before.offsets, after.offsets)


def test_stored_padding_and_truncation_are_dropped(tokenizer, tmp_path):
    plain = encode(tokenizer, TEXTS, 16)
    tokenizer = type(tokenizer).from_str(tokenizer.to_str())
    tokenizer.enable_padding(length=32)
    tokenizer.enable_truncation(4)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    np.testing.assert_array_equal(encode(load_tokenizer(tmp_path), TEXTS, 16).ids, plain.ids)
    np.testing.assert_array_equal(encode(tokenizer, TEXTS, 16).ids, plain.ids)
    assert tokenizer.truncation["max_length"] == 4, "encode must leave the caller's tokenizer alone"


def test_folders_without_tokenizer_json(kind, tokenizer, tmp_path):
    tokenizer.model.save(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    loaded = load_tokenizer(tmp_path)
    np.testing.assert_array_equal(encode(loaded, TEXTS, 16).ids, encode(tokenizer, TEXTS, 16).ids)


def test_clear_errors(tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"no tokenizer\.json"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match=r"tokenizer\.json: not a tokenizer"):
        load_tokenizer(tmp_path)
    with pytest.raises(ValueError, match="max_tokens=1 leaves no room"):
        encode(tokenizer, TEXTS, 1)


def test_padded_equals_a_plain_loop():
    lengths = [3, 1, 7, 2]
    table = TokenTable(np.arange(1, 14, dtype=np.int32), np.cumsum([0, *lengths]))
    for rows in (None, np.array([2, 0, 2]), np.array([], np.int64)):
        tokens_RL, mask_RL = table.padded(rows, 8)
        texts = [table.ids[table.offsets[n] : table.offsets[n + 1]] for n in (range(4) if rows is None else rows)]
        expected = np.array([[*text, *[0] * (8 - len(text))] for text in texts], np.int32).reshape(-1, 8)
        np.testing.assert_array_equal(tokens_RL, expected)
        np.testing.assert_array_equal(mask_RL, expected > 0)
        assert tokens_RL.dtype == np.int32
    assert table.padded(np.array([0, 3]))[0].shape == (2, 3)
    with pytest.raises(ValueError, match="7 tokens, more than the 4"):
        table.padded(None, 4)


def test_minilm(minilm):
    tokenizer = load_tokenizer(minilm)
    table = encode(tokenizer, ["hello world", "unaffable " * 400], 256)
    # Known ids of the uncased BERT vocabulary; the file itself asks for padding and truncation at 128.
    assert table.ids[:4].tolist() == [101, 7592, 2088, 102]
    assert np.diff(table.offsets).tolist() == [4, 256]
    assert table.ids[-1] == 102
    assert tokenizer.token_to_id("[PAD]") == 0

"""The benchmark of hidden items: its table on a built-in shop, and that nothing of the hidden items is left."""

import dataclasses

import numpy as np
import pytest

from benchmarks import new_items
from benchmarks.cold_items import cold_items
from llmrec_jax.config import DataConfig
from llmrec_jax.data.corpus import load_corpus
from tests.conftest import DATA_CACHE


def corpus_of(data):
    return load_corpus(dataclasses.replace(data, cache_dir=str(DATA_CACHE)), 64, seed=0)


def bags_of_words(corpus, *_):
    """In place of an encoder's vectors: the sum of a random vector for each word."""
    texts = [text.split() for text in corpus.domains[-1].texts]
    words = sorted({word for text in texts for word in text})
    vectors = dict(zip(words, np.random.default_rng(0).standard_normal((len(words), 64)), strict=True))
    return np.array([sum(vectors[word] for word in text) for text in texts], np.float32)


@pytest.fixture(scope="module")
def corpus():
    return corpus_of(DataConfig(sources=(), target="demo:books"))


def test_no_event_of_a_hidden_item_is_left(corpus):
    split, is_hidden_I = corpus.splits[0], cold_items(len(corpus.domains[0].item_ids), 0)
    found = new_items.without_items(split, is_hidden_I)
    assert not is_hidden_I[found.items_E].any()
    assert len(found.items_E) == np.count_nonzero(~is_hidden_I[split.items_E])
    for user in range(len(split.test)):
        history = split.items_E[split.offsets[user] : split.test[user]]
        history, target = history[~is_hidden_I[history]], split.items_E[split.test[user]]
        event = found.test[user]
        assert (event >= 0) == (len(history) > 0 and not is_hidden_I[target])
        if event >= 0:
            np.testing.assert_array_equal(found.items_E[found.offsets[user] : event], history)
            assert found.items_E[event] == target


def test_table(capsys, monkeypatch):
    monkeypatch.setattr(new_items, "load_corpus", lambda data, *_, **__: corpus_of(data))
    monkeypatch.setattr(new_items, "features", bags_of_words)
    new_items.main([".", "demo:books", "--fixed", "--shares", "3,2"])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]
    assert [row[1] for row in rows[1:]] == [
        "text_knn_decayed",
        "answer, shares 0 and 0",
        "answer, shares 3 and 2",
        "events",
    ]
    without, borrowed = (float(row[2].split(" / ")[1]) for row in rows[2:4])
    assert borrowed > without
    first, other = (float(row[3].split(" / ")[1]) for row in rows[2:4])
    assert float(rows[3][4].split()[0]) == pytest.approx(100 * (other / first - 1), abs=0.1)

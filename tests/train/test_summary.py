"""The first lines that a run prints: how its domains were read."""

import dataclasses

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.train.summary import data_summary


def test_the_order_its_reason_and_the_notes_on_a_domain(tmp_path):
    corpus = load_corpus(DataConfig(sources=(), target="demo:books", cache_dir=str(tmp_path)), 16, 0)
    lines = data_summary(corpus).splitlines()
    assert lines[0].startswith(
        "books: 1,200 of 1,200 users for training, 450 items, order timestamp (every row has a time)"
    )
    assert lines[1].startswith("  items.jsonl: fields that are used by filters only: price (450)")
    assert lines[2].startswith("  ratings are not used: 276 of 12,139 are 2 or less of 5")


def test_a_model_that_could_read_times_says_where_there_are_none(tmp_path):
    data = DataConfig(sources=(), target="demo:books", cache_dir=str(tmp_path))
    line = "no domain has times, so hstu is trained without its time bias"
    assert line not in data_summary(load_corpus(data, 16, 0, reads_times=True)).splitlines()
    corpus = load_corpus(dataclasses.replace(data, split="random"), 16, 0, reads_times=True)  # shuffles the events
    assert line in data_summary(corpus).splitlines()
    assert make_batch(corpus.plan, 0).time_RS is None

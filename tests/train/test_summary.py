"""The first lines that a run prints: how its domains were read."""

from llmrec_jax.config import DataConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.train.summary import data_summary


def test_the_order_its_reason_and_the_notes_on_a_domain(tmp_path):
    corpus = load_corpus(DataConfig(sources=(), target="demo:books", cache_dir=str(tmp_path)), 16, 0)
    lines = data_summary(corpus).splitlines()
    assert lines[0].startswith(
        "books: 1,200 of 1,200 users trained on, 450 items, order timestamp (every row has a time)"
    )
    assert lines[1].startswith("  ratings are not used: 276 of 12,139 are 2 or less of 5")

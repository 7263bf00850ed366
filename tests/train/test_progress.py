"""Progress lines: of encoding on stderr, changing no vector; of training, with the rates that were measured."""

import numpy as np

from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.train.encoding_progress import shown
from llmrec_jax.train.metrics import ProgressLine


def test_lines_count_the_texts_and_the_table_stays_the_same(capsys):
    table = TokenTable(np.arange(1, 101, dtype=np.int32), np.arange(0, 101, 10))
    with shown(table, every_seconds=0) as counted:
        for rows in (np.array([0, 1, 2, 3]), np.array([4, 5, 6, 7]), np.array([8, 9, 8, 9])):
            for mine, theirs in zip(counted.padded(rows, 10), table.padded(rows, 10), strict=True):
                np.testing.assert_array_equal(mine, theirs)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.splitlines() == [f"encoding texts {done}/10" for done in (0, 4, 8)]


def test_the_first_step_has_no_rate_and_steps_without_texts_none_of_tokens(capsys):
    line = ProgressLine(num_steps=3, first_step=0, every_seconds=0)
    for step, tokens in ((1, 0), (2, 0), (3, 70)):
        line.update(step, 0.5, examples=8, tokens=tokens)
    first, without_texts, with_texts = capsys.readouterr().out.splitlines()
    assert first == "step 1/3  loss 0.5000"
    assert "examples/s" in without_texts
    assert "tokens/s" not in without_texts
    assert "tokens/s" in with_texts

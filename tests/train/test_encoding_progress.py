"""Progress of encoding goes to stderr, counts each text once, and changes no vector."""

import numpy as np

from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.train.encoding_progress import shown


def test_lines_count_the_texts_and_the_table_stays_the_same(capsys):
    table = TokenTable(np.arange(1, 101, dtype=np.int32), np.arange(0, 101, 10))
    with shown(table, every_seconds=0) as counted:
        for rows in (np.array([0, 1, 2, 3]), np.array([4, 5, 6, 7]), np.array([8, 9, 8, 9])):
            for mine, theirs in zip(counted.padded(rows, 10), table.padded(rows, 10), strict=True):
                np.testing.assert_array_equal(mine, theirs)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.splitlines() == [f"encoding texts {done}/10" for done in (0, 4, 8)]

"""How results are shown."""

import io

from rich.console import Console

from llmrec_jax.evaluate.report import print_table


def test_names_with_brackets_are_printed_as_they_are():
    row = {"domain": "books[kids] :smile:", "split": "test", "users": 1, "ndcg@10": 1.0, "mrr": 0.5}
    stream = io.StringIO()
    print_table(
        [{"method": "model[1]", **row}, {"method": "other", **row, "mrr": 0.25}], Console(file=stream, width=80)
    )
    shown = stream.getvalue()
    assert "books[kids] :smile:, test, 1" in shown
    assert "model[1]" in shown
    assert "0.2500" in shown

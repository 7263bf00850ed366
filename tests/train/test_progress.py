"""Progress lines: of encoding on stderr, and of training with the measured throughput."""

from llmrec_jax.train.metrics import ProgressLine
from llmrec_jax.train.progress import counted, progress


def test_lines_count_the_encoded_texts(capsys):
    with progress("encoding texts", 10, every_seconds=0) as on_batch:
        for count in (4, 4, 2):
            on_batch(count)
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.splitlines() == [f"encoding texts {done}/10" for done in (4, 8, 10)]


def test_progress_changes_nothing_that_is_counted(capsys):
    assert list(counted(iter("abc"), "reading", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")  # ten seconds have not passed


def test_the_first_step_has_no_rate_and_steps_without_texts_none_of_tokens(capsys):
    line = ProgressLine(num_steps=3, first_step=0, every_seconds=0)
    for step, tokens in ((1, 0), (2, 0), (3, 70)):
        line.update(step, 0.5, examples=8, tokens=tokens)
    first, without_texts, with_texts = capsys.readouterr().out.splitlines()
    assert first == "step 1/3  loss 0.5000"
    assert "examples/s" in without_texts
    assert "tokens/s" not in without_texts
    assert "tokens/s" in with_texts

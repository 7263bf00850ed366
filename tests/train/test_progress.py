"""Progress of training: the first program is compiled, then lines with the measured throughput."""

import time

from llmrec_jax import progress
from llmrec_jax.train.metrics import ProgressLine


def test_the_first_step_has_no_rate_and_steps_without_texts_none_of_tokens(capsys):
    line = ProgressLine(num_steps=3, first_step=0, every_seconds=0)
    for step, tokens in ((1, 0), (2, 0), (3, 70)):
        line.update(step, 0.5, examples=8, tokens=tokens)
    first, without_texts, with_texts = capsys.readouterr().out.splitlines()
    assert first == "step 1/3  loss 0.5000"
    assert "examples/s" in without_texts
    assert "tokens/s" not in without_texts
    assert "tokens/s" in with_texts


def test_compiling_is_told_without_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(progress, "FIRST", 0.0)
    for quiet in (True, False):
        with ProgressLine(num_steps=3, first_step=0, quiet=quiet).compiling():
            time.sleep(0.05)
        told = "" if quiet else "compiling the training step ... 0 s\ncompiling the training step: took 0 s\n"
        assert capsys.readouterr() == ("", told)

"""On a non-finite metric a run reports step, metric and remedies, and keeps its newest checkpoint."""

import dataclasses
import re

import pytest
from rich.console import Console

from llmrec_jax.config import AdaptConfig
from llmrec_jax.errors import one_line_errors
from llmrec_jax.train.checkpoint import Checkpoints
from llmrec_jax.train.loop import train_and_evaluate
from tests.train.tiny import tiny_config


@pytest.mark.parametrize(
    ("eval_every", "newest", "what"),
    [
        (0, 2, "step 3: not finite: grad_norm, loss, loss/ranking/target"),
        (2, 1, "540000 of the scores of 1200 users are NaN"),
    ],
    ids=["a loss", "scores"],
)
def test_the_error_names_step_reason_and_checkpoint(tmp_path, capfd, eval_every, newest, what):
    config = tiny_config(sources=())
    config = dataclasses.replace(  # quick to compile
        config,
        model=dataclasses.replace(config.model, user_tower="mean"),
        adapt=AdaptConfig(),
        optim=dataclasses.replace(config.optim, learning_rate=1e10),
        train=dataclasses.replace(config.train, eval_every=eval_every, checkpoint_every=1),
    )
    workdir = tmp_path / "run"
    with one_line_errors() as status:
        train_and_evaluate(config, workdir, Console(quiet=True))
    assert status.code == 2
    error, *advice = capfd.readouterr().err.splitlines()
    assert re.fullmatch(f"error: {what}", error)
    assert advice[0].startswith(f"  {workdir} has a checkpoint of step {newest}; resuming from it would fail again")
    assert "--optim.learning_rate (it is 10000000000.0)" in advice[1]
    assert Checkpoints(workdir / "checkpoints", read_only=True).latest_step() == newest

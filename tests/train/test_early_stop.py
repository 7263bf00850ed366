"""`train.patience` or a signal ends a run early; a run that starts from counts may select its start."""

import dataclasses
import io
import json

import jax
import numpy as np
import pytest
from rich.console import Console

from llmrec_jax.errors import UserError
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import steps
from llmrec_jax.train.checkpoint import Checkpoints
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.interrupts import Saved
from llmrec_jax.train.loop import train_and_evaluate
from tests.train.tiny import metrics_of, tiny_config


def quick_config():
    """Of a run on ids alone, quick to compile, which starts from counts."""
    config = tiny_config(sources=())
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, item_features="id", user_tower="mean", start="counts"),
        adapt=dataclasses.replace(config.adapt, method="none"),
        train=dataclasses.replace(config.train, steps=100, eval_every=2, checkpoint_every=100, patience=2),
    )


def test_a_run_that_does_not_improve_on_its_start_ends_early_and_keeps_the_start(tmp_path, monkeypatch, shown_work):
    scores = iter([0.3, 0.1, 0.2])  # of steps 0, 2 and 4
    monkeypatch.setattr(Evaluator, "validate", lambda self, params: next(scores))
    config, workdir = quick_config(), tmp_path / "run"
    trained = train_and_evaluate(config, workdir, Console(file=io.StringIO()), export=bundle_in(workdir))
    phases = ["reading", "initializing the model", "compiling the training step", "making the answer",
              "exporting the bundle", "evaluating methods", "recommending for some users of the report"]  # fmt: skip
    assert [work for work in shown_work if work in phases] == phases
    assert [line["step"] for line in metrics_of(workdir)] == [1, 2, 3, 4]
    assert Checkpoints(workdir / "checkpoints", read_only=True).steps() == [0, 4]
    report = json.loads((workdir / "report.json").read_text())
    assert report["selection"]["step"] == 0
    experiment = trained.experiment
    start = experiment.start(make_layout(config.mesh).init(experiment.init_state))
    jax.tree.map(np.testing.assert_array_equal, trained.params, jax.device_get(start.params))

    said = Console(file=io.StringIO(), width=200)
    train_and_evaluate(config, workdir, said)  # again: it is complete
    assert "resuming at step 4 of 100\n" in said.file.getvalue()
    assert [line["step"] for line in metrics_of(workdir)] == [1, 2, 3, 4]
    again = json.loads((workdir / "report.json").read_text())
    assert again["results"] == report["results"]


class TwoProcesses:
    """The module `jax`, as one of two processes sees it."""

    def process_count(self):
        return 2

    def __getattr__(self, name):
        return getattr(jax, name)


def test_a_stop_that_another_process_asks_for_at_a_validation_is_saved(tmp_path, monkeypatch):
    scores, signals = iter([0.3, 0.1]), iter([False, True])  # of steps 0 and 2; during steps 1 and 2
    monkeypatch.setattr(Evaluator, "validate", lambda self, params: next(scores))
    monkeypatch.setattr(steps, "jax", TwoProcesses())
    monkeypatch.setattr(steps, "on_any_process", lambda _: next(signals))
    with pytest.raises(Saved, match="step 2 of 100 is saved"):
        train_and_evaluate(quick_config(), tmp_path, Console(quiet=True))
    assert Checkpoints(tmp_path / "checkpoints", read_only=True).newest_intact() == (2, [])


def test_patience_without_validation_is_refused(tmp_path):
    config = quick_config()
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, eval_every=0))
    with pytest.raises(UserError, match=r"train.patience=2: there are no validation events .*; set it to 0"):
        train_and_evaluate(config, tmp_path / "run", Console(quiet=True))

"""`train.patience` ends a run early."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from llmrec_jax.errors import UserError
from llmrec_jax.train.checkpoint import Checkpoints
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.loop import train_and_evaluate
from tests.train.tiny import metrics_of, tiny_config


def quick_config(cache_dir):
    """Of a run on ids alone, quick to compile."""
    config = tiny_config(cache_dir, sources=())
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, item_features="id", user_tower="mean"),
        adapt=dataclasses.replace(config.adapt, method="none"),
        train=dataclasses.replace(config.train, eval_every=2, checkpoint_every=100, patience=2),
    )


def test_a_run_ends_after_validations_without_a_better_one(tmp_path, monkeypatch):
    scores = iter([0.1, 0.3, 0.2, 0.25])
    monkeypatch.setattr(Evaluator, "validate", lambda self, params: next(scores))
    config, workdir = quick_config(tmp_path), tmp_path / "run"
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=100))
    train_and_evaluate(config, workdir, Console(quiet=True))
    assert [line["step"] for line in metrics_of(workdir)] == list(range(1, 9))
    assert Checkpoints(workdir / "checkpoints", read_only=True).latest_step() == 8
    report = json.loads((workdir / "report.json").read_text())
    assert report["selection"]["step"] == 4

    said = Console(file=io.StringIO(), width=200)
    train_and_evaluate(config, workdir, said)  # again: it is complete
    assert "resuming at step 8 of 100\n" in said.file.getvalue()
    assert [line["step"] for line in metrics_of(workdir)] == list(range(1, 9))
    again = json.loads((workdir / "report.json").read_text())
    assert again["results"] == report["results"]


def test_patience_without_validation_is_refused(tmp_path):
    config = quick_config(tmp_path)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, eval_every=0))
    with pytest.raises(UserError, match=r"train.patience=2: there are no validation events .*; set it to 0"):
        train_and_evaluate(config, tmp_path / "run", Console(quiet=True))

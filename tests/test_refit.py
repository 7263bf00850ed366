"""`llmrec refit` runs a finished run again with all of its choices."""

import json

import pytest

from llmrec_jax import cli
from llmrec_jax.cli import training
from llmrec_jax.train.workdir import as_json
from tests.train.tiny import tiny_config


@pytest.fixture
def started(monkeypatch):
    """The arguments of the runs that would have been started."""
    calls = []
    monkeypatch.setattr(training, "run", lambda config, workdir, interrupts: calls.append((config, workdir)))
    return calls


def test_the_selected_step_and_the_weights_are_kept(started, tmp_path):
    config, workdir = tiny_config(), tmp_path / "run"
    workdir.mkdir()
    (workdir / "config.json").write_text(json.dumps(as_json(config)))
    (workdir / "report.json").write_text(json.dumps({"selection": {"step": 4}}))
    assert cli.main(["refit", str(workdir)]) == 0
    refitted, folder = started[0]
    assert folder == tmp_path / "run-refit"
    assert refitted.data.train_on == "train+valid"
    assert (refitted.train.steps, refitted.train.selection, refitted.train.eval_every) == (4, "last_step", 0)
    assert refitted.answer.weights_from == str(workdir)
    assert refitted.model == config.model
    assert cli.main(["refit", str(workdir), "--to", str(tmp_path / "deploy")]) == 0
    assert started[1][1] == tmp_path / "deploy"


def test_a_folder_without_a_finished_run_is_refused(started, tmp_path, capsys):
    assert cli.main(["refit", str(tmp_path)]) == 2
    assert f"{tmp_path} is not the work folder of a run" in capsys.readouterr().err
    assert not started

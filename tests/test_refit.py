"""`llmrec refit` runs a finished run again with all of its choices."""

import dataclasses
import json

import pytest

from llmrec_jax import Recommender, cli
from llmrec_jax.cli import training
from llmrec_jax.config import AdaptConfig
from llmrec_jax.train.interrupts import Interrupts
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


@pytest.mark.slow
def test_the_bundle_of_a_refit_gives_probabilities(tmp_path):
    """A refit has no validation events to fit them on; they are those of the finished run."""
    workdir = tmp_path / "run"
    config = dataclasses.replace(tiny_config(sources=(), target_fraction=1.0), adapt=AdaptConfig())
    with Interrupts() as interrupts:
        training.run(config, workdir, interrupts)
    assert cli.main(["refit", str(workdir)]) == 0
    first, second = (Recommender.load(folder / "bundle") for folder in (workdir, tmp_path / "run-refit"))
    assert (first.has_probabilities, second.has_probabilities) == (True, True)
    report = json.loads((tmp_path / "run-refit" / "report.json").read_text())
    assert report["answer"]["weights"] == json.loads((workdir / "report.json").read_text())["answer"]["weights"]


def test_a_folder_without_a_finished_run_is_refused(started, tmp_path, capsys):
    assert cli.main(["refit", str(tmp_path)]) == 2
    assert f"{tmp_path} is not the work folder of a run" in capsys.readouterr().err
    assert not started

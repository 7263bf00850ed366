"""`llmrec sweep`: trials go on after an interrupt, bad ones are stopped, and the best becomes a configuration file."""

import dataclasses
import json
import types

import optuna
import pytest
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cli import main
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.train.interrupts import Interrupts, Saved
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.prepared import prepare
from llmrec_jax.tuning import sweep as sweep_lib
from llmrec_jax.tuning.space import Choice, Range
from llmrec_jax.tuning.trials import draw, open_study, working
from tests.train.tiny import tiny_config

SPACE = {"model.dropout": Range(0.0, 0.5, is_log=False, is_int=False)}
QUIET = Console(quiet=True)


@pytest.fixture
def trained(monkeypatch):
    """The configurations of the trials; a trial's validation is the lower the further its dropout is from 0.2."""
    configs = []

    def validation(config, folder, trial, data, interrupts):
        configs.append(config)
        (folder / "checkpoints").mkdir(parents=True, exist_ok=True)
        return 1 - abs(config.model.dropout - 0.2)

    monkeypatch.setattr(sweep_lib, "_validation", validation)
    monkeypatch.setattr(sweep_lib, "reading", lambda config, console: None)
    return configs


def test_the_best_becomes_a_configuration(trained, tmp_path):
    found = sweep_lib.sweep(Config(), tmp_path, SPACE, 12, QUIET)
    assert len(trained) == len(found["trials"]) == 12
    best = min(trained, key=lambda config: abs(config.model.dropout - 0.2))
    assert config_lib.load(tmp_path / "best.py") == best
    assert found["best"] == {"model.dropout": best.model.dropout}
    assert found["value"] == max(trial["value"] for trial in found["trials"])
    kept = [path for path in (tmp_path / "trials").iterdir() if (path / "checkpoints").exists()]
    assert len(kept) == 1
    assert f"--workdir {kept[0]}" in (tmp_path / "best.py").read_text()
    assert kept[0].name in next(t["folder"] for t in found["trials"] if t["value"] == found["value"])


def test_goes_on_after_an_interrupt(trained, tmp_path, monkeypatch):
    whole = sweep_lib._validation

    def interrupted(*arguments):
        if len(trained) == 2:
            trained.append(arguments[0])
            raise Saved("stopped")
        return whole(*arguments)

    monkeypatch.setattr(sweep_lib, "_validation", interrupted)
    with pytest.raises(Saved):
        sweep_lib.sweep(Config(), tmp_path, SPACE, 5, QUIET)
    monkeypatch.setattr(sweep_lib, "_validation", whole)
    found = sweep_lib.sweep(Config(), tmp_path, SPACE, 5, QUIET)
    assert trained[3] == trained[2]  # the interrupted trial is the next one
    assert len(trained) == 6
    assert len({config.model.dropout for config in trained}) == 5
    assert [trial["state"] for trial in found["trials"]].count("complete") == 5
    again = sweep_lib.sweep(Config(), tmp_path, SPACE, 5, QUIET)
    assert (again["best"], len(trained)) == (found["best"], 6)


def test_a_folder_of_another_sweep_is_refused(trained, tmp_path):
    sweep_lib.sweep(Config(), tmp_path, SPACE, 1, QUIET)
    with pytest.raises(ValueError, match=r"another sweep: config seed is 0 there and 1 here"):
        sweep_lib.sweep(Config(seed=1), tmp_path, SPACE, 1, QUIET)
    with pytest.raises(ValueError, match=r"another sweep: space model\.dropout is"):
        sweep_lib.sweep(Config(), tmp_path, {"model.dropout": Choice((0.1, 0.2))}, 1, QUIET)
    blind = dataclasses.replace(Config(), train=dataclasses.replace(Config().train, eval_every=0))
    with pytest.raises(ValueError, match=r"train\.eval_every=0"):
        sweep_lib.sweep(blind, tmp_path / "new", SPACE, 1, QUIET)
    with pytest.raises(ValueError, match=r"train\.eval_every=0"):
        sweep_lib.sweep(Config(), tmp_path / "new", {"train.eval_every": Choice((0, 50))}, 1, QUIET)


def test_values_that_do_not_fit_each_other_are_left_out(trained, tmp_path):
    space = {"model.width": Choice((48, 64)), "model.num_heads": Choice((5,))}
    with pytest.raises(ValueError, match=r"no trial .* has finished; reasons: .*num_heads"):
        sweep_lib.sweep(Config(), tmp_path, space, 2, QUIET)
    assert not trained
    assert not (tmp_path / "best.py").exists()


def test_the_last_trial_runs_in_another_process(trained, tmp_path):
    study = open_study(tmp_path)
    with working(study, tmp_path) as process:
        assert draw(study, SPACE, 1, 0, process)
        with pytest.raises(UserError, match="is finished yet: wait for the other processes"):
            sweep_lib.sweep(Config(), tmp_path, SPACE, 1, QUIET)
    assert not trained


def test_a_validation_below_the_median_stops_a_trial(monkeypatch):
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
    good = study.ask()
    good.report(0.5, 3)
    study.tell(good, 0.5)

    def third_validation(value):
        monkeypatch.setattr(sweep_lib.Evaluator, "validate", lambda self, params: value)
        judge = object.__new__(sweep_lib._PruningEvaluator)
        judge._trial, judge._validated = study.ask(), 2
        return judge.validate(None)

    assert third_validation(0.6) == 0.6
    with pytest.raises(optuna.TrialPruned):
        third_validation(0.4)


@pytest.mark.parametrize(("resumed", "number"), [(None, 1), (0, 2), (8, 4)])
def test_a_resumed_trial_goes_on_counting_its_validations(monkeypatch, resumed, number):
    """Of the start, which may be kept, and of every fourth step: the median is that of the same number."""
    monkeypatch.setattr(sweep_lib.Evaluator, "__init__", lambda self, experiment, mesh: None)
    monkeypatch.setattr(sweep_lib.Evaluator, "validate", lambda self, params: 0.5)
    experiment, trial = types.SimpleNamespace(may_keep_start=True, config=tiny_config()), optuna.create_study().ask()
    sweep_lib._PruningEvaluator(experiment, None, trial=trial, resumed=resumed).validate(None)
    assert list(trial.storage.get_trial(trial._trial_id).intermediate_values) == [number]


@pytest.mark.slow
def test_a_trial_is_a_run_that_train_can_go_on_with(tmp_path):
    config = tiny_config(tmp_path / "cache", sources=())
    config = dataclasses.replace(
        config,
        adapt=dataclasses.replace(config.adapt, method="none"),
        model=dataclasses.replace(config.model, user_tower="mean"),
    )
    data, trial = prepare(config), optuna.create_study(direction="maximize").ask()
    config = sweep_lib.changed_by(config, {"optim.learning_rate": 0.003})
    value = sweep_lib._validation(config, tmp_path / "run", trial, data, Interrupts())
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    validations = [line[name] for line in lines for name in line if "valid" in name]
    assert value == max(validations)
    assert len(validations) == 2
    assert list(trial.storage.get_trial(trial._trial_id).intermediate_values.values()) == validations
    trained_in = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    train_and_evaluate(config, tmp_path / "run", QUIET, data=data)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == trained_in  # no step was taken again
    assert (tmp_path / "run" / "report.json").is_file()
    with pytest.raises(UserError):
        sweep_lib._validation(dataclasses.replace(config, seed=5), tmp_path / "run", trial, data, Interrupts())


def test_the_command(trained, tmp_path, capsys):
    fields = ["--data.target", "demo:books", "--encoder.pretrained", "None", "--encoder.mode", "full"]
    options = ["--workdir", str(tmp_path / "sweep"), "--trials", "3", "--space", "model.dropout=0:0.5"]
    assert main(["sweep", "my_shop", *options, *fields, "--json"]) == 0
    found = capsys.readouterr()
    facts = json.loads(found.out)
    assert facts["config"] == str(tmp_path / "sweep" / "best.py")
    assert "trial 3/3: model.dropout=" in found.err
    assert config_lib.load(tmp_path / "sweep" / "best.py").data.target == "demo:books"
    assert main(["sweep", "my_shop", *fields]) == 2
    assert "--space is empty" in capsys.readouterr().err

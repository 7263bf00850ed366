"""Searches the fields of a configuration for the best validation, by Optuna: `llmrec sweep`.

    sweep.json        the configuration and the space
    trials.log        the trials, in Optuna's journal (`trials`); several processes may append to it
    trials/ID/        the work folder of each trial, named after its values; checkpoints only of unfinished ones and the
                      best
    best.py           the best configuration so far

Trials are trained up to their selected step, neither exported nor evaluated on test events. A trial whose validation
stays below the median of the others at the same step is stopped. The same command again resumes; several processes
share the trials. An interrupted trial is resumed first, from its checkpoint.
"""

import dataclasses
import functools
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from jax.sharding import Mesh
from optuna.trial import TrialState
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.train import session
from llmrec_jax.train.checkpoint import Checkpoints
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.experiment import Experiment, assemble
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.loop import reading
from llmrec_jax.train.prepared import Data
from llmrec_jax.train.state import Params
from llmrec_jax.train.workdir import as_json
from llmrec_jax.tuning.config_file import as_source
from llmrec_jax.tuning.space import Dimension, changed_by
from llmrec_jax.tuning.trials import Drawn, best_of, draw, finished, open_study, taken, working


def sweep(
    config: Config,
    workdir: Path,
    space: Mapping[str, Dimension],
    trials: int,
    console: Console,
    interrupts: Interrupts | None = None,
) -> dict[str, Any]:
    """Run trials in `workdir` until `trials` are finished, those of earlier calls included.

    Returns:
      `best`, the values of the best trial; `value`, its validation; `config`, the file; and `trials`, one dict each.

    Raises:
      ValueError: the configuration has no validation, the folder holds another sweep, or no
        trial could be trained.
    """
    if not config.train.eval_every or ("train.eval_every" in space and 0 in space["train.eval_every"].values):
        raise UserError("train.eval_every=0: a sweep compares validations; set it above 0")
    if config.stages or config.train.objective != "ranking":
        raise UserError("a sweep needs a configuration without stages and with train.objective=ranking")
    _claim(workdir, config, space)
    study, interrupts = open_study(workdir), interrupts or Interrupts()
    with working(study, workdir) as process:
        data = reading(config, console)
        while drawn := draw(study, space, trials, config.seed, process):
            _run(study, drawn, f"trial {drawn.number}/{trials}", config, workdir, data, console, interrupts)
            _tidy(study, workdir)
            _write_best(study, config, workdir)
    if others := len(taken(study)) - len(finished(study)):
        console.print(f"trials still running in other processes: {others}")
    elif len(finished(study)) < trials:
        console.print(f"all {len(finished(study))} combinations of values were tried")
    if (best := best_of(finished(study))) is None:
        if others:
            raise UserError(f"no trial of {workdir} is finished yet: wait for the other processes")
        raise UserError(f"no trial of {workdir} has finished; reasons: {_reasons(study)}")
    rows = [{"values": t.params, "state": t.state.name.lower(), "value": t.value, **t.user_attrs}
            for t in study.trials if "folder" in t.user_attrs]  # fmt: skip
    return {"best": best.params, "value": best.value, "config": str(workdir / "best.py"), "trials": rows}


class _PruningEvaluator(Evaluator):
    """An evaluator that reports each validation to a trial, and stops the run if the trial is to be stopped."""

    def __init__(self, experiment: Experiment, mesh: Mesh, *, trial: Any, resumed: int | None):
        super().__init__(experiment, mesh)
        self._trial, self._validated = trial, 0
        if resumed is not None:  # the step; those up to it were validated before, and the start if it may be kept
            self._validated = resumed // experiment.config.train.eval_every + experiment.may_keep_start

    def validate(self, params: Params) -> float:
        value = super().validate(params)
        self._validated += 1
        self._trial.report(value, self._validated)
        if self._trial.should_prune():
            raise optuna.TrialPruned
        return value


def _run(
    study: Any, drawn: Drawn, number: str, config: Config, workdir: Path, data: Data, console: Console,
    interrupts: Interrupts,
) -> None:  # fmt: skip
    """Train one trial and tell the study how it ended."""
    trial, values = drawn.trial, drawn.values
    folder = _folder(workdir, values)
    trial.set_user_attr("folder", str(folder))
    console.print(f"{number}: {_listed(values)}", markup=False, highlight=False)
    try:
        found = _validation(changed_by(config, values), folder, trial, data, interrupts)
    except optuna.TrialPruned:
        console.print(f"{number}: stopped, below the median", markup=False, highlight=False)
        study.tell(trial, state=TrialState.PRUNED)
    except UserError as error:
        console.print(f"{number}: left out: {error}", markup=False, highlight=False)
        trial.set_user_attr("reason", str(error))
        study.tell(trial, state=TrialState.PRUNED)
    except BaseException:
        study.enqueue_trial(values)  # resumes from its checkpoint
        study.tell(trial, state=TrialState.FAIL)
        raise
    else:
        console.print(f"{number}: {found:.4f}", markup=False, highlight=False)
        study.tell(trial, found)


def _validation(config: Config, folder: Path, trial: Any, data: Data, interrupts: Interrupts) -> float:
    """The validation of the selected step of a run in `folder`."""
    quiet = Console(quiet=True)
    resumed, _ = Checkpoints(folder / "checkpoints", read_only=True).newest_intact()
    judge = functools.partial(_PruningEvaluator, trial=trial, resumed=resumed)
    with session.held(config, folder, quiet):
        fitted = session.fit(config, folder, quiet, interrupts, lambda _: assemble(data, config), judge)
    if "value" not in fitted.best:
        raise UserError(f"there are no validation events to compare by ({fitted.evaluator.validator})")
    return float(fitted.best["value"])


def _claim(workdir: Path, config: Config, space: Mapping[str, Dimension]) -> None:
    """Write sweep.json, or check that it is of the same sweep."""
    fields = config_lib.flatten(as_json(config))
    described = {name: dataclasses.asdict(dimension) for name, dimension in space.items()}
    ours = json.loads(json.dumps({"config": fields, "space": described}))
    path = workdir / "sweep.json"
    if not path.is_file():
        workdir.mkdir(parents=True, exist_ok=True)
        _replace(path, json.dumps(ours, indent=1) + "\n")
    theirs = json.loads(path.read_text("utf-8"))
    for part in ("config", "space"):
        for name in theirs[part].keys() | ours[part].keys():
            if theirs[part].get(name) != ours[part].get(name):
                raise UserError(f"{workdir} holds another sweep: {part} {name} is {theirs[part].get(name)} there and "
                                f"{ours[part].get(name)} here; choose another --workdir")  # fmt: skip


def _folder(workdir: Path, values: Mapping[str, Any]) -> Path:
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
    return workdir / "trials" / digest[:10]


def _tidy(study: Any, workdir: Path) -> None:
    """Delete the checkpoints of finished trials except the best, with which `llmrec train` can go on."""
    ended = finished(study)  # read once: a trial that another process finishes meanwhile may be the best
    best = best_of(ended)
    kept = None if best is None else _folder(workdir, best.params)
    for trial in ended:
        if (folder := _folder(workdir, trial.params)) != kept:
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)


def _write_best(study: Any, config: Config, workdir: Path) -> None:
    ended = finished(study)
    if (best := best_of(ended)) is None:
        return
    folder = _folder(workdir, best.params)
    text = f"""The best of {len(ended)} trials of a sweep, with a validation of {best.value:.4f}.

Values:    {_listed(best.params)}
Command:   llmrec train {workdir / "best.py"} --workdir {folder}
           (resumes the trial; with another --workdir it trains again)"""
    _replace(workdir / "best.py", as_source(config_lib.changed(config, best.params), text))
    if len(finished(study)) != len(ended):  # another process may have written a better one before
        _write_best(study, config, workdir)


def _replace(path: Path, text: str) -> None:
    """Write a file in one step, also if several processes do."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    draft.write_text(text, "utf-8")
    os.replace(draft, path)


def _listed(values: Mapping[str, Any]) -> str:
    texts = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in values.items()}
    return " ".join(f"{name}={text}" for name, text in texts.items())


def _reasons(study: Any) -> str:
    return "; ".join(sorted({trial.user_attrs.get("reason", "stopped") for trial in study.trials}))

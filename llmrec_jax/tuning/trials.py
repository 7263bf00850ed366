"""The trials of a sweep in Optuna's journal, drawn by one or several processes at the same time.

Each process holds a lock in `processes/` while it works. A trial that is running, but whose process holds its lock no
longer, was killed: the next call enqueues its values again. How a trial is trained is in `sweep`.
"""

import contextlib
import datetime
import math
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from llmrec_jax.errors import UserError
from llmrec_jax.train import lock
from llmrec_jax.tuning.space import Dimension

STARTUP_TRIALS = 4  # finished before any is stopped
LEAST_AGE = datetime.timedelta(minutes=1)  # of a trial without the name of its process, until it counts as killed
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
TAKEN = (*FINISHED, TrialState.RUNNING)


class Drawn(NamedTuple):
    """A trial to run."""

    trial: Any
    values: dict[str, Any]
    number: int  # counts from 1, trials that failed left out


def open_study(workdir: Path) -> Any:
    """The study of a sweep, made by the first process that opens it."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(workdir / "trials.log"))),
        study_name="sweep",
        direction="maximize",
        pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP_TRIALS),
        load_if_exists=True,
    )


@contextlib.contextmanager
def working(study: Any, workdir: Path) -> Iterator[str]:
    """Hold the lock of this process and give its name; first, enqueue the trials of killed processes again."""
    _enqueue_killed(study, workdir / "processes")
    name = uuid.uuid4().hex[:10]
    with lock.held(workdir / "processes" / name):
        yield name


def draw(study: Any, space: Mapping[str, Dimension], trials: int, seed: int, process: str) -> Drawn | None:
    """The next trial, which no process has run or is running; None if `trials` are taken, or all values were tried."""
    is_repeated = False
    while len(tried := taken(study)) < trials:
        if len({_key(trial.params) for trial in tried if len(trial.params) == len(space)}) >= _size(space):
            return None
        trial = study.ask()
        trial.set_user_attr("process", process)
        # Not the same seed in every process: they would draw the same values.
        sampler = optuna.samplers.RandomSampler if is_repeated else optuna.samplers.TPESampler
        study.sampler = sampler(seed=int(np.random.SeedSequence([seed, trial.number]).generate_state(1)[0]))
        values = {name: dimension.draw(trial, name) for name, dimension in space.items()}
        # Of processes that ask at the same time, the one with the lower number goes first.
        earlier = [other for other in taken(study) if other.number < trial.number]
        is_repeated = any(_key(other.params) == _key(values) for other in earlier)
        if len(earlier) < trials and not is_repeated:
            return Drawn(trial, values, len(earlier) + 1)
        study.tell(trial, state=TrialState.FAIL)
    return None


def taken(study: Any) -> list[Any]:
    """The trials that are finished or running, in any process."""
    return study.get_trials(deepcopy=False, states=TAKEN)


def finished(study: Any) -> list[Any]:
    """The trials that were trained to their end, stopped or left out."""
    return study.get_trials(deepcopy=False, states=FINISHED)


def best_of(trials: list[Any]) -> Any | None:
    """The trial with the best validation, the first of equals; None if none was trained to its end."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: trial.value, default=None)


def _enqueue_killed(study: Any, processes: Path) -> None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        process = trial.user_attrs.get("process")
        if process is None:
            if datetime.datetime.now() - trial.datetime_start > LEAST_AGE:
                study.tell(trial.number, state=TrialState.FAIL)
            continue
        with contextlib.suppress(UserError), lock.held(processes / process):  # UserError: the process is at work
            running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            if any(other.number == trial.number for other in running):  # no other process was faster
                study.enqueue_trial(trial.params)
                study.tell(trial.number, state=TrialState.FAIL)


def _key(values: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in values.items()))


def _size(space: Mapping[str, Dimension]) -> float:
    """How many combinations of values there are; may be infinite."""
    return math.prod(dimension.size for dimension in space.values())

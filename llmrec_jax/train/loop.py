"""A training run from start to end: train, export, evaluate, report. The training up to there is in `session`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from llmrec_jax.config import Config
from llmrec_jax.evaluate.report import write_report
from llmrec_jax.evaluate.tables import print_evaluation
from llmrec_jax.parallel import to_host
from llmrec_jax.progress import muted, shown
from llmrec_jax.train import adaptation, session, shelves, trackers
from llmrec_jax.train.answer import Answer
from llmrec_jax.train.evaluation import Evaluator, hashes
from llmrec_jax.train.experiment import Experiment, assemble
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.prepared import Data, prepare
from llmrec_jax.train.state import Params
from llmrec_jax.train.steps import timed
from llmrec_jax.train.summary import data_summary


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """The result of a finished run."""

    experiment: Experiment
    params: Params  # of the selected step, unsharded host arrays
    item_vectors_ID: np.ndarray  # of the joint catalogue
    answer: Answer
    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # rows of the report


def train_and_evaluate(
    config: Config,
    workdir: Path,
    console: Console,
    *,
    export: Callable[[Trained], None] = lambda _: None,
    interrupts: Interrupts | None = None,
    data: Data | None = None,
    reports: bool = True,
) -> Trained:
    """Run `config` in `workdir`, or resume the run there; write metrics, checkpoints and report.

    Args:
      config: validated first.
      workdir: locked for this job.
      console: prints the progress of the run; a quiet one also mutes the progress bars.
      export: called on process 0 after training, before the report.
      interrupts: receives the signals; after one, the run saves a checkpoint and raises `interrupts.Saved`.
      data: prepared data, to share it among several runs; None: it is prepared here.
      reports: whether the test events are ranked and reported; False for a stage that another one follows.

    Raises:
      ValueError: invalid configuration or data, a work folder that belongs to another run or is in use, ...
    """

    def make(pinned: Config) -> Experiment:
        return assemble(reading(pinned, console), pinned) if data is None else assemble(data, config)

    with (
        muted(console.quiet),
        session.held(config, workdir, console),
        trackers.opened(config, workdir, console) as tracked,
    ):
        fitted = session.fit(config, workdir, console, interrupts or Interrupts(), make, Evaluator, tracked)
        trained = _finish(fitted, workdir, console, export, reports)
        if reports:
            tracked.report(config.train.steps, trackers.report_metrics(trained.results))
        return trained


def reading(config: Config, console: Console) -> Data:
    """`prepare` the data of a run, with its summary on the console."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    say(f"reading {', '.join((*config.data.sources, config.data.target))}")
    return prepare(config, on_data=lambda corpus: say(data_summary(corpus)))


def _finish(
    fitted: session.Fitted[Experiment, Evaluator],
    workdir: Path,
    console: Console,
    export: Callable[[Trained], None],
    reports: bool,
) -> Trained:
    experiment, evaluator, params, seconds = fitted.run, fitted.evaluator, fitted.state.params, fitted.seconds
    is_first = jax.process_index() == 0
    with timed(seconds, "answer"):
        answer = evaluator.answer(params)
    trained = Trained(experiment, to_host(params), evaluator.item_vectors(params), answer)
    if is_first:
        export(trained)
    if not reports:
        return trained
    with timed(seconds, "evaluate"):
        found = evaluator.evaluate(params, answer)
        with shown("recommending for some users of the report"):
            shelf = shelves.shelves(experiment.corpus, answer.blends["test"])  # on every process: devices are used
    if is_first:
        selection = evaluator.selection | fitted.best
        more = {"selection": selection, "answer": answer.fit.report()}
        if (adapted := adaptation.summary(workdir, experiment.config.adapt)) is not None:
            more["adaptation"] = adapted.facts
            console.print(adapted.text, markup=False, highlight=False)
        shelves.write(workdir, shelf)
        write_report(workdir, experiment.corpus, found, hashes(experiment), seconds, **more)
        print_evaluation(found, console)
    return dataclasses.replace(trained, results=found.results)

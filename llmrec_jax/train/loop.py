"""A training run from start to end: prepare, restore, train, export, evaluate, report.

Initial parameters, in order of precedence: the newest intact checkpoint in the work folder; the bundle of
`train.init_from`; the pretrained encoder with everything else random; all random. A work folder with another
configuration or other data is refused. `config.json` is written only once data, encoder and model are built. The
training steps are in `steps`.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config
from llmrec_jax.data.batches.pipeline import BATCH_RULE
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.report import print_evaluation, write_report
from llmrec_jax.parallel import Layout, make_layout, to_host
from llmrec_jax.train import compile_cache, encoder_identity, lock
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.answer import Answer
from llmrec_jax.train.checkpoint import Checkpoints
from llmrec_jax.train.evaluation import Evaluator, hashes
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.resume import advice, newest_checkpoint
from llmrec_jax.train.start import initial_state
from llmrec_jax.train.state import Params
from llmrec_jax.train.steps import timed, train_steps
from llmrec_jax.train.summary import data_summary, model_summary
from llmrec_jax.train.workdir import check, claim


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
) -> Trained:
    """Run `config` in `workdir`, or resume the run there; write metrics, checkpoints and report.

    Args:
      config: validated first.
      workdir: locked for this job.
      console: prints the progress of the run.
      export: called on process 0 after training, before the report.
      interrupts: receives the signals; after one, the run saves a checkpoint and raises `interrupts.Saved`.

    Raises:
      ValueError: invalid configuration or data, a work folder that belongs to another run or is in use, ...
    """
    config_lib.validate(config)
    with lock.held(workdir):
        from_first(lambda: check(workdir, config))
        with compile_cache.kept_in(workdir, console):  # after the check, because it writes to the folder
            try:
                return _run(config, workdir, console, export, interrupts or Interrupts())
            except FloatingPointError as error:
                raise UserError(f"{error}\n  {advice(config, workdir)}") from error


def _run(
    config: Config, workdir: Path, console: Console, export: Callable[[Trained], None], interrupts: Interrupts
) -> Trained:
    seconds: dict[str, float] = {}
    is_first = jax.process_index() == 0
    with contextlib.closing(Checkpoints(workdir / "checkpoints")) as checkpoints:  # waits for the current save
        latest = newest_checkpoint(checkpoints, config.train.steps, console)
        with timed(seconds, "prepare"):
            layout = make_layout(config.mesh)
            _check_divides(config, layout)
            if idle := jax.device_count() - layout.mesh.size:
                console.print(f"{idle} of {jax.device_count()} devices are idle: mesh.data=-1 uses all")
            info = None if latest is None else checkpoints.info(latest)
            console.print(
                f"reading {', '.join((*config.data.sources, config.data.target))}", markup=False, highlight=False
            )
            experiment = experiment_lib.build(
                config if info is None else encoder_identity.pinned(config, info.encoder),
                on_data=lambda corpus: console.print(data_summary(corpus), markup=False, highlight=False),
            )
            if info is not None:
                encoder_identity.check_same(workdir, config, info.encoder, experiment.encoder_identity)
                info.check_continues(workdir, experiment.corpus.hash, BATCH_RULE)
            if is_first:
                claim(workdir, config)
            catalog = layout.put_whole(experiment.catalog)
            # A resumed run needs the shapes and shardings only.
            state = initial_state(experiment, layout) if latest is None else layout.init(experiment.init_state)
        console.print(model_summary(experiment, layout, state), markup=False, highlight=False)

        state, best = train_steps(
            experiment, layout, state, catalog, checkpoints, latest, workdir, seconds, interrupts, quiet=not is_first
        )

    evaluator = Evaluator(experiment, layout.mesh)
    with timed(seconds, "answer"):
        answer = evaluator.answer(state.params)
    trained = Trained(experiment, to_host(state.params), evaluator.item_vectors(state.params), answer)
    if is_first:
        export(trained)
    with timed(seconds, "evaluate"):
        found = evaluator.evaluate(state.params, answer)
    if is_first:
        selection = evaluator.selection | best
        more = {"selection": selection, "answer": answer.fit._asdict()}
        write_report(workdir, experiment.corpus, found, hashes(experiment), seconds, **more)
        print_evaluation(found, console)
    return dataclasses.replace(trained, results=found.results)


def _check_divides(config: Config, layout: Layout) -> None:
    size, shards = config.train.batch_size, layout.num_row_shards
    if size % shards:
        arithmetic = f"{size} = {size // shards} x {shards} + {size % shards}"
        raise UserError(f"train.batch_size={size} is not divisible by {shards} devices: {arithmetic}")

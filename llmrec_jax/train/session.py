"""Trains a run in its work folder, up to the selected step: lock, prepare, restore or initialize, train.

Initial parameters, in order of precedence: the newest intact checkpoint in the work folder; those of `train.init_from`;
the pretrained encoder with everything else random; all random. A work folder with another configuration or other data
is refused. `config.json` is written only once data, encoder and model are built. The training steps are in `steps`.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import jax
from jax.sharding import Mesh
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config
from llmrec_jax.data.batches.batch import BATCH_RULE
from llmrec_jax.errors import UserError
from llmrec_jax.parallel import Layout, make_layout
from llmrec_jax.progress import shown
from llmrec_jax.train import compile_cache, encoder_identity, lock
from llmrec_jax.train.checkpoint import Checkpoints
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.resume import advice, newest_checkpoint
from llmrec_jax.train.run import Run, Validator
from llmrec_jax.train.state import TrainState, shapes
from llmrec_jax.train.steps import timed, train_steps
from llmrec_jax.train.summary import model_summary
from llmrec_jax.train.trackers import Trackers
from llmrec_jax.train.workdir import check, claim

RunT = TypeVar("RunT", bound=Run)
ValidatorT = TypeVar("ValidatorT", bound=Validator)


@dataclasses.dataclass(frozen=True)
class Fitted(Generic[RunT, ValidatorT]):
    """A run whose steps are done."""

    run: RunT
    evaluator: ValidatorT
    state: TrainState  # of the selected step, global arrays
    best: dict[str, float]  # the selected step and its validation
    seconds: dict[str, float]  # by phase


@contextlib.contextmanager
def held(config: Config, workdir: Path, console: Console) -> Iterator[None]:
    """Hold the work folder for a run of `config`. Raises ValueError if it belongs to another run or is in use."""
    config_lib.validate(config)
    with lock.held(workdir):
        from_first(lambda: check(workdir, config))
        with compile_cache.kept_in(workdir, console):  # after the check, because it writes to the folder
            try:
                yield
            except FloatingPointError as error:
                raise UserError(f"{error}\n  {advice(config, workdir)}") from error


def fit(
    config: Config,
    workdir: Path,
    console: Console,
    interrupts: Interrupts,
    make: Callable[[Config], RunT],
    make_evaluator: Callable[[RunT, Mesh], ValidatorT],
    trackers: Trackers | None = None,
) -> Fitted[RunT, ValidatorT]:
    """Run the remaining steps of `config` in `workdir`, which is held."""
    seconds: dict[str, float] = {}
    is_first = jax.process_index() == 0
    with contextlib.closing(
        Checkpoints(workdir / "checkpoints", keep=config.train.keep_checkpoints)
    ) as checkpoints:  # waits for the current save
        latest = newest_checkpoint(checkpoints, config.train.steps, console)
        with timed(seconds, "prepare"):
            layout = make_layout(config.mesh)
            _check_divides(config, layout)
            if idle := jax.device_count() - layout.mesh.size:
                console.print(f"{idle} of {jax.device_count()} devices are idle: mesh.data=-1 uses all")
            info = None if latest is None else checkpoints.info(latest)
            run = make(config if info is None else encoder_identity.pinned(config, info.encoder))
            if info is not None:
                encoder_identity.check_same(workdir, config, info.encoder, run.encoder_identity)
                info.check_continues(workdir, run.data_hash, BATCH_RULE)
            if is_first:
                claim(workdir, config)
            catalog = layout.put_whole(run.catalog)
            if latest is None:
                with shown("initializing the model"):
                    state = run.start(layout.to_global(layout.init(run.init_state)))
            else:
                with shown(f"restoring step {latest:,}"):
                    state = checkpoints.restore(latest, shapes(run.init_state, layout.mesh))
            evaluator = make_evaluator(run, layout.mesh)
        console.print(model_summary(config, layout.mesh, state), markup=False, highlight=False)
        state, best = train_steps(
            run, evaluator, layout, layout.from_global(state), catalog, checkpoints, latest, workdir, seconds,
            interrupts, trackers, quiet=not is_first,
        )  # fmt: skip
    return Fitted(run, evaluator, state, best, seconds)


def _check_divides(config: Config, layout: Layout) -> None:
    size, shards = config.train.batch_size, layout.num_row_shards
    if size % shards:
        arithmetic = f"{size} = {size // shards} x {shards} + {size % shards}"
        raise UserError(f"train.batch_size={size} is not divisible by {shards} devices: {arithmetic}")

"""The training protocol from top to bottom: prepare, place, restore, step, evaluate, report.

Restart, in order of precedence: the newest checkpoint of the work folder; else the pretrained encoder of the
configuration with everything else random; else all random. A work folder of another configuration or of other data is
refused. The order inside the loop is part of the contract: evaluate, save, next batch, step, write the metrics of the
step before. The feed hands out a batch only after the save, so state and pipeline never disagree by a batch.
"""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.data.batches.pipeline import BATCH_RULE, batches
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.report import print_evaluation, write_report
from llmrec_jax.parallel import Layout, make_layout, to_host
from llmrec_jax.train import compile_cache
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.checkpoint import Checkpoints, RunInfo
from llmrec_jax.train.evaluation import Evaluator, hashes
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.feed import Feed
from llmrec_jax.train.metrics import MetricsFile, ProgressLine, StepClock
from llmrec_jax.train.optimizer import learning_rate
from llmrec_jax.train.state import Params, TrainState
from llmrec_jax.train.step import train_step
from llmrec_jax.train.workdir import as_json, claim
from llmrec_jax.types import Catalog


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """What a finished run hands on."""

    experiment: Experiment
    params: Params  # of the selected step, whole host arrays
    item_vectors_ID: np.ndarray  # of the joint catalogue
    results: list[dict[str, Any]]


def train_and_evaluate(config: Config, workdir: Path, console: Console) -> Trained:
    """Run `config` in `workdir`, or go on with the run that is there; write its metrics, checkpoints and report."""
    config_lib.validate(config)
    claim(workdir, config, write=jax.process_index() == 0)
    with compile_cache.kept_in(workdir, console):  # which writes there
        try:
            return _run(config, workdir, console)
        except FloatingPointError as error:
            raise UserError(f"{error}\n  {_advice(config, workdir)}") from error


def _run(config: Config, workdir: Path, console: Console) -> Trained:
    seconds: dict[str, float] = {}
    is_first = jax.process_index() == 0
    with _clock(seconds, "prepare"):
        layout = make_layout(config.mesh)
        _check_divides(config, layout)
        experiment = experiment_lib.build(config)
        catalog = layout.put_whole(experiment.catalog)
        state = layout.from_global(experiment.with_pretrained(layout.to_global(layout.init(experiment.init_state))))
    console.print(_summary(experiment, layout, state), markup=False, highlight=False)

    state, best = _train(experiment, layout, state, catalog, workdir, seconds, quiet=not is_first)

    with _clock(seconds, "evaluate"):
        evaluator = Evaluator(experiment, layout.mesh)
        found = evaluator.evaluate(state.params)
    if is_first:
        selection = evaluator.selection | best
        write_report(workdir, experiment.corpus, found, hashes(experiment), seconds, selection=selection)
        print_evaluation(found, console)
    return Trained(experiment, to_host(state.params), evaluator.item_vectors(state.params), found.results)


def _train(
    experiment: Experiment,
    layout: Layout,
    state: TrainState,
    catalog: Catalog,
    workdir: Path,
    seconds: dict[str, float],
    *,
    quiet: bool,
) -> tuple[TrainState, dict[str, float]]:
    """Take the steps that are left; return the selected state (global arrays) and which step it is of."""
    config, corpus = experiment.config, experiment.corpus
    num_steps = config.train.steps
    iterator = batches(corpus.plan, num_steps)
    tokens_I = _token_counts(experiment.catalog)
    best: dict[str, float] = {}
    first = 0
    pending: tuple[int, Any, int] | None = None
    rates = np.asarray(jax.jit(jax.vmap(learning_rate(config.optim, num_steps)))(np.arange(num_steps)))

    def write_pending(validate: TrainState | None = None) -> float | None:
        nonlocal pending
        if pending is not None:
            step, device_metrics, tokens = pending
            metrics, pending = layout.metrics(device_metrics), None
            bad = [name for name, value in metrics.items() if not math.isfinite(value)]
            metrics |= {"tokens": float(tokens), "learning_rate": float(rates[step - 1])}
            metrics |= clock.step(config.train.batch_size, tokens)
            progress.update(step, metrics["loss"], config.train.batch_size, tokens)
            if validate is not None and not bad:
                metrics["valid/ndcg@10"] = evaluator.validate(layout.to_global(validate).params)
                progress.note(f"step {step}/{num_steps}  {evaluator.validator} {metrics['valid/ndcg@10']:.4f}")
            if metrics_file:
                metrics_file.write(step, metrics)
            if bad:
                raise FloatingPointError(f"step {step}: not finite: {', '.join(bad)}")
            return metrics.get("valid/ndcg@10")
        return None

    with contextlib.ExitStack() as stack:  # however a run ends, what it was saving is saved
        checkpoints, best_checkpoints = (
            stack.enter_context(contextlib.closing(Checkpoints(workdir / name))) for name in ("checkpoints", "best")
        )
        if (latest := checkpoints.latest_step()) is not None:
            info = checkpoints.info(latest)
            info.check_continues(workdir, corpus.hash, BATCH_RULE)
            state = layout.from_global(checkpoints.restore(latest, layout.to_global(state)))
            iterator.set_state(info.pipeline)
            best, first = info.best, latest
        best_checkpoints.drop_after(first)

        spec = experiment.spec
        step_fn = layout.compile(functools.partial(train_step, spec=spec), state)
        evaluator = Evaluator(experiment, layout.mesh)
        metrics_file, clock = None, StepClock()
        if not quiet:
            metrics_file = stack.enter_context(contextlib.closing(MetricsFile(workdir / "metrics.jsonl", first)))
        progress = stack.enter_context(contextlib.closing(ProgressLine(num_steps, first, quiet=quiet)))
        with _clock(seconds, "train"), Feed(iterator, layout.put_batch) as feed:
            for step in range(first, num_steps + 1):
                if step > first:
                    due = step == num_steps or (config.train.eval_every and step % config.train.eval_every == 0)
                    if due and config.train.eval_every and evaluator.validates:
                        value = write_pending(validate=state)
                        if value is not None and value > best.get("value", float("-inf")):
                            best = {"step": step, "value": value}
                            best_checkpoints.save(layout.to_global(state), step, _info(experiment, feed, best))
                    if step == num_steps or step % config.train.checkpoint_every == 0:
                        write_pending()
                        if metrics_file:
                            metrics_file.sync()
                        best_checkpoints.wait()  # a checkpoint that names a best step must not be there before it
                        checkpoints.save(layout.to_global(state), step, _info(experiment, feed, best))
                    if pending is None:  # a validation or a checkpoint came between
                        clock.restart()
                if step < num_steps:
                    batch, placed = next(feed)
                    state, device_metrics = step_fn(state, placed, catalog)
                    write_pending()
                    tokens = sum(int(tokens_I[items.ids_U[items.mask_U]].sum()) for items in batch.items)
                    pending = (step + 1, device_metrics, tokens)
        state = layout.to_global(state)
        if best:
            best_checkpoints.wait()
            state = best_checkpoints.restore(int(best["step"]), state)
    return state, best or {"step": num_steps}


def _info(experiment: Experiment, feed: Feed, best: dict[str, float]) -> RunInfo:
    return RunInfo(feed.get_state(), as_json(experiment.config), experiment.corpus.hash, best, BATCH_RULE)


def _advice(config: Config, workdir: Path) -> str:
    """For a run whose numbers are not finite."""
    with contextlib.closing(Checkpoints(workdir / "checkpoints", read_only=True)) as checkpoints:
        latest = checkpoints.latest_step()
    there = "no checkpoint yet" if latest is None else f"a checkpoint of step {latest}"
    return (
        f"{workdir} has {there}; going on from there fails again\n"
        f"  in another --workdir, try a lower --optim.learning_rate (it is {config.optim.learning_rate}), more "
        f"--optim.warmup_steps ({config.optim.warmup_steps}) or --model.compute_dtype float32"
    )


def _check_divides(config: Config, layout: Layout) -> None:
    size, shards = config.train.batch_size, layout.num_row_shards
    if size % shards:
        arithmetic = f"{size} = {size // shards} x {shards} + {size % shards}"
        raise UserError(f"train.batch_size={size} does not divide over {shards} devices: {arithmetic}")


def _token_counts(catalog: Catalog) -> np.ndarray:
    """Tokens that the step encodes for each item, int64 [I]."""
    if catalog.token_mask_IL is None:
        return np.zeros(len(catalog.domain_I), np.int64)
    return np.asarray(catalog.token_mask_IL).sum(axis=1)


def _summary(experiment: Experiment, layout: Layout, state: TrainState) -> str:
    sizes = [x.size for x in jax.tree.leaves(layout.to_global(state).params)]
    corpus = experiment.corpus
    mesh = " x ".join(f"{name} {size}" for name, size in layout.mesh.shape.items())
    domains = [
        f"{d.name}: {len(users):,} of {len(d.user_ids):,} users trained on, {len(d.item_ids):,} items, "
        f"order {d.order}, {split.method}, {rows} rows of a batch"
        for d, split, users, rows in zip(
            corpus.domains, corpus.splits, corpus.plan.users, corpus.plan.rows, strict=True
        )
    ]
    selection = corpus.protocol.selection
    whose = f" ({corpus.domains[selection.domain].name})" if selection.domain is not None else ""
    return "\n".join(
        [
            *domains,
            f"{corpus.protocol.regime}; selection by {selection.validator}{whose}",
            f"{sum(sizes):,} parameters; {experiment.config.mesh.mode} on {mesh}",
        ]
    )


@contextlib.contextmanager
def _clock(seconds: dict[str, float], name: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start

"""The training protocol from top to bottom: prepare, place, restore, step, export, evaluate, report.

Restart, in order of precedence: the newest intact checkpoint of the work folder; else the pretrained encoder of the
configuration with everything else random; else all random. A work folder of another configuration or of other data is
refused; one is claimed (`config.json`) only when data, encoder and model have been built. The order inside the loop is
part of the contract: evaluate, save, next batch, step, write the metrics of the step before. The feed hands out a batch
only after the save, so state and pipeline never disagree by a batch.
"""

import contextlib
import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config
from llmrec_jax.data.batches.pipeline import BATCH_RULE, batches
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.report import print_evaluation, write_report
from llmrec_jax.parallel import Layout, make_layout, on_any_process, to_host
from llmrec_jax.train import compile_cache, encoder_identity, lock
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.checkpoint import Checkpoints, RunInfo
from llmrec_jax.train.evaluation import Evaluator, hashes
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.feed import Feed
from llmrec_jax.train.interrupts import Interrupts, Saved
from llmrec_jax.train.metrics import MetricsFile, ProgressLine, StepClock
from llmrec_jax.train.optimizer import learning_rate
from llmrec_jax.train.resume import advice, newest_checkpoint
from llmrec_jax.train.state import Params, TrainState
from llmrec_jax.train.step import train_step
from llmrec_jax.train.workdir import as_json, check, claim
from llmrec_jax.types import Catalog


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """What a finished run hands on."""

    experiment: Experiment
    params: Params  # of the selected step, whole host arrays
    item_vectors_ID: np.ndarray  # of the joint catalogue
    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)  # rows of the report, once it is made


def train_and_evaluate(
    config: Config,
    workdir: Path,
    console: Console,
    *,
    export: Callable[[Trained], None] = lambda _: None,
    interrupts: Interrupts | None = None,
) -> Trained:
    """Run `config` in `workdir`, or go on with the run that is there; write its metrics, checkpoints and report.

    Args:
      config: is checked first.
      workdir: held for this process, or the job that it belongs to.
      console: where the run's facts are printed.
      export: called by process 0 when the training is done, before the report.
      interrupts: what tells of signals; after one, the run saves and raises `interrupts.Saved`.

    Raises:
      ValueError: wrong configuration or data, a work folder that is another run's or in use, ...
    """
    config_lib.validate(config)
    with lock.held(workdir):
        from_first(lambda: check(workdir, config))
        with compile_cache.kept_in(workdir, console):  # which writes there
            try:
                return _run(config, workdir, console, export, interrupts or Interrupts())
            except FloatingPointError as error:
                raise UserError(f"{error}\n  {advice(config, workdir)}") from error


def _run(
    config: Config, workdir: Path, console: Console, export: Callable[[Trained], None], interrupts: Interrupts
) -> Trained:
    seconds: dict[str, float] = {}
    is_first = jax.process_index() == 0
    with contextlib.closing(Checkpoints(workdir / "checkpoints")) as checkpoints:  # waits for what is being saved
        latest = newest_checkpoint(checkpoints, config.train.steps, console)
        with _clock(seconds, "prepare"):
            layout = make_layout(config.mesh)
            _check_divides(config, layout)
            if idle := jax.device_count() - layout.mesh.size:
                console.print(f"{idle} of {jax.device_count()} devices are idle: mesh.data=-1 uses all")
            info = None if latest is None else checkpoints.info(latest)
            experiment = experiment_lib.build(config if info is None else encoder_identity.pinned(config, info.encoder))
            if info is not None:
                encoder_identity.check_same(workdir, config, info.encoder, experiment.encoder_identity)
                info.check_continues(workdir, experiment.corpus.hash, BATCH_RULE)
            if is_first:
                claim(workdir, config)
            catalog = layout.put_whole(experiment.catalog)
            state = layout.from_global(experiment.with_pretrained(layout.to_global(layout.init(experiment.init_state))))
        console.print(_summary(experiment, layout, state), markup=False)

        state, best = _train(
            experiment, layout, state, catalog, checkpoints, latest, workdir, seconds, interrupts, quiet=not is_first
        )

    evaluator = Evaluator(experiment, layout.mesh)
    trained = Trained(experiment, to_host(state.params), evaluator.item_vectors(state.params))
    if is_first:
        export(trained)
    with _clock(seconds, "evaluate"):
        found = evaluator.evaluate(state.params)
    if is_first:
        selection = evaluator.selection | best
        write_report(workdir, experiment.corpus, found, hashes(experiment), seconds, selection=selection)
        print_evaluation(found, console)
    return dataclasses.replace(trained, results=found.results)


def _train(
    experiment: Experiment,
    layout: Layout,
    state: TrainState,
    catalog: Catalog,
    checkpoints: Checkpoints,
    latest: int | None,
    workdir: Path,
    seconds: dict[str, float],
    interrupts: Interrupts,
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
    pending: tuple[int, Any, int, Any] | None = None
    stopping = False
    is_alone = jax.process_count() == 1

    if latest is not None:
        info = checkpoints.info(latest)
        state = layout.from_global(checkpoints.restore(latest, layout.to_global(state)))
        iterator.set_state(info.pipeline)
        best, first = info.best, latest
    checkpoints.drop_after(first)

    rates = np.asarray(jax.jit(jax.vmap(learning_rate(config.optim, num_steps)))(np.arange(num_steps)))

    def write_pending(validate: TrainState | None = None) -> float | None:
        nonlocal pending, stopping
        if pending is None:
            return None
        step, device_metrics, tokens, stop = pending
        metrics, pending = layout.metrics(device_metrics), None
        stopping = stopping or bool(stop)
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

    with contextlib.ExitStack() as stack:
        step_fn = layout.compile(functools.partial(train_step, spec=experiment.spec), state)
        evaluator = Evaluator(experiment, layout.mesh)
        metrics_file, clock = None, StepClock()
        if not quiet:
            metrics_file = stack.enter_context(contextlib.closing(MetricsFile(workdir / "metrics.jsonl", first)))
        progress = stack.enter_context(contextlib.closing(ProgressLine(num_steps, first, quiet=quiet)))
        stack.enter_context(_clock(seconds, "train"))
        feed = stack.enter_context(Feed(iterator, layout.put_batch))
        for step in range(first, num_steps + 1):
            if step > first:
                stopping = stopping or (is_alone and interrupts.requested)
                save = stopping or step == num_steps or step % config.train.checkpoint_every == 0
                due = step == num_steps or (config.train.eval_every and step % config.train.eval_every == 0)
                if due and config.train.eval_every and evaluator.validates:
                    value = write_pending(validate=state)
                    if value is not None and value > best.get("value", float("-inf")):
                        best, save = {"step": step, "value": value}, True
                if save:
                    write_pending()
                    if metrics_file:
                        metrics_file.sync()
                    checkpoints.save(layout.to_global(state), step, _info(experiment, feed, best))
                if stopping or step == num_steps:
                    checkpoints.wait()
                if stopping and step < num_steps:
                    raise Saved(f"step {step} of {num_steps} is saved; run the same command again to go on")
                if pending is None:  # a validation or a checkpoint came between
                    clock.restart()
            if step < num_steps:
                batch, placed = next(feed)
                state, device_metrics = step_fn(state, placed, catalog)
                if step == first:  # compiled: from here on, a signal waits for the step
                    stack.enter_context(interrupts.postponed())
                stop = False if is_alone else on_any_process(interrupts.requested)
                write_pending()
                tokens = sum(int(tokens_I[items.ids_U[items.mask_U]].sum()) for items in batch.items)
                pending = (step + 1, device_metrics, tokens, stop)
    state = layout.to_global(state)
    if best:
        state = checkpoints.restore(int(best["step"]), state)
    return state, best or {"step": num_steps}


def _info(experiment: Experiment, feed: Feed, best: dict[str, float]) -> RunInfo:
    return RunInfo(
        pipeline=feed.get_state(),
        config=as_json(experiment.config),
        data_hash=experiment.corpus.hash,
        encoder=experiment.encoder_identity,
        best=best,
        batch_rule=BATCH_RULE,
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
        f"order {d.order} ({d.report['order_reason']}), {split.method}, {rows} rows of a batch"
        + "".join(f"\n  {note}" for note in d.report["notes"])
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

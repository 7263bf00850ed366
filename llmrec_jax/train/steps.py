"""The training loop: evaluate, save, get the next batch, step, write the metrics of the previous step; in this order.

The next batch is taken only after the save, so that the saved state and pipeline position match. What comes before is
in `session`, export and report are in `loop`.
"""

import contextlib
import functools
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from llmrec_jax.data.batches.batch import BATCH_RULE
from llmrec_jax.errors import UserError
from llmrec_jax.parallel import Layout, on_any_process
from llmrec_jax.train.checkpoint import Checkpoints, RunInfo
from llmrec_jax.train.feed import Feed
from llmrec_jax.train.interrupts import Interrupts, Saved
from llmrec_jax.train.metrics import MetricsFile, ProgressLine, StepClock
from llmrec_jax.train.optimizer import learning_rate
from llmrec_jax.train.run import Run, Validator
from llmrec_jax.train.state import TrainState
from llmrec_jax.train.step import train_step
from llmrec_jax.train.trackers import Trackers
from llmrec_jax.train.workdir import as_json
from llmrec_jax.types import Catalog


def train_steps(
    run: Run,
    evaluator: Validator,
    layout: Layout,
    state: TrainState,
    catalog: Catalog,
    checkpoints: Checkpoints,
    latest: int | None,
    workdir: Path,
    seconds: dict[str, float],
    interrupts: Interrupts,
    trackers: Trackers | None,
    *,
    quiet: bool,
) -> tuple[TrainState, dict[str, float]]:
    """Run the remaining steps; return the selected state (global arrays) and its step."""
    config = run.config
    num_steps = config.train.steps
    iterator = run.batches()
    tokens_I = _token_counts(run.catalog)
    best: dict[str, float] = {}
    first = 0
    pending: tuple[int, Any, int, Any] | None = None
    stopping = False
    is_alone = jax.process_count() == 1

    if latest is not None:
        info = checkpoints.info(latest)
        iterator.set_state(info.pipeline)
        best, first = info.best, latest
    checkpoints.drop_after(latest)

    def is_last(step: int) -> bool:
        patience = config.train.patience * config.train.eval_every
        return step == num_steps or bool(patience and best and step - best["step"] >= patience)

    def is_validated(step: int) -> bool:
        every = config.train.eval_every
        return bool(every) and (step == num_steps or step % every == 0)

    def is_observed(step: int) -> bool:
        return is_validated(step) or (step == 1 and bool(config.train.eval_every))

    rates = np.asarray(jax.jit(jax.vmap(learning_rate(config.optim, num_steps)))(np.arange(num_steps)))

    def write_pending(judged: TrainState | None = None, *, validates: bool = False) -> float | None:
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
        if judged is not None and not bad:
            params = layout.to_global(judged).params
            metrics |= evaluator.observe(params)
            if validates:
                metrics[evaluator.metric] = evaluator.validate(params)
                progress.note(f"step {step}/{num_steps}  {evaluator.validator} {metrics[evaluator.metric]:.4f}")
        if metrics_file:
            metrics_file.write(step, metrics)
            if trackers:
                trackers.log(step, metrics)
        if bad:
            raise FloatingPointError(f"step {step}: not finite: {', '.join(bad)}")
        return metrics.get(evaluator.metric)

    with contextlib.ExitStack() as stack:
        step_fn, validated_fn = _step_fns(run, layout, state)
        if config.train.patience and not evaluator.validates:
            raise UserError(f"train.patience={config.train.patience}: there are no validation events to judge steps on "
                            f"({evaluator.validator}); set it to 0")  # fmt: skip
        metrics_file, clock = None, StepClock()
        if not quiet:
            metrics_file = stack.enter_context(contextlib.closing(MetricsFile(workdir / "metrics.jsonl", first)))
            if trackers:
                trackers.start(metrics_file.last_step, first)
        progress = stack.enter_context(contextlib.closing(ProgressLine(num_steps, first, quiet=quiet)))
        stack.enter_context(timed(seconds, "train"))
        feed = stack.enter_context(Feed(iterator, layout.put_batch))
        if latest is None and run.may_keep_start and config.train.eval_every and evaluator.validates:
            best = {"step": 0, "value": evaluator.validate(layout.to_global(state).params)}
            progress.note(f"step 0/{num_steps}  {evaluator.validator} {best['value']:.4f}")
            checkpoints.save(layout.to_global(state), 0, _info(run, feed, best))
        for step in range(first, num_steps + 1):
            if step > first:
                stopping = stopping or (is_alone and interrupts.requested)
                save = step % config.train.checkpoint_every == 0
                if is_observed(step):
                    value = write_pending(state, validates=evaluator.validates and is_validated(step))
                    if value is not None and value > best.get("value", float("-inf")):
                        best, save = {"step": step, "value": value}, True
                if save or stopping or is_last(step):  # `write_pending` may have learned of a stop
                    write_pending()
                    if metrics_file:
                        metrics_file.sync()
                    checkpoints.save(layout.to_global(state), step, _info(run, feed, best))
                if stopping or is_last(step):
                    checkpoints.wait()
                if stopping and not is_last(step):
                    raise Saved(f"step {step} of {num_steps} is saved; run the same command again to resume")
                if pending is None:  # a validation or checkpoint took place
                    clock.restart()
            if is_last(step):
                if step < num_steps:
                    progress.note(
                        f"step {step}/{num_steps}  no improvement since step {best['step']}: training ends early"
                    )
                break
            batch, placed = next(feed)
            with progress.compiling() if step == first else contextlib.nullcontext():
                state, device_metrics = (validated_fn if is_validated(step + 1) else step_fn)(state, placed, catalog)
            if step == first:  # compiled: from now on a signal waits for the end of the step
                stack.enter_context(interrupts.postponed())
            write_pending()
            stop = False if is_alone else on_any_process(interrupts.requested)
            tokens = sum(int(tokens_I[items.ids_U[items.mask_U]].sum()) for items in batch.items)
            pending = (step + 1, device_metrics, tokens, stop)
    state = layout.to_global(state)
    if best:
        state = checkpoints.restore(int(best["step"]), state)
    return state, best or {"step": num_steps}


def _step_fns(run: Run, layout: Layout, state: TrainState) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The step, and the one before a validation, which also logs the adaptation's share of the gradient."""
    step_fn = layout.compile(functools.partial(train_step, spec=run.spec), state)
    is_adapted = run.config.adapt.method != "none" and run.config.train.objective == "ranking"
    if not is_adapted or run.spec.compares_adaptation:  # every step logs it
        return step_fn, step_fn
    return step_fn, layout.compile(functools.partial(train_step, spec=run.spec._replace(logs_share=True)), state)


def _info(run: Run, feed: Feed, best: dict[str, float]) -> RunInfo:
    return RunInfo(
        pipeline=feed.get_state(),
        config=as_json(run.config),
        data_hash=run.data_hash,
        encoder=run.encoder_identity,
        best=best,
        batch_rule=BATCH_RULE,
    )


def _token_counts(catalog: Catalog) -> np.ndarray:
    """Number of tokens that the step encodes per item, int64 [I]."""
    if catalog.token_mask_IL is None:
        return np.zeros(len(catalog.domain_I), np.int64)
    return np.asarray(catalog.token_mask_IL).sum(axis=1)


@contextlib.contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Store the duration of the block in `seconds[name]`."""
    start = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - start

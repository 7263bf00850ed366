"""Time of a training step: `python benchmarks/step.py CONFIG.py [--steps N] [--json] [--SECTION.FIELD VALUE ...]`.

Runs the step of a configuration on its own batches, made beforehand; compilation and warm-up are not timed. Fields are
set as in `train.py`. Model FLOPs count the operations on real tokens, history steps and predictions, without padding
and recomputation; their rate is compared with this machine's matrix-product rate in the dtype of the towers.
"""

import argparse
import functools
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax
import numpy as np
import tyro

from benchmarks.report import matmul_peak, show
from llmrec_jax import config as config_lib
from llmrec_jax.cli.training import parser as config_parser
from llmrec_jax.config import Config
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.step import train_step
from llmrec_jax.types import Batch

WARMUP = 3


def measure(config: Config, num_steps: int) -> list[dict[str, Any]]:
    """The rows of the benchmark: {"work", "value", "unit"}."""
    experiment = experiment_lib.build(config)
    layout = make_layout(experiment.config.mesh)
    state, catalog = layout.init(experiment.init_state), layout.put_whole(experiment.catalog)
    step = layout.compile(functools.partial(train_step, spec=experiment.spec), state)
    plan = experiment.corpus.plan
    host_batches = [make_batch(plan, index) for index in range(WARMUP + num_steps)]
    batches = [layout.put_batch(batch) for batch in host_batches]

    start = time.perf_counter()
    state, metrics = step(state, batches[0], catalog)
    jax.block_until_ready(metrics)
    compile_seconds = time.perf_counter() - start
    seconds = []
    for batch in batches[1:]:
        start = time.perf_counter()
        state, metrics = step(state, batch, catalog)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    seconds = seconds[WARMUP - 1 :]
    counted = host_batches[WARMUP:]

    real, padded = np.sum([token_counts(experiment, batch) for batch in counted], axis=0)
    flops, total = sum(model_flops(experiment, batch) for batch in counted), sum(seconds)
    dtype = config.model.compute_dtype
    peak = matmul_peak(dtype)
    rows: list[tuple[str, float, str]] = [
        ("compile and first step", compile_seconds, "s"),
        ("step, p50", 1e3 * float(np.percentile(seconds, 50)), "ms"),
        ("step, p90", 1e3 * float(np.percentile(seconds, 90)), "ms"),
        ("steps", num_steps / total, "1/s"),
        ("histories", num_steps * plan.batch_size / total, "1/s"),
        ("distinct items", sum(int(items.mask_U.sum()) for batch in counted for items in batch.items) / total, "1/s"),
        ("real tokens", real / total, "1/s"),
        ("padding among encoded tokens", 1 - real / padded if padded else 0.0, "share"),
        ("model FLOPs", 1e-9 * flops / total, "GFLOP/s"),
        (f"matrix product, {dtype}, measured", 1e-9 * peak, "GFLOP/s"),
        ("model FLOPs / matrix product", flops / total / peak, "share"),
    ]
    return [{"work": work, "value": value, "unit": unit} for work, value, unit in rows]


def token_counts(experiment: Experiment, batch: Batch) -> tuple[int, int]:
    """Real tokens that the step encodes, and all of them with padding."""
    padded = sum(
        len(items.ids_U) * length for items, length in zip(batch.items, experiment.corpus.plan.lengths, strict=True)
    )
    return int(_text_lengths(experiment, batch).sum()), padded


def model_flops(experiment: Experiment, batch: Batch) -> float:
    """FLOPs that forward and backward pass need: 6 a weight and token, 12 a width and attended pair of tokens.

    Of a weight that does not learn but stands below one that does, 4: it has no gradient. Cached frozen layers cost
    nothing; they are no part of `experiment.encoder_config`.
    """
    model, flops = experiment.config.model, 0.0
    in_batch = experiment.config.loss.ranking == "in_batch"
    for domain, predictions in enumerate(batch.predictions):
        items = experiment.corpus.items(domain)
        candidates = items.stop - items.start
        if in_batch:
            candidates = sum(int(((ids >= items.start) & (ids < items.stop) & mask).sum()) for ids, mask in batch.items)
        flops += 6.0 * int(predictions.mask_P.sum()) * candidates * model.width
    if model.item_features != "id":  # the item tower's four matrices, see models/item_tower.py
        num_items = sum(int(mask.sum()) for _, mask in batch.items) if in_batch else len(experiment.corpus.joint)
        feature, width = experiment.dims.feature_width, model.width
        flops += 6.0 * num_items * (feature * width + feature * 2 * width + 2 * width * width)
    if experiment.encoder_config is not None:
        encoder = experiment.config.encoder
        rank = encoder.lora_rank if encoder.mode == "lora" else 0
        flops += stack_flops(experiment.encoder_config, _text_lengths(experiment, batch), rank)
    if model.user_tower == "transformer":
        flops += stack_flops(model, np.bincount(batch.segment_RS[batch.segment_RS > 0]))
    return flops


def _text_lengths(experiment: Experiment, batch: Batch) -> np.ndarray:
    """Tokens of each distinct item that the step encodes."""
    mask_IL = experiment.catalog.token_mask_IL
    if mask_IL is None:
        return np.zeros(0, np.int64)
    return np.concatenate([np.asarray(mask_IL)[ids[mask]].sum(axis=1) for ids, mask in batch.items])


def stack_flops(sizes: Any, lengths_N: np.ndarray, lora_rank: int = 0) -> float:
    """Of a transformer with MLPs four times its width over rows of these lengths; with a rank, adapters alone learn."""
    weights, adapters = 12 * sizes.width**2, 4 * sizes.width * lora_rank  # of a layer; two matrices on each of two
    a_token = (4 if lora_rank else 6) * weights + 6 * adapters
    return float(sizes.num_layers * (a_token * lengths_N.sum() + 12 * sizes.width * np.square(lengths_N).sum()))


def main() -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("--steps", type=int, default=30, help="steps on the clock")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args, fields = parser.parse_known_args()
    config, *_ = tyro.cli(config_parser(config_lib.load(args.config), "CONFIG"), args=[str(args.config), *fields])
    rows = measure(config, args.steps)
    show(rows, str(args.config), as_json=args.json, config=str(args.config))


if __name__ == "__main__":
    main()

"""How compile time grows with depth: `python benchmarks/compile_time.py [--json]`.

Compiles the quickstart's training step with an encoder of 2 and of 12 layers, in turn, on one device.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax

from benchmarks.report import show
from llmrec_jax import config as config_lib
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.step import train_step

LAYERS = (2, 12)


def compile_seconds(experiment: Experiment) -> float:
    """Trace, lower and compile the step."""
    state, batch = jax.eval_shape(experiment.init_state), make_batch(experiment.corpus.plan, 0)
    step: Any = jax.jit(lambda *args: train_step(*args, spec=experiment.spec))
    start = time.perf_counter()
    step.lower(state, batch, experiment.catalog).compile()
    return time.perf_counter() - start


def main() -> None:
    """Print the medians and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    args = parser.parse_args()
    config = config_lib.load(Path("configs/quickstart.py"))
    encoders = [dataclasses.replace(config.encoder, num_layers=layers) for layers in LAYERS]
    experiments = [experiment_lib.build(dataclasses.replace(config, encoder=encoder)) for encoder in encoders]
    seconds = [[compile_seconds(experiment) for experiment in experiments] for _ in range(args.repeats)]
    few, many = (statistics.median(column) for column in zip(*seconds, strict=True))
    rows: list[dict[str, Any]] = [
        {"work": f"compile, {layers} layers", "value": value, "unit": "s"}
        for layers, value in zip(LAYERS, (few, many), strict=True)
    ]
    rows.append({"work": "ratio", "value": many / few, "unit": ""})
    show(rows, "compile time by depth", as_json=args.json)


if __name__ == "__main__":
    main()

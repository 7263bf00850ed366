"""Time and memory of single settings of the trainer: `python benchmarks/switches.py --data-root DATA [--json]`.

The training step on one shop (`scientific`) with MiniLM in bfloat16, 8 histories a batch; each row changes one setting.
The last two rows have no encoder. Steps are timed in turn, several rounds, on a batch made beforehand. The one-time
cost of cached states and vectors is not included.
"""

import argparse
import dataclasses
import functools
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import jax
import numpy as np

from benchmarks.peers.__main__ import MINILM
from benchmarks.report import show
from llmrec_jax.config import AdaptConfig, Config, DataConfig, EncoderConfig, LossConfig, ModelConfig, TrainConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.step import train_step

REPEATS = 3
IDS: dict[str, dict[str, Any]] = {
    "model": {"item_features": "id", "compute_dtype": "float32"},
    "train": {"batch_size": 128},
}
SWITCHES: tuple[tuple[str, dict[str, dict[str, Any]]], ...] = (
    ("all of MiniLM learns", {}),
    ("encoder.chunk_size=16", {"encoder": {"chunk_size": 16}}),
    ("encoder.mode=lora", {"encoder": {"mode": "lora"}}),
    ("encoder.frozen_layers=4, their states kept", {"encoder": {"frozen_layers": 4}}),
    ("encoder.mode=frozen, the vectors kept", {"encoder": {"mode": "frozen"}}),
    ("ids, softmax over all items, all scores at once", {**IDS, "loss": {"ranking": "softmax", "block_size": 10**6}}),
    ("ids, softmax over all items, loss.block_size=2048", {**IDS, "loss": {"ranking": "softmax"}}),
)


def configured(args: argparse.Namespace, cache_dir: str, changes: dict[str, dict[str, Any]]) -> Config:
    """The base configuration with one switch turned."""
    config = Config(
        data=DataConfig(root=args.data_root, sources=(), target="scientific", max_tokens=64, cache_dir=cache_dir),
        encoder=EncoderConfig(pretrained=MINILM),
        model=ModelConfig(item_features="text", compute_dtype="bfloat16"),
        loss=LossConfig(ranking="in_batch"),
        adapt=AdaptConfig(method="none"),
        train=TrainConfig(batch_size=8),
    )
    sections = {name: dataclasses.replace(getattr(config, name), **fields) for name, fields in changes.items()}
    return dataclasses.replace(config, **sections)


class Stepper:
    """A compiled step with its state and one batch."""

    def __init__(self, config: Config):
        """Build the experiment as `train.py` does, and compile."""
        experiment = experiment_lib.build(config)
        layout = make_layout(config.mesh)
        self._state = layout.from_global(experiment.with_pretrained(layout.init(experiment.init_state)))
        self._inputs = layout.put_batch(make_batch(experiment.corpus.plan, 0)), layout.put_whole(experiment.catalog)
        spec = experiment.spec
        step: Any = layout.compile(functools.partial(train_step, spec=spec), self._state)
        self._step = step.lower(self._state, *self._inputs).compile()
        self.temporary_bytes = int(self._step.memory_analysis().temp_size_in_bytes)
        self.seconds()  # the first run touches its memory for the first time

    def seconds(self) -> float:
        """Take one step."""
        start = time.perf_counter()
        self._state, metrics = self._step(self._state, *self._inputs)
        jax.block_until_ready(metrics)
        return time.perf_counter() - start


def main() -> None:
    """Measure all in turn and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-root", required=True, help="the folder of the domain folder scientific")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        steppers = []
        for name, changes in SWITCHES:
            print(f"compiling: {name}", file=sys.stderr)
            steppers.append(Stepper(configured(args, cache, changes)))
        seconds = [[stepper.seconds() for stepper in steppers] for _ in range(REPEATS)]
    for (name, _), stepper, median in zip(SWITCHES, steppers, np.median(seconds, axis=0), strict=True):
        rows.append({"work": f"{name}: step", "value": 1e3 * float(median), "unit": "ms"})
        rows.append({"work": f"{name}: temporary memory", "value": stepper.temporary_bytes / 1e6, "unit": "MB"})
    show(rows, "MiniLM in the step, scientific", as_json=args.json)


if __name__ == "__main__":
    main()

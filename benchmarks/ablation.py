"""Cumulative ablation of the speed-ups: `python -m benchmarks.ablation --data-root DATA [--json]`.

Times the contrastive training step of the pretrained MiniLM on pairs of titles (see `benchmarks/peers`); each row adds
one change to the row before. All rows compute the same loss; the last one computes it in bfloat16.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.peers.__main__ import MINILM
from benchmarks.peers.ours import contrastive_step, titles
from benchmarks.peers.works import make_works
from benchmarks.report import show
from llmrec_jax.data.batches.buckets import NUM_BUCKETS
from llmrec_jax.models import from_pretrained
from llmrec_jax.models.fetch import fetch

ROWS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("every text of every pair, padded to the longest title", {}),
    ("+ each distinct text once", {"distinct": True}),
    ("+ two buckets by length", {"buckets": 2}),
    (f"+ {NUM_BUCKETS} buckets", {"buckets": NUM_BUCKETS}),
    ("+ remat: all but the products computed again", {"remat": "dots"}),
    ("+ bfloat16", {"dtype": jnp.bfloat16}),
)
REPEATS = 3


def main() -> None:
    """Time all rows in turn, several rounds; print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data-root", required=True, help="the folder of the domain folders beauty and scientific")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args()
    minilm = fetch(MINILM)
    with tempfile.TemporaryDirectory() as folder:
        make_works(args.data_root, minilm, Path(folder) / "cache", Path(folder))
        work = dict(np.load(Path(folder) / "minilm_step.npz"))
    encoder = from_pretrained(minilm, remat="none")
    switches: dict[str, Any] = {"distinct": False, "buckets": 1, "remat": "none", "dtype": jnp.float32}
    programs = []
    for _, change in ROWS:
        switches |= change
        programs.append(_program(encoder, work, **switches))
    seconds = np.array([[_seconds(*program) for program in programs] for _ in range(REPEATS)])
    medians = np.median(seconds, axis=0)
    rows = [
        {
            "work": name,
            "value": float(median),
            "unit": "s",
            "speed-up": float(medians[0] / median),
            "temporary MB": step.memory_analysis().temp_size_in_bytes / 1e6,
        }
        for (name, _), median, (step, *_) in zip(ROWS, medians, programs, strict=True)
    ]
    show(rows, "MiniLM step on titles", as_json=args.json)


def _program(encoder: Any, work: dict[str, np.ndarray], *, distinct: bool, buckets: int, **config: Any) -> Any:
    """The compiled step and its arguments."""
    graphdef = nnx.graphdef(
        nnx.eval_shape(lambda: type(encoder)(dataclasses.replace(encoder.config, **config), rngs=nnx.Rngs(0)))
    )
    step, state = contrastive_step(nnx.merge(graphdef, jax.tree.map(jnp.copy, nnx.state(encoder))))
    batches, prepared = titles(work, distinct=distinct, buckets=buckets)
    inputs = (*prepared(*batches[0]), jax.random.key(0))
    return step.lower(state, *inputs).compile(), state, inputs


def _seconds(step: Any, state: Any, inputs: Any) -> float:
    state = jax.block_until_ready(jax.tree.map(jnp.copy, state))  # the step takes its buffers
    start = time.perf_counter()
    jax.block_until_ready(step(state, *inputs))
    return time.perf_counter() - start


if __name__ == "__main__":
    main()

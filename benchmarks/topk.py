"""What finding the best items costs: `python benchmarks/topk.py [--items N] [--users N] [--width N] [--k N] [--json]`.

Exact, approximate (`jax.lax.approx_max_k`, which pays on TPUs only and only there misses any), and by NumPy: a matrix
product and `argpartition` for a batch of users at a time. Compilation and warm-up are off the clock.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import numpy as np

from benchmarks.report import show
from llmrec_jax.config import MeshConfig
from llmrec_jax.evaluate.topk import topk
from llmrec_jax.parallel import make_mesh

BATCH = 256  # users at a time


def measure(num_users: int, num_items: int, width: int, k: int, target: float, repeats: int) -> list[dict[str, Any]]:
    """The rows of the benchmark: {"work", "value", "unit"}."""
    rng = np.random.default_rng(0)
    users_ND, items_ID = (rng.standard_normal((rows, width), np.float32) for rows in (num_users, num_items))
    mesh = make_mesh(MeshConfig())

    def ours(approximate: float | None) -> np.ndarray:
        return topk(users_ND, items_ID, k, mesh=mesh, batch_size=BATCH, approximate=approximate).item_NK

    ways: dict[str, Callable[[], np.ndarray]] = {
        "exact": lambda: ours(None),
        f"approximate, asked for recall {target:g}": lambda: ours(target),
        "NumPy argpartition": lambda: by_partition(users_ND, items_ID, k),
    }
    found = {name: way() for name, way in ways.items()}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():  # in turn: what disturbs one disturbs all
            start = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - start)
    exact_NK, rows = found["exact"], []
    for name, item_NK in found.items():
        hits = sum(len(np.intersect1d(*pair)) for pair in zip(item_NK, exact_NK, strict=True))
        rows += [
            {"work": f"{name}, p50", "value": float(np.percentile(seconds[name], 50)), "unit": "s"},
            {"work": f"{name}, p90", "value": float(np.percentile(seconds[name], 90)), "unit": "s"},
            {"work": f"{name}, users", "value": num_users / float(np.median(seconds[name])), "unit": "1/s"},
            {"work": f"{name}, recall", "value": hits / exact_NK.size, "unit": "share"},
        ]
    return rows


def by_partition(users_ND: np.ndarray, items_ID: np.ndarray, k: int) -> np.ndarray:
    """The best items, best first, as one would write it without JAX."""
    parts = []
    for start in range(0, len(users_ND), BATCH):
        scores_BI = users_ND[start : start + BATCH] @ items_ID.T
        np.negative(scores_BI, out=scores_BI)
        item_BK = np.argpartition(scores_BI, k - 1, axis=1)[:, :k]
        order_BK = np.argsort(np.take_along_axis(scores_BI, item_BK, axis=1), axis=1)
        parts.append(np.take_along_axis(item_BK, order_BK, axis=1))
    return np.concatenate(parts)


def main(arguments: list[str] | None = None) -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1024)
    parser.add_argument("--width", type=int, default=64, help="of the vectors")
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--recall", type=float, default=0.95, help="asked of the approximate search")
    parser.add_argument("--repeats", type=int, default=5, help="searches on the clock")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(arguments)
    rows = measure(args.users, args.items, args.width, args.k, args.recall, args.repeats)
    title = f"the best {args.k} of {args.items:,} items for {args.users:,} users, width {args.width}"
    show(rows, title, as_json=args.json)


if __name__ == "__main__":
    main()

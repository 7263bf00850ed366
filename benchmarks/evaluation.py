"""Time and memory to rank a catalogue: `python benchmarks/evaluation.py [--items N] [--users N] [--width N] [--json]`.

With `--data-root DIR --domain NAME` users, items and histories are those of a real domain, with each user's last item
as the target; otherwise histories are random. Vectors are always random. Each user's exact rank among all items,
history masked, is computed `--repeats` times; compilation is not timed. Peak memory is that of the whole process,
vectors included.
"""

import argparse
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import numpy as np

from benchmarks.report import show
from llmrec_jax.config import MeshConfig
from llmrec_jax.data.domains import schema
from llmrec_jax.evaluate.ranking import metrics, rank
from llmrec_jax.parallel import make_mesh

HISTORY = 20  # seen items of a random user


class Work(NamedTuple):
    """Whom to rank what for."""

    users_ND: np.ndarray
    items_ID: np.ndarray
    target_N: np.ndarray
    seen: list[np.ndarray]


def random_work(num_users: int, num_items: int, width: int) -> Work:
    """Users who have seen items drawn at random."""
    rng = np.random.default_rng(0)
    seen = list(rng.integers(num_items, size=(num_users, HISTORY)))
    return Work(*_vectors(num_users, num_items, width), rng.integers(num_items, size=num_users, dtype=np.int32), seen)


def domain_work(folder: Path, width: int) -> Work:
    """The users of a domain folder: the last item of each is the target, those before it are the history."""
    raw = schema.read(folder, "skip")
    events = raw.events
    order = np.argsort(events.users_E, kind="stable")  # the file's order is the order of time
    histories = np.split(events.items_E[order], np.cumsum(np.bincount(events.users_E))[:-1])
    vectors = _vectors(len(histories), len(raw.items), width)
    return Work(*vectors, np.array([items[-1] for items in histories]), [items[:-1] for items in histories])


def _vectors(num_users: int, num_items: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    users_ND, items_ID = (rng.standard_normal((rows, width), np.float32) for rows in (num_users, num_items))
    return users_ND, items_ID


def run_rank(users_ND: np.ndarray, items_ID: np.ndarray, target_N: np.ndarray, seen: Sequence[np.ndarray]) -> dict:
    """The metrics of a piece of work, on all devices."""
    return metrics(rank(users_ND, items_ID, target_N, seen, mesh=make_mesh(MeshConfig())).rank_N)


def measure(work: Work, repeats: int) -> list[dict[str, Any]]:
    """The rows of the benchmark: {"work", "value", "unit"}."""
    seconds = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        run_rank(*work)
        seconds.append(time.perf_counter() - start)
    first, *seconds = seconds
    median, scores = float(np.median(seconds)), len(work.users_ND) * len(work.items_ID)
    rows: list[tuple[str, float, str]] = [
        ("compile and first evaluation", first, "s"),
        ("evaluation, p50", median, "s"),
        ("evaluation, p90", float(np.percentile(seconds, 90)), "s"),
        ("users", len(work.users_ND) / median, "1/s"),
        ("scores", 1e-9 * scores / median, "1e9/s"),
        ("model FLOPs", 2e-9 * scores * work.items_ID.shape[1] / median, "GFLOP/s"),
        ("table of item vectors", work.items_ID.nbytes / 2**20, "MiB"),
        ("peak memory of the process", peak_bytes() / 2**20, "MiB"),
    ]
    return [{"work": name, "value": value, "unit": unit} for name, value, unit in rows]


def peak_bytes() -> int:
    """The most memory this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def main(arguments: list[str] | None = None) -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--width", type=int, default=64, help="of the vectors")
    parser.add_argument("--data-root", type=Path, help="the folder of the domain folders, for real histories")
    parser.add_argument("--domain", default="beauty")
    parser.add_argument("--repeats", type=int, default=3, help="evaluations on the clock")
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(arguments)
    if args.data_root:
        work = domain_work(args.data_root / args.domain, args.width)
    else:
        work = random_work(args.users, args.items, args.width)
    rows = measure(work, args.repeats)
    title = f"{len(work.users_ND):,} users x {len(work.items_ID):,} items, width {args.width}"
    show(rows, title, as_json=args.json)


if __name__ == "__main__":
    main()

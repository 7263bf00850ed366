"""The report of a run: every predictor on every case, as rows, as a table, as `report.json`."""

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
from rich.text import Text

from llmrec_jax.data.corpus import Case, Corpus
from llmrec_jax.evaluate.baselines import Predictor
from llmrec_jax.evaluate.ranking import metrics, rank

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")


def evaluate_predictor(predictor: Predictor, case: Case, domain: str, *, mesh: Mesh, batch_size: int) -> dict[str, Any]:
    """One row of the report: exact metrics over the case's users, all items ranked, the history masked."""
    users_ND = predictor.users(case.histories)
    ranks = rank(users_ND, predictor.items_ID, case.target_N, case.histories, mesh=mesh, batch_size=batch_size)
    tied = float((ranks.ties_N > 0).mean()) if len(case.target_N) else 0.0
    row = {"method": predictor.name, "domain": domain, "split": case.split, "users": len(case.target_N)}
    return row | metrics(ranks.rank_N) | {"tied_users": tied}


def evaluate_predictors(
    predictors: Iterable[Predictor], corpus: Corpus, domain: int, *, mesh: Mesh, batch_size: int
) -> list[dict[str, Any]]:
    """Rows for every predictor on the validation and the test events of one domain."""
    cases = [corpus.case(domain, name) for name in ("valid", "test")]
    name = corpus.domains[domain].name
    return [
        evaluate_predictor(predictor, case, name, mesh=mesh, batch_size=batch_size)
        for predictor in predictors
        for case in cases
    ]


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
        # As `Text`: rich would take a name with [brackets] for markup.
        title = Text(f"{domain}, {split}, {rows[0]['users']:,} users", style="italic")
        table = Table(next(iter(rows[0])), title=title, title_justify="left")
        for name in names:
            table.add_column(name, justify="right")
        for row in rows:
            best = [row[name] == max(other[name] for other in rows) for name in names]
            cells = [Text(f"{row[n]:.4f}", "bold" if b else "") for n, b in zip(names, best, strict=True)]
            table.add_row(Text(next(iter(row.values()))), *cells)
        console.print(table)

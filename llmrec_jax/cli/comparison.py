"""The command `compare`: compares methods of finished runs."""

import json as json_lib
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text


def compare(workdirs: tyro.conf.Positional[tuple[Path, ...]], methods: tuple[str, ...] = ("answer",),
            html: Path | None = None, json: bool = False) -> int:  # fmt: skip
    """Compare finished runs, or methods of one run, on the same test events; the first is the reference.

    Runs whose configurations differ in the seed only are pooled. Runs with other test events are refused.

    Example: llmrec compare runs/a-seed0 runs/a-seed1 runs/b --methods answer

    Args:
      workdirs: Work folders of finished runs.
      methods: Methods of their reports, such as answer, model or ease.
      html: Also write the comparison as a page, with slices, curves and differences of the configurations.
      json: Print one JSON object.
    """
    from llmrec_jax.errors import UserError
    from llmrec_jax.evaluate import comparison
    from llmrec_jax.html import write_comparison
    from llmrec_jax.progress import shown

    if not workdirs or not methods:
        raise UserError("name at least one work folder and one method")
    found = comparison.compare(workdirs, methods)
    if html is not None:
        with shown("writing the page"):
            write_comparison(workdirs, methods, html)
    if json:
        print(json_lib.dumps(found, allow_nan=False))
        return 0
    print_comparison(found, Console())
    return 0


def print_comparison(found: dict[str, Any], console: Console) -> None:
    """Print the tables of a comparison (`evaluate.comparison.compare`)."""
    from llmrec_jax.evaluate.tables import print_lists

    console.print(_rows(found))
    if found["lists"]:
        print_lists(found["lists"], console)
    for part in found["slices"]:
        console.print(_slices(part, found["metric"]))


def _rows(found: dict[str, Any]) -> Table:
    title = f"test, {found['users']:,} users; difference in {found['metric']} to the first row, 95 % interval"
    table = Table("method", title=title, title_justify="left")
    for name in ("seeds", "recall@10", "ndcg@10", "difference", "interval"):
        table.add_column(name, justify="right")
    for row in found["rows"]:
        deviation = "" if row["deviation"] is None else f" ± {row['deviation']:.4f}"
        difference = interval = ""
        if "difference" in row:
            difference, interval = f"{row['difference']:+.4f}", "{:+.4f} to {:+.4f}".format(*row["interval_95"])
        cells = (str(row["seeds"]), f"{row['recall@10']:.4f}", f"{row['ndcg@10']:.4f}{deviation}", difference, interval)
        table.add_row(Text(row["method"]), *cells)
    return table


def _slices(part: dict[str, Any], metric: str) -> Table:
    names = list(part["rows"][0][metric])
    table = Table(part["by"], title=f"{metric} by {part['by']}", title_justify="left")
    for name in ("users", *names):
        table.add_column(Text(name), justify="right")
    for row in part["rows"]:
        table.add_row(row["values"], f"{row['users']:,}", *(f"{row[metric][name]:.4f}" for name in names))
    return table

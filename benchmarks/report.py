"""How a benchmark tells its rows: a table for people or, with `--json`, one document. Measures nothing."""

import json
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from llmrec_jax.evaluate.report import versions


def show(rows: Sequence[dict[str, Any]], title: str, *, as_json: bool, **facts: Any) -> None:
    """Print rows {"work", "value", "unit"}; the document also holds the versions and `facts`."""
    if as_json:
        print(json.dumps({**facts, "rows": rows, "versions": versions()}))
        return
    table = Table("work", "value", "unit", title=title, title_justify="left")
    for row in rows:
        table.add_row(row["work"], f"{row['value']:,.3f}", row["unit"])
    Console().print(table)

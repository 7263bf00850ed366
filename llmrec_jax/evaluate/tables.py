"""Prints an evaluation: metrics and measures of the lists in tables, then the verdict."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrec_jax.evaluate.lists import LENGTH
from llmrec_jax.evaluate.report import Evaluation


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the tables, the baselines left out, and the verdict."""
    print_table(evaluation.results, console)
    print_lists(evaluation.lists, console)
    print_tasks(evaluation.tasks, console)
    for baseline in evaluation.left_out:
        console.print(f"left out: {baseline['method']}: {baseline['reason']}", markup=False, highlight=False)
    console.print(evaluation.verdict.text, markup=False, highlight=False)


def print_table(results: list[dict[str, Any]], console: Console) -> None:
    """Print the results: a table per domain and split, with the best of each column in bold.

    A star marks methods that see data that the model does not; a line below the table names it.
    """
    for domain, split in dict.fromkeys((row["domain"], row["split"]) for row in results):
        rows = [row for row in results if (row["domain"], row["split"]) == (domain, split)]
        names = [name for name in rows[0] if "@" in name or name == "mrr"]
        title = Text(f"{domain}, {split}, {rows[0]['users']:,} users")
        table = Table(next(iter(rows[0])), title=title, title_justify="left")
        for name in names:
            table.add_column(name, justify="right")
        for row in rows:
            best = [row[name] == max(other[name] for other in rows) for name in names]
            cells = [Text(f"{row[n]:.4f}", style="bold" if b else "") for n, b in zip(names, best, strict=True)]
            table.add_row(Text(f"{next(iter(row.values()))}{' *' if 'sees' in row else ''}"), *cells)
        console.print(table)
        for sees in dict.fromkeys(row["sees"] for row in rows if "sees" in row):
            console.print(f"* sees {sees}, which the model does not", markup=False, highlight=False)


def print_tasks(rows: Sequence[dict[str, Any]], console: Console) -> None:
    """Print the metrics of the tasks, a table per task, split and domain; link prediction over all relations."""
    counted = ("users", "events", "lists", "texts", "triples")
    facts = {"task", "method", "domain", "split", "relation", *counted}
    rows = [row for row in rows if row.get("relation", "all") == "all"]
    for key in dict.fromkeys((row["task"], row["split"], row["domain"]) for row in rows):
        own, (task, split, domain) = [row for row in rows if (row["task"], row["split"], row["domain"]) == key], key
        names = [name for name in own[0] if name not in facts]
        counts = [f"{own[0][name]:,} {name}" for name in counted if name in own[0]]
        title = ", ".join([task, domain, split, *counts])
        table = Table("method", title=title, title_justify="left")
        for name in names:
            table.add_column(name, justify="right")
        for row in own:
            table.add_row(Text(row["method"]), *(f"{row[name]:.4f}" for name in names))
        console.print(table)


def print_lists(rows: list[dict[str, Any]], console: Console) -> None:
    """Print the measures of the recommended lists, see `lists.measures`."""
    names = [name for name in rows[0] if "@" in name]
    title = f"the first {LENGTH} items for {rows[0]['users']:,} test users"
    table = Table("method", title=title, title_justify="left")
    for name in names:
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(Text(row["method"]), *("-" if row[name] is None else f"{row[name]:.3f}" for name in names))
    console.print(table)

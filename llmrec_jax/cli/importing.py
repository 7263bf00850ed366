"""The command `import`: prints how files are read, asks on a terminal, shows the counts."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from llmrec_jax.cli.printing import clean, print_facts

if TYPE_CHECKING:
    from llmrec_jax.importers.plan import Plan
    from llmrec_jax.importers.table import Source
    from llmrec_jax.importers.write import Counts

Map = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="FIELD=COLUMN")]
Paths = tyro.conf.Positional[Annotated[tuple[str, ...], tyro.conf.arg(metavar="PATH...")]]
WIDTH = 40  # characters of a cell that is shown
IGNORED = 12  # ignored files that are listed


def import_(paths: Paths, to: Path, map: Map = (), json: bool = False) -> int:
    """Make a domain folder from your files: known data sets, tables of any kind, databases.

    Example: llmrec import orders.csv products.csv --to data/my_shop

    Recognised: MovieLens, Amazon reviews, RecBole, MIND, Goodreads, last.fm, TFDS; tables of orders and of products
    (CSV of any kind, Excel workbooks, JSON lines, Parquet, SQL databases), also in folders and archives. Rows that are
    left out are listed with the reason in left_out.csv.

    Args:
      paths: Files, folders, archives, database URLs (duckdb:///shop.duckdb?table=orders), or tfds:NAME.
      to: The folder to write; must be new or empty.
      map: The column of a field, if it is not recognised; may be repeated.
        user=customer, item=products.csv:nr, or rating= (not read).
      json: Print one JSON object.
    """
    from llmrec_jax import importers
    from llmrec_jax.errors import UserError

    if not paths:
        raise UserError("name the files to import, e.g. llmrec import orders.csv products.csv --to data/my_shop")
    plan = importers.plan(paths, map, _ask if sys.stdin.isatty() and sys.stderr.isatty() and not json else None)
    if not json:
        print("\n".join(_cleaned(_described(plan))), flush=True)
    counts = importers.write(plan, to)
    print_facts(json, _facts(plan, counts, to), *_counted(counts, to))
    return 0


def _cleaned(lines: Sequence[str]) -> list[str]:
    """Lines that are safe to print."""
    return [clean(line) for line in lines]


def _described(plan: "Plan") -> list[str]:
    """The mapping and the first rows."""
    from llmrec_jax.importers.preview import first_rows

    lines = [f"recognised: {plan.format}"]
    for what, sources in (("items", plan.items), ("interactions", plan.events)):
        lines += [f"  {what}: {source.table.name} ({source.table.syntax}): {_columns(source)}" for source in sources]
    read = [table for table in plan.ignored if table.note != "not data"]
    lines += [f"  not read: {table.name}{f': {table.note}' if table.note else ''}" for table in read[:IGNORED]]
    if len(read) > IGNORED:
        lines.append(f"  not read: {len(read) - IGNORED:,} more files")
    lines += [f"  {note}" for note in plan.notes]
    for what, row in first_rows(plan):
        lines.append(f"    {what}: " + ", ".join(f"{role} {cell[:WIDTH]!r}" for role, cell in row.items() if cell))
    return lines


def _columns(source: "Source") -> str:
    pairs = [role if role == column else f"{role} = {column}" for role, column in source.roles.items()]
    return ", ".join(pairs) + (f"; kept: {', '.join(source.attributes)}" if source.attributes else "")


def _facts(plan: "Plan", counts: "Counts", to: Path) -> dict[str, Any]:
    sources = [*plan.items, *plan.events]
    return {
        "folder": str(to),
        "format": plan.format,
        "mapping": {source.table.name: dict(source.roles) for source in sources},
        "ignored": {table.name: table.note for table in plan.ignored},
        "notes": plan.notes,
        "items": counts.items,
        "interactions": counts.interactions,
        "shown": counts.shown,
        "left_out": dict(counts.left_out),
    }


def _counted(counts: "Counts", to: Path) -> list[str]:
    """What was taken and what was not."""
    shown = f", {counts.shown:,} items that were only shown" if counts.shown else ""
    lines = [f"{to}: {counts.items:,} items, {counts.interactions:,} interactions{shown}"]
    if counts.unread_ratings:
        lines.append(f"  {counts.unread_ratings:,} ratings are no numbers: left empty")
    total = sum(counts.left_out.values())
    if total:
        lines.append(f"  left out: {total:,} row{'s' * (total > 1)}, listed in {to / 'left_out.csv'}")
        lines += [f"    {count:,} x {reason}" for reason, count in counts.left_out.most_common(10)]
    return [*lines, f"next: llmrec validate {to}"]


def _ask(question: str, choices: Sequence[str]) -> str | None:
    """Ask on the terminal for one of the choices; None if the answer is empty."""
    listed = "\n".join(f"  {n}: {clean(choice)}" for n, choice in enumerate(choices, 1))
    print(f"{clean(question)}\n{listed}", file=sys.stderr)
    while True:
        print("its number or name (Enter: none of them): ", end="", file=sys.stderr, flush=True)
        answer = sys.stdin.readline().strip()
        if not answer:
            return None
        if answer in choices:
            return answer
        if answer.isdigit() and 1 <= int(answer) <= len(choices):
            return choices[int(answer) - 1]

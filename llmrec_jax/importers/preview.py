"""The first rows of a plan as they will be imported, shown to the user before the import."""

import datetime
import math
from collections.abc import Iterator
from typing import Any

from llmrec_jax.data.domains.cells import identity, is_missing
from llmrec_jax.data.domains.times import EPOCH, PER_SECOND
from llmrec_jax.data.domains.writing import number_text
from llmrec_jax.importers import values
from llmrec_jax.importers.clock import Clock
from llmrec_jax.importers.columns import TEXTS, clock_of
from llmrec_jax.importers.plan import Plan


def first_rows(plan: Plan, count: int = 3) -> Iterator[tuple[str, dict[str, str]]]:
    """The first rows of the first catalogue and the first log: "items" or "interactions", and the values by role."""
    for what, sources in (("items", plan.items), ("interactions", plan.events)):
        for source in sources[:1]:
            clock = clock_of(source, whole=False)
            for cells in source.table.sample[:count]:
                row = dict(zip(source.table.columns, cells, strict=True))
                yield what, {role: _shown(role, row[column], clock) for role, column in source.roles.items()}


def _shown(role: str, cell: Any, clock: Clock | None) -> str:
    try:
        if role == "timestamp" and clock is not None and not is_missing(cell):
            since = datetime.timedelta(seconds=clock(cell) // PER_SECOND)
            return f"{EPOCH + since:%Y-%m-%d %H:%M:%S}"
        if role in ("rating", "weight", "price"):
            number = values.amount(cell) if role == "price" else values.number(cell)
            return "" if number is None or math.isnan(number) else number_text(number)
    except (ValueError, TypeError):
        return "?"
    return TEXTS[role](cell) if role in TEXTS else identity(cell)

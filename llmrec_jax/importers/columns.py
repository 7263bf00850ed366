"""How the cells of a log's columns are read: the form of its times, and whether a rating of 0 is one."""

import itertools

from llmrec_jax.importers.clock import Clock
from llmrec_jax.importers.plan import Source
from llmrec_jax.importers.profile import profile

BATCH = 10_000  # cells
ZEROS = 0.3  # share of zeros among ratings up to 5 or more from which 0 means that there is none


def clock_of(source: Source, whole: bool = True) -> Clock | None:
    """How to read the times of a log; None if it has none.

    If the sample does not tell whether the day or the month comes first, the whole column is read (if `whole`).
    """
    table, column = source.table, source.roles.get("timestamp")
    if column is None:
        return None
    day_first = table.separator != "," or _has_decimal_comma(source)
    clock = Clock(table.values(column), day_first)
    if clock.is_certain or not whole:
        return clock
    cells = (row[0] for _, row in table.read([column], None) if not isinstance(row, ValueError))
    for batch in iter(lambda: list(itertools.islice(cells, BATCH)), []):
        clock = Clock(batch, day_first)
        if clock.is_certain:
            break
    return clock


def zero_is_no_rating(source: Source) -> bool:
    """Whether a rating of 0 means that there is none: the format says so, or many are 0 on a scale up to 5 or more."""
    column = source.roles.get("rating")
    if column is None or source.table.zero_is_no_rating:
        return source.table.zero_is_no_rating
    found = profile(source.table, column)
    return found.is_whole and found.low == 0 and found.high >= 5 and found.zeros > ZEROS


def _has_decimal_comma(source: Source) -> bool:
    column = source.roles.get("rating")
    return column is not None and any("," in str(cell) for cell in source.table.values(column))

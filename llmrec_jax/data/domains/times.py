"""Parses time columns: seconds, milliseconds, microseconds or nanoseconds since 1970, or ISO 8601.

The unit is inferred from the number of digits. A column has one unit, the most
frequent one; `deviating` finds the rows of another.

Shape letters: E events in file order.
"""

import datetime

import numpy as np

from llmrec_jax.data.domains.settings import Settings

PER_SECOND = 1_000_000_000  # a time is a whole number of nanoseconds since 1970
NONE = -1  # no time

KINDS = ("nothing", "seconds", "milliseconds", "microseconds", "nanoseconds", "ISO 8601", "ISO 8601 with a time zone")
EMPTY, SECONDS, ISO, ZONED = 0, 1, 5, 6
SCALE = (0, 1_000_000_000, 1_000_000, 1_000, 1)
DIGITS = (11, 14, 17)  # maximum digits of seconds, milliseconds, microseconds
UNITS = {"s": 1, "ms": 2, "us": 3, "ns": 4}
LATEST = np.iinfo(np.int64).max
EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
MICROSECOND = datetime.timedelta(microseconds=1)


def parse_time(cell: str, unit: int | None) -> tuple[int, int]:
    """Returns the kind of a cell and its nanoseconds; `unit` is the declared kind of numbers. Raises ValueError."""
    if not cell:
        return EMPTY, NONE
    whole, _, fraction = cell.partition(".")
    if not (whole.isdigit() and whole.isascii()):
        return _parse_iso(cell)
    if fraction and not (fraction.isdigit() and fraction.isascii()):
        raise ValueError(_what_else(cell))
    digits = len(whole.lstrip("0"))
    kind = unit or next((kind for kind, most in enumerate(DIGITS, 1) if digits <= most), 4)
    scale = SCALE[kind]
    if digits > 19 or (time := int(whole) * scale) > LATEST:
        raise ValueError("timestamp is after the year 2262 in every unit")
    if fraction.strip("0"):
        time += int(fraction[:9].ljust(9, "0")) * scale // PER_SECOND
    return kind, time


def _parse_iso(cell: str) -> tuple[int, int]:
    try:
        time = datetime.datetime.fromisoformat(cell.replace(" UTC", "+00:00"))
    except ValueError:
        raise ValueError(_what_else(cell)) from None
    zoned = time.tzinfo is not None
    since = (time if zoned else time.replace(tzinfo=datetime.UTC)) - EPOCH
    if since < datetime.timedelta(0):
        raise ValueError("timestamp is before 1970")
    nanoseconds = since // MICROSECOND * 1_000
    if nanoseconds > LATEST:
        raise ValueError("timestamp is after the year 2262")
    return ZONED if zoned else ISO, nanoseconds


def _what_else(cell: str) -> str:
    try:
        number = float(cell)
    except ValueError:
        return "timestamp is neither a number nor an ISO 8601 time"
    if number < 0:
        return "timestamp is negative"
    if "e" in cell.casefold() and np.isfinite(number):
        return "timestamp is in scientific notation, which loses digits"
    return "timestamp is neither a number nor an ISO 8601 time"


def count_other_than_dates(time_E: np.ndarray) -> int:
    """The number of times, in seconds, that are not like 20200131, which is probably a date."""
    seconds_E = time_E[time_E != NONE] // PER_SECOND
    month_E, day_E = seconds_E // 100 % 100, seconds_E % 100
    year_E = seconds_E // 10_000
    dates_E = (year_E >= 1900) & (year_E <= 2100) & (month_E >= 1) & (month_E <= 12) & (day_E >= 1) & (day_E <= 31)
    return int((~dates_E).sum())


def deviating(kind_E: np.ndarray, kind: int, settings: Settings) -> dict[int, str]:
    """The rows whose kind is not that of the column, and the reason, by position.

    An empty cell in a column with times is an error, unless the declared order needs no times.
    """
    reasons = {}
    for position in np.flatnonzero(kind_E != kind):
        if kind_E[position] != EMPTY:
            reasons[int(position)] = (
                f"timestamp is in {KINDS[kind_E[position]]}, but most are in {KINDS[kind]}: a file has one unit"
            )
        elif settings.order not in ("sequence", "none"):
            reasons[int(position)] = "timestamp is empty, but other rows have one"
    return reasons

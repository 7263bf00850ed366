"""Parses the times of a column. A column has one format, which is inferred from its first values.

Forms: numbers since 1970 in s, ms, us or ns; Excel's days since 1900; 20200131; ISO 8601; day, month and year between
dots, slashes or dashes; English names of months. A time without a zone is taken as UTC.
"""

import datetime
import email.utils
import functools
import re
from collections.abc import Iterable
from typing import Any

from llmrec_jax.data.domains.cells import is_missing
from llmrec_jax.data.domains.times import DIGITS, EPOCH, LATEST, MICROSECOND, SCALE

NUMBER = re.compile(r"(\d+)(?:[.,](\d+))?")
COMPACT = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
CLOCK = r"(?:[ T,]+(?:um )?(?P<hour>\d{1,2})[:.](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?" \
        r"\s*(?P<half>[AaPp]\.?[Mm]\.?)?(?:\s*Uhr)?)?(?:\s*(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2}))?"  # fmt: skip
YEAR_LAST = re.compile(r"(?P<a>\d{1,2})(?P<mark>[./-])(?P<b>\d{1,2})(?P=mark)(?P<year>\d{4}|\d{2})" + CLOCK)
YEAR_FIRST = re.compile(r"(?P<year>\d{4})(?P<mark>[./-])(?P<a>\d{1,2})(?P=mark)(?P<b>\d{1,2})\.?" + CLOCK)
WRITTEN = (  # with English names of months
    "%a %b %d %H:%M:%S %z %Y", "%a %b %d %H:%M:%S %Y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%m %d, %Y",
    "%d-%b-%Y", "%d-%b-%y", "%d %b %Y %H:%M", "%d %b %Y %H:%M:%S", "%b %d, %Y %H:%M:%S", "%b %d, %Y %H:%M",
    "%b %d, %Y %I:%M %p", "%B %d, %Y %I:%M %p", "%b %d, %Y, %I:%M:%S %p", "%d %b %Y, %H:%M", "%B %d %Y", "%b %d %Y",
    "%d-%b-%Y %H:%M:%S", "%d/%b/%Y:%H:%M:%S %z",
)  # fmt: skip
EXCEL_EPOCH, EXCEL_DAYS = datetime.datetime(1899, 12, 30, tzinfo=datetime.UTC), (20_000, 80_000)
DAY = 86_400 * 10**9
UNKNOWN = "timestamp is not understood"
BEFORE = "timestamp is before 1970"


class Clock:
    """Turns the cells of a column into nanoseconds since 1970."""

    def __init__(self, sample: Iterable[Any], day_first: bool = True):
        """`day_first`: whether 01/02/2020 is in February if the sample does not tell; with dots it always is."""
        texts = [_text(value) for value in sample if not is_missing(value)]
        self.form = _form([text for text in texts if isinstance(text, str)])
        pairs = [(int(found["a"]), int(found["b"]), found["mark"]) for text in texts
                 if isinstance(text, str) and (found := YEAR_LAST.fullmatch(text))]  # fmt: skip
        self.is_certain = not pairs or any(max(a, b) > 12 or mark == "." for a, b, mark in pairs)
        if any(b > 12 for _, b, _ in pairs):
            day_first = False
        elif any(a > 12 for a, _, _ in pairs):
            day_first = True
        self.day_first = day_first or any(mark == "." for *_, mark in pairs)

    def __call__(self, value: Any) -> int:
        """Nanoseconds since 1970. Raises ValueError with the reason; the cell is not empty."""
        if isinstance(value, datetime.datetime):
            return _since(value)
        text = _text(value)
        if isinstance(text, datetime.date):
            return _since(datetime.datetime(text.year, text.month, text.day))
        number = NUMBER.fullmatch(text)
        if number:
            return self._number(number[1], number[2] or "")
        return _parse(text, self.day_first)

    def _number(self, whole: str, fraction: str) -> int:
        if self.form == "compact" and len(whole) in COMPACT:
            return _compact(whole)
        if self.form == "excel":
            since = datetime.timedelta(days=float(f"{whole}.{fraction or 0}"))
            return round((EXCEL_EPOCH + since - EPOCH) / datetime.timedelta(seconds=1)) * 10**9
        digits = len(whole.lstrip("0"))
        scale = SCALE[next((kind for kind, most in enumerate(DIGITS, 1) if digits <= most), 4)]
        if digits > 19 or (time := int(whole) * scale) > LATEST:
            raise ValueError(UNKNOWN)
        return time + (int(fraction[:9].ljust(9, "0")) * scale // 10**9 if fraction.strip("0") else 0)


def fits(values: Iterable[Any]) -> float:
    """The share of non-empty cells that are plausible times: dates, or numbers that mean 1980 to 2050."""
    cells = [value for value in values if not is_missing(value)]
    clock, good = Clock(cells), 0
    for value in cells:
        try:
            good += 10 * 365 * DAY < clock(value) < 80 * 365.25 * DAY
        except ValueError:
            continue
    return good / len(cells) if cells else 0.0


def _text(value: Any) -> Any:
    """A cell as text; dates are kept. A float is written without an exponent."""
    if isinstance(value, datetime.date):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.9f}"
    return str(value).strip()


def _form(texts: list[str]) -> str:
    """ "compact", "excel", "seconds" (numbers since 1970), "date" (day, month and year) or "other"."""
    numbers = [found for text in texts if (found := NUMBER.fullmatch(text))]
    if 2 * len(numbers) <= len(texts) or not numbers:
        return "date" if any(YEAR_LAST.fullmatch(text) for text in texts) else "other"
    wholes = [found[1] for found in numbers]
    if all(len(whole) in COMPACT and _is_compact(whole) for whole in wholes):
        return "compact"
    low, high = EXCEL_DAYS
    return "excel" if all(low < int(whole) < high for whole in wholes) else "seconds"


def _is_compact(whole: str) -> bool:
    try:
        return 1970 <= int(whole[:4]) <= 2100 and _compact(whole) >= 0
    except ValueError:
        return False


def _compact(whole: str) -> int:
    try:
        return _since(datetime.datetime.strptime(whole, COMPACT[len(whole)]))
    except ValueError:
        raise ValueError(UNKNOWN) from None


def _since(time: datetime.datetime) -> int:
    aware = time if time.tzinfo else time.replace(tzinfo=datetime.UTC)
    nanoseconds = (aware - EPOCH) // MICROSECOND * 1_000
    if nanoseconds < 0:
        raise ValueError(BEFORE)
    if nanoseconds > LATEST:
        raise ValueError("timestamp is after the year 2262")
    return nanoseconds


@functools.lru_cache(2**16)
def _parse(text: str, day_first: bool) -> int:
    try:
        return _since(datetime.datetime.fromisoformat(text.replace(" UTC", "+00:00")))
    except ValueError as error:
        if str(error) == BEFORE:
            raise
    found = YEAR_FIRST.fullmatch(text) or YEAR_LAST.fullmatch(text)
    if found:
        return _since(_assembled(found, day_first))
    for form in WRITTEN:
        try:
            return _since(datetime.datetime.strptime(text, form))
        except ValueError as error:
            if str(error) == BEFORE:
                raise
    try:
        return _since(email.utils.parsedate_to_datetime(text))
    except (ValueError, TypeError, IndexError):
        raise ValueError(UNKNOWN) from None


def _assembled(found: re.Match[str], day_first: bool) -> datetime.datetime:
    a, b, year = int(found["a"]), int(found["b"]), int(found["year"])
    if found.re is YEAR_LAST and (day_first or found["mark"] == "."):
        a, b = b, a  # month, day
    if year < 100:
        year += 2000 if year < 70 else 1900
    hour, half = int(found["hour"] or 0), (found["half"] or "").lower().replace(".", "")
    if half:
        hour = hour % 12 + 12 * (half == "pm")
    zone = found["zone"] or "Z"
    try:
        time = datetime.datetime(year, a, b, hour, int(found["minute"] or 0), int(found["second"] or 0),
                                 int((found["part"] or "")[:6].ljust(6, "0")))  # fmt: skip
        aware = f"+{0:02d}:00" if zone in ("Z", "UTC", "GMT") else zone
        return datetime.datetime.fromisoformat(time.isoformat() + aware)
    except ValueError:
        raise ValueError(UNKNOWN) from None

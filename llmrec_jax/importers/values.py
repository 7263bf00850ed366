"""Turns cells into ids, numbers and texts. A cell is a text, or a value of JSON or a database."""

import ast
import datetime
import decimal
import json
import math
import re
from collections.abc import Iterator
from typing import Any

from llmrec_jax.data.domains.cells import is_missing

LISTED = re.compile(r"[^|]+(\|[^|]+)+")  # genres of MovieLens: "Drama|Comedy"
NOTHING = {"(no genres listed)", "[]", "{}"}
NUMBER = re.compile(r"[-+]?(\d{1,3}([.,' \u00a0]\d{3})+|\d+)?([.,]\d+)?")
AMOUNT = re.compile(r"\d[\d.,' \u00a0]*")
THOUSAND = re.compile(r"[1-9]\d{0,2}[.,]\d{3}")  # in a price, which has two decimals at most
MAX_LITERAL = 100_000  # characters of a text that is parsed as a list
SPACE = re.compile(r"\s+")


def number(value: Any) -> float:
    """A number; also "4,5", "1.234,50" and "4.5 stars". NaN if the cell is empty. Raises ValueError."""
    if is_missing(value):
        return math.nan
    if isinstance(value, str):
        text = value.strip()
        try:
            found = float(text)
        except ValueError:
            found = _localised(text)
    else:
        found = float(value)
    if not math.isfinite(found):
        raise ValueError("not a finite number")
    return found


def amount(value: Any) -> float | None:
    """The first number in a price: "$12.99", "12,99 EUR", "from 12.99", "$1,299". None if there is none."""
    if isinstance(value, str):
        found = AMOUNT.search(value)
        first = found[0].strip(" .,'\u00a0") if found else ""
        # A plain "1.299" is a number as programs write it, "1,299" and "1.299 EUR" are prices as people do.
        if THOUSAND.fullmatch(first) and ("," in first or first != value.strip()):
            first = re.sub("[.,]", "", first)
        value = first
    try:
        price = number(value)
    except (ValueError, TypeError):
        return None
    return None if math.isnan(price) else price


def _localised(text: str) -> float:
    """A number with a decimal comma or with marks between thousands."""
    text = text.split(" ")[0] if not NUMBER.fullmatch(text) else text
    if not NUMBER.fullmatch(text) or not any(map(str.isdigit, text)):
        raise ValueError("not a number")
    text = re.sub(r"[' \u00a0]", "", text)
    point = max(text.rfind("."), text.rfind(","))
    if point >= 0 and text.count(text[point]) > 1:
        return float(re.sub("[.,]", "", text))  # 1.234.567
    whole, fraction = (text[:point], text[point + 1 :]) if point >= 0 else (text, "")
    return float(f"{re.sub('[.,]', '', whole) or 0}.{fraction or 0}")


def text(value: Any) -> str:
    """A title on one line; "" if the cell is empty. A text is taken as it is, other values as in `names`."""
    if isinstance(value, str):
        return "" if is_missing(value) else _one_line(value)
    return names(value)


def paragraphs(value: Any) -> str:
    """A description on one line; lists are joined with blanks."""
    return _one_line(" ".join(_flat(value, split=False)))


def names(value: Any) -> str:
    """Names of brands or categories: lists, also written as text, are joined with commas; of objects their names."""
    return _one_line(", ".join(dict.fromkeys(_flat(value, split=True))))


def _one_line(joined: str) -> str:
    joined = joined.replace("\0", "")
    if "\n" in joined or "\r" in joined or "\t" in joined:
        joined = SPACE.sub(" ", joined)
    return joined.encode(errors="replace").decode().strip()


def _flat(value: Any, split: bool) -> Iterator[str]:
    """The texts in a value; with `split`, a text with "|" is several."""
    if isinstance(value, str):
        stripped = value.strip()
        if is_missing(stripped) or stripped in NOTHING:
            return
        if stripped[0] in "[{" and (parsed := _literal(stripped)) is not None:
            yield from _flat(parsed, split)
        elif split and LISTED.fullmatch(stripped):
            yield from filter(None, map(str.strip, stripped.split("|")))
        else:
            yield stripped
    elif isinstance(value, list | tuple | set):
        for part in value:
            yield from _flat(part, split)
    elif isinstance(value, dict):
        yield from _flat(next((value[key] for key in ("name", "title", "value", "label") if key in value), None), split)
    elif isinstance(value, bytes):
        yield value.decode(errors="replace")
    elif hasattr(value, "tolist"):  # of NumPy
        yield from _flat(value.tolist(), split)
    elif not is_missing(value):
        yield str(value)


def _literal(written: str) -> Any:
    """The list or object that a text is, in JSON or Python; None if it is neither. No code is run."""
    if len(written) > MAX_LITERAL or written[-1] not in "]}":
        return None
    for parse in (json.loads, ast.literal_eval):
        try:
            return parse(written)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
    return None


def attribute(value: Any, is_number: bool) -> str | float | decimal.Decimal | datetime.date | None:
    """A cell of a column without a meaning of its own: a number, a date, or a short text; None if it is none of these.

    `is_number`: the column holds numbers, perhaps written as text.
    """
    if is_number and isinstance(value, str):
        try:
            value = number(value)
        except ValueError:
            return None
    if is_missing(value):
        return None
    if isinstance(value, int | float | decimal.Decimal | datetime.date):
        return value
    if not isinstance(value, str) or len(value) > 200 or value.startswith(("http:", "https:", "[", "{", "//")):
        return None
    return _one_line(value) or None

"""Reads single cells of tables and frames: which are empty, and ids as text."""

import re
from typing import Any

EMPTY = {"", "nan", "NaN", "NaT", "None", "NULL", "null", "\\N", "<NA>", "0000-00-00 00:00:00"}
WHOLE = re.compile(r"(\d+)\.0+")


def is_missing(value: Any) -> bool:
    """Whether a cell is empty: None, NaN, or one of the texts that programs write for these."""
    if isinstance(value, str):
        return value.strip() in EMPTY
    if value is None or (isinstance(value, float) and value != value):
        return True
    return type(value).__name__ in ("NAType", "NaTType")  # of pandas


def identity(value: Any) -> str:
    """An id as text; "" if the cell is empty. 3.0 is 3, as where pandas had to make room for NaN."""
    if isinstance(value, str):
        value = value.strip()
        if value in EMPTY:
            return ""
        match = WHOLE.fullmatch(value) if value.endswith("0") else None
        return match[1] if match else value
    if is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bytes):
        return value.decode(errors="replace").strip()
    return str(value).strip()

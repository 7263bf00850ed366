"""Fields of items as filters read them: category, brand and attributes, as texts or as numbers.

Shape letters: those of `types`.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.inference.bundle import BundleItem

PARTS = re.compile(r"\s*[,;>|/]\s*")  # between the levels of a category
NUMBER = re.compile(r"[^\d.,+-]*([+-]?\d+(?:\.\d+)?)[^\d.,]*")  # "$12.50", "12 EUR"
NAMED = ("category", "brand")


class FieldIndex(NamedTuple):
    """The items by the values of one field."""

    items: dict[str, np.ndarray]  # a value or one of its parts, in lowercase -> item numbers
    numbers_I: np.ndarray  # float64; NaN: no value, or not a number


def field_names(items: Sequence[BundleItem]) -> list[str]:
    """The fields that at least one item has, sorted."""
    names = {name for item in items for name in item.attributes}
    return sorted(names | {name for name in NAMED if any(getattr(item, name) for item in items)})


def value_of(item: BundleItem, name: str) -> str | float | None:
    """The value of a field; None if the item has none."""
    return getattr(item, name) if name in NAMED else item.attributes.get(name)


def index_field(items: Sequence[BundleItem], name: str) -> FieldIndex:
    """Index one field. A text is found by the whole of it and by each part between , ; > | and /."""
    found: dict[str, list[int]] = defaultdict(list)
    numbers_I = np.full(len(items), np.nan)
    for number, item in enumerate(items):
        value = value_of(item, name)
        if value is None:
            continue
        numbers_I[number] = as_number(value)
        for key in keys_of(value):
            found[key].append(number)
    return FieldIndex({key: np.array(numbers) for key, numbers in found.items()}, numbers_I)


def keys_of(value: str | float) -> set[str]:
    """Under what a value is found. A number has all of its digits, such as those of an ISBN, and 20.0 is 20."""
    if not isinstance(value, str):
        return {str(int(value) if isinstance(value, float) and value.is_integer() else value)}
    text = value.strip().casefold()
    return {text, *PARTS.split(text)} - {""}


def as_number(value: str | float) -> float:
    """The number that a value is, or that a text holds between other signs ("$12.50"); else NaN."""
    if not isinstance(value, str):
        return float(value)
    match = NUMBER.fullmatch(value.strip())
    return float(match[1]) if match else np.nan

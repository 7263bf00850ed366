"""Checks the arguments of `Recommender`: ids, counts, texts and new items."""

import operator
import warnings
from collections.abc import Container, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np

from llmrec_jax.data.domains.records import TEXT_FIELDS, Item, attributes, check_item
from llmrec_jax.errors import UserError
from llmrec_jax.inference.bundle import BundleItem

FIELDS = ("item_id", *TEXT_FIELDS, "facts")


def as_ids(values: Iterable[Any], known: Container[str], name: str = "history") -> list[str]:
    """The ids in an argument (`name`) as strings. An integer is read as the id with the same digits, if it exists.

    Raises:
      ValueError: it is not a list of ids, or an id is not a string.
    """
    of = "the history" if name == "history" else name
    return [_id(value, f"item {n} of {of}", known) for n, value in enumerate(_listed(values, name, "ids"))]


def as_count(k: Any, name: str = "k") -> int:
    """The number of items to recommend. Raises ValueError unless `k` is a whole number of at least 1."""
    try:
        count = int(k) if isinstance(k, float | np.floating) and float(k).is_integer() else operator.index(k)
    except TypeError:
        raise UserError(f"{name}={k!r}: not a whole number") from None
    if isinstance(k, bool | np.bool_):
        raise UserError(f"{name}={k!r}: not a whole number")
    if count < 1:
        raise UserError(f"{name}={count}: ask for at least one item")
    return count


def as_share(value: Any, name: str) -> float:
    """A number from 0 to 1. Raises ValueError for anything else."""
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    if not is_number or not 0 <= value <= 1:
        raise UserError(f"{name}={value!r}: not a number from 0 to 1")
    return float(value)


def as_times(times: Iterable[Any], size: int) -> np.ndarray:
    """The times of the events of a history as whole seconds, int64 [size].

    Raises:
      ValueError: they are not `size` finite numbers in ascending order.
    """
    seconds: list[int] = []
    for position, time in enumerate(_listed(times, "times", "numbers")):
        is_number = isinstance(time, int | float | np.integer | np.floating) and not isinstance(time, bool)
        if not is_number or not abs(time) < 2**61:
            raise UserError(f"time {position}: {time!r} is not a time in seconds")
        seconds.append(int(time))
        if position and seconds[-1] < seconds[-2]:
            raise UserError(f"time {position} is before time {position - 1}: a history is given oldest first")
    if len(seconds) != size:
        raise UserError(f"{len(seconds)} times for a history of {size} items")
    return np.array(seconds, np.int64)


def as_texts(texts: Iterable[Any]) -> list[str]:
    """Texts to encode. Raises ValueError if one is not a string or not valid Unicode."""
    listed = _listed(texts, "texts", "texts")
    for position, text in enumerate(listed):
        if not isinstance(text, str):
            raise UserError(f"text {position}: {text!r} is not a string")
        _check_unicode(text, f"text {position}")
    return listed


def as_items(items: Iterable[Any], taken: Container[str], domain: str = "") -> list[BundleItem]:
    """New items from dicts with `item_id`, `title` and, optionally, `brand`, `category`, `description`, `facts`.

    Other fields are attributes if they are texts or numbers. Warns of the rest, which is not read.

    Raises:
      ValueError: a field is missing or has the wrong type, or an id is taken or repeated; gives the item's position.
    """
    new: list[BundleItem] = []
    ids: set[str] = set()
    others: set[str] = set()
    for position, fields in enumerate(_listed(items, "items", "dicts")):
        try:
            item = _item(fields)
        except (ValueError, msgspec.ValidationError) as error:
            raise UserError(f"item {position}: {error}") from error
        item_id = item.item_id
        if item_id in taken or item_id in ids:
            raise UserError(f"item {position}: the id {item_id!r} is taken")
        ids.add(item_id)
        rest = {name: value for name, value in fields.items() if name not in FIELDS}
        found = attributes(rest) if rest else {}
        others |= {str(name) for name, value in rest.items() if name not in found and value is not None}
        new.append(BundleItem(item_id, item.title, domain, item.category, item.brand, item.description, item.facts,
                              found, is_new=True))  # fmt: skip
    if others:
        warnings.warn(f"fields of the items that are not read: {', '.join(sorted(others))}", stacklevel=3)
    return new


def _item(fields: Any) -> Item:
    if not isinstance(fields, Mapping):
        raise ValueError(f"{fields!r} is not a dict with item_id and title")
    fields = {name: value for name, value in fields.items() if name in FIELDS}
    if _is_integer(fields.get("item_id")):
        fields["item_id"] = str(int(fields["item_id"]))
    item = msgspec.convert(fields, Item)
    check_item(item)
    for name in ("item_id", *TEXT_FIELDS):
        _check_unicode(getattr(item, name) or "", name)
    for fact in item.facts:
        _check_unicode("".join(fact), "facts")
    return item


def _id(value: Any, what: str, known: Container[str]) -> str:
    if isinstance(value, str):
        return str(value)
    if _is_integer(value):
        if str(int(value)) in known:
            return str(int(value))
        raise UserError(f"{what} is the integer {int(value)}: ids are strings, and none is {str(int(value))!r}")
    raise UserError(f"{what} is {value!r}, a {type(value).__name__}: ids are strings")


def _listed(values: Any, name: str, of: str) -> list[Any]:
    if isinstance(values, str | bytes | Mapping):
        raise UserError(f"{name} is a {type(values).__name__}; pass a list of {of}, also for one: [...]")
    if isinstance(values, set | frozenset):
        raise UserError(f"{name} is a set, which has no order; pass a list of {of}")
    try:
        return list(values)
    except TypeError:
        raise UserError(f"{name} is {values!r}; pass a list of {of}") from None


def _is_integer(value: Any) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _check_unicode(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{what}: character {error.start} is half of a surrogate pair, not valid Unicode") from None

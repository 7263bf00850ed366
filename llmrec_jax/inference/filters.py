"""Selects the items that may be recommended: by a filter (`where`), by a list of ids (`among`), and not removed.

    where={"category": "novel"}                      one value
    where={"brand": ["Ada", "Bo"], "category": "x"}  any of several values, in all of the fields
    where={"price": {"min": 5, "max": 20}}           a number in a range, both ends included

Texts are compared without case, with the whole value of the field or with a part of it between , ; > | and /.

Shape letters besides those of `types.py`: J items of the shelf, which are those of one shop.
"""

import math
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, TypeAlias

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.inference.arguments import as_ids
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.inference.fields import FieldIndex, keys_of

BOUNDS = {"min", "max"}
Condition: TypeAlias = str | float | Sequence[str | float] | Set[str | float] | Mapping[str, float]
Where: TypeAlias = Mapping[str, Condition]


def allowed(catalog: Catalog, shop: str, where: Where | None, among: Iterable[Any] | None) -> np.ndarray:
    """Which items of `shop` may be recommended, bool [J]. Unknown ids in `among` are ignored.

    Raises:
      ValueError: `where` names a field that no item has, or its values are not as in the file's head; `among` is not a
        list of ids.
    """
    shelf_J = catalog.shelf(shop)
    allowed_J = catalog.is_offered_I[shelf_J]
    for name, wanted in _conditions(where).items():
        if name not in catalog.field_names:
            known = ", ".join(catalog.field_names) or "none"
            raise UserError(f"where: no item has a field {name!r}; fields of the items: {known}")
        allowed_J &= _matches(catalog.field(name), name, wanted)[shelf_J]
    if among is not None:
        number = catalog.number_in(shop)
        listed = as_ids(sorted(among, key=str) if isinstance(among, set | frozenset) else among, number, "among")
        is_listed_I = np.zeros(len(catalog.items), bool)
        is_listed_I[[number[item_id] for item_id in listed if item_id in number]] = True
        allowed_J &= is_listed_I[shelf_J]
    return allowed_J


def _conditions(where: Any) -> Mapping[str, Any]:
    if where is not None and not isinstance(where, Mapping):
        raise UserError(f'where is a {type(where).__name__}; pass a dict such as {{"category": "novel"}}')
    return where or {}


def _matches(index: FieldIndex, name: str, wanted: Any) -> np.ndarray:
    """Whether each item of the catalogue has a wanted value, bool [I]."""
    if isinstance(wanted, Mapping):
        low, high = _bounds(name, wanted)
        return (index.numbers_I >= low) & (index.numbers_I <= high)
    found_I = np.zeros(len(index.numbers_I), bool)
    for value in wanted if isinstance(wanted, list | tuple | set | frozenset) else [wanted]:
        if isinstance(value, bool) or not isinstance(value, str | int | float | np.number):
            raise UserError(f"where: {name}: {value!r} is neither a text nor a number")
        value = value.item() if isinstance(value, np.number) else value
        for key in [value.strip().casefold()] if isinstance(value, str) else keys_of(value):
            found_I[index.items.get(key, [])] = True
    return found_I


def _bounds(name: str, wanted: Mapping[str, Any]) -> tuple[float, float]:
    if not wanted or set(wanted) - BOUNDS:
        raise UserError(f'where: {name}: {dict(wanted)!r} is not a range such as {{"min": 1, "max": 20}}')
    for bound, value in wanted.items():
        if isinstance(value, bool) or not isinstance(value, int | float | np.number) or math.isnan(value):
            raise UserError(f"where: {name}: {bound} is {value!r}, not a number")
    low, high = wanted.get("min", -math.inf), wanted.get("max", math.inf)
    if low > high:
        raise UserError(f"where: {name}: min is {low} and max is {high}: no number is in this range")
    return low, high

"""Checks the ids of `interactions.csv`, and guesses why many are not among those of `items.jsonl`."""

import re
from collections.abc import Mapping

from llmrec_jax.data.domains.folders import is_text
from llmrec_jax.data.domains.records import check_id


def check_readable_id(field: str, value: str) -> None:
    """Raises ValueError if the text of a cell is not a valid id."""
    if not is_text(value):
        raise ValueError("not UTF-8")
    check_id(field, value)


def likely_cause(unknown: set[str], numbers: Mapping[str, int]) -> str:
    """A likely cause of unknown ids: a conversion after which at least half of them match."""
    changes = (
        ("in upper and lower case", str.casefold),
        ("in leading zeros", lambda item_id: item_id.lstrip("0")),
        ("in quotes, blanks or punctuation", lambda item_id: re.sub(r"\W", "", item_id)),
    )
    for how, change in changes:
        known = {change(item_id) for item_id in numbers}
        if 2 * sum(change(item_id) in known for item_id in unknown) >= len(unknown):
            return f"the ids of the two files differ {how}: write them alike"
    if sum(re.fullmatch(r"\d[.,]\d+[eE]\+?\d+", item_id) is not None for item_id in unknown):
        return "ids are in scientific notation: a spreadsheet shortened them; export them as text"
    return ""

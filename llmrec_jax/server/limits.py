"""Limits of a server, and the check of a decoded request against them. `openapi` writes the same bounds."""

import dataclasses
from typing import Any

import msgspec

from llmrec_jax.server.errors import ApiError


@dataclasses.dataclass(frozen=True)
class Limits:
    """Requests over a limit are refused: 413 for the body, 422 for its fields, 429 if too many, 503 if too slow."""

    body_bytes: int = 2 * 1024 * 1024
    """Size of a request's body."""
    text_chars: int = 10_000
    """Characters of any text, such as a search query or a description."""
    k: int = 1_000
    """Items of a response."""
    ids: int = 10_000
    """Ids of a list: history, disliked, among, item_ids."""
    items: int = 1_000
    """Items added by one request."""
    added_items: int = 100_000
    """Items that a bundle holds beside those of its files."""
    texts: int = 32
    """Texts of one request for embeddings."""
    conditions: int = 100
    """Fields of `where`, and values of one field."""
    batch: int = 32
    """Requests for recommendations that are computed together."""
    concurrency: int = 256
    """Requests in progress; further ones get 429."""
    timeout: float = 30.0
    """Seconds for a request, from its first byte to its response."""


# For each name of a field, the limit on its value: the length of a list or a dict, or the value of an integer.
BOUND = {
    "history": "ids", "disliked": "ids", "among": "ids", "item_ids": "ids", "items": "items", "input": "texts",
    "k": "k", "new": "k", "limit": "k", "where": "conditions",
}  # fmt: skip


def bound(limits: Limits, field: str) -> int:
    """The limit on the length of a list or dict, or on the value of an integer."""
    return getattr(limits, BOUND.get(field, "conditions"))


def check(value: Any, limits: Limits, field: str = "", name: str = "") -> None:
    """Raise ApiError (422) if a value of a request is over a limit. `field` is its path, `name` the last part of it."""
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            check(getattr(value, name), limits, f"{field}.{name}" if field else name, name)
    elif isinstance(value, str):
        if len(value) > limits.text_chars:
            raise ApiError(422, f"{field}: {len(value):,} characters, at most {limits.text_chars:,}", field)
    elif isinstance(value, list | dict):
        if len(value) > (most := bound(limits, name)):
            raise ApiError(422, f"{field}: {len(value):,} entries, at most {most:,}", field)
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(key, str):
                check(key, limits, field)
            check(entry, limits, f"{field}.{key}" if isinstance(key, str) else f"{field}[{key}]")
    elif isinstance(value, int) and name in BOUND and value > (most := bound(limits, name)):
        raise ApiError(422, f"{field}: {value}, at most {most:,}", field)

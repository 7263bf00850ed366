"""Small domain folders for the tests of reading and preparing data."""

import json
from collections.abc import Sequence
from pathlib import Path

from llmrec_jax.data.domains import schema
from llmrec_jax.data.domains.problems import BadRecord, DataError

ITEMS = (b'{"item_id": "a", "title": "One"}', b'{"item_id": "b", "title": "Two", "brand": null, "unknown": [1]}')
HEADER = b"user_id,item_id,rating,timestamp"


def folder_of(
    path: Path, items: Sequence[bytes] = ITEMS, rows: Sequence[bytes] = (HEADER, b"u,a,,1"), **settings: object
) -> Path:
    """A folder of these lines; `settings` become its domain.json."""
    path.mkdir(exist_ok=True)
    (path / "items.jsonl").write_bytes(b"\n".join(items))
    (path / "interactions.csv").write_bytes(b"\n".join(rows))
    (path / "domain.json").unlink(missing_ok=True)
    if settings:
        (path / "domain.json").write_text(json.dumps(settings))
    return path


def problems(folder: Path) -> list[BadRecord]:
    """All that is wrong with a folder."""
    try:
        schema.read(folder, "fail")
    except DataError as error:
        return error.records
    return []


def error_of(folder: Path) -> str:
    """The message about a folder that cannot be used."""
    try:
        schema.read(folder, "fail")
    except DataError as error:
        return str(error)
    raise AssertionError("the folder is sound")

"""Converts a domain folder to a prepared folder: events sorted and numbered, stored under a content hash.

A prepared folder has the events as arrays to memory-map, and ids and texts as JSON. `schema.py` checks the records.

Shape letters: E events of the domain, users end to end.
"""

import dataclasses
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmrec_jax.data.domains import schema
from llmrec_jax.data.domains.arrange import arrange
from llmrec_jax.data.domains.folders import EVENTS, GRAPH, ITEMS, decompressed, find, find_log, has
from llmrec_jax.data.domains.problems import BadRecord
from llmrec_jax.data.domains.records import Item, attributes
from llmrec_jax.data.domains.settings import FIELDS, Order, Settings, read_settings
from llmrec_jax.data.domains.summary import Summary
from llmrec_jax.errors import UserError

FORMAT = 3  # version of the prepared folder: incrementing it prepares all domains again
HEADER_BYTES = 2**16  # more than any header has
HASH_BLOCK = 2**18  # bytes that are read at once
REPEATS = "{n} repeats of an item by the same user dropped: the first is kept"


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """The content of a prepared folder."""

    items: list[Item]
    user_ids: list[str]
    arrays: dict[str, np.ndarray]  # see `arrange.Part`
    order: Order
    report: dict[str, Any]  # counts, the order and its reason, notes, skipped records
    bad: Iterable[BadRecord]


def build(folder: Path, on_bad_record: schema.OnBadRecord, min_rating: float | None) -> Prepared:
    """Read a domain folder, drop low ratings and repeats, and sort. Raises `DataError` and `UserError`."""
    raw = schema.read(folder, on_bad_record)
    part = arrange([item.item_id for item in raw.items], raw.events, raw.order, min_rating)
    used = len(np.unique(part.arrays["items_E"]))
    report = describe(folder, raw, part.summary, len(part.user_ids), used, min_rating, raw.events.shown_E is not None)
    return Prepared(raw.items, part.user_ids, part.arrays, raw.order, report, raw.findings.bad)


def describe(
    folder: Path,
    raw: schema.RawDomain[Any],
    summary: Summary,
    users: int,
    used: int,
    min_rating: float | None,
    has_lists: bool,
) -> dict[str, Any]:
    """The report of a prepared domain; `used` is the number of items with interactions.

    Raises `UserError` if there is no interaction.
    """
    if not summary.rows:
        raise UserError(f"{folder}: no interaction: no row of {EVENTS} is a click")
    if summary.below == summary.rows:
        scale = f"all ratings are lower, from {summary.lowest_rating:g} to {summary.highest_rating:g}"
        raise UserError(f"{folder}: data.min_rating={min_rating:g} leaves no interaction: {scale}")
    findings = raw.findings
    if has_lists:
        findings.notes.append(f"{summary.lists:,} lists of shown items (impression_id, action)")
    findings.note(summary.repeats, f"{REPEATS}, with the largest weight" if summary.has_weights else REPEATS)
    findings.notes += summary.tie_notes() if raw.order == "timestamp" else []
    findings.notes += summary.rating_notes(min_rating) + summary.weight_notes()
    skipped = {f"{file}: {reason}": count for (file, reason), count in findings.skipped().items()}
    if findings.consequences:
        skipped[f"{EVENTS}: the line of the item is bad"] = findings.consequences
    report = {
        "users": users,
        "items": len(raw.items),
        "interactions": summary.interactions,
        "repeats_dropped": summary.repeats,
        "items_without_interactions": len(raw.items) - used,
        "below_min_rating": summary.below,
        "weights": summary.has_weights,
        **({"impressions": summary.lists} if has_lists else {}),
        "order": raw.order,
        "order_reason": raw.order_reason,
        "notes": findings.notes,
        "skipped": skipped,
    }
    if raw.num_triples is not None:
        report["triples"] = raw.num_triples
    return report


def write(prepared: Prepared, folder: Path, name: str, digest: str) -> None:
    """Write the files of a prepared domain to an empty folder."""
    facts = {"name": name, "hash": digest, "order": prepared.order, "report": prepared.report}
    for array_name, array in prepared.arrays.items():
        np.save(folder / f"{array_name}.npy", array)
    for file, content in (("facts", facts), ("items", prepared.items), ("users", prepared.user_ids)):
        (folder / f"{file}.json").write_bytes(msgspec.json.encode(content))
    quarantine = folder / "quarantine.jsonl"
    with quarantine.open("wb") as lines:
        for record in prepared.bad:
            raw = record.raw.encode(errors="surrogateescape").decode(errors="replace")
            lines.write(msgspec.json.encode(record._asdict() | {"raw": raw}) + b"\n")
    if not quarantine.stat().st_size:
        quarantine.unlink()


def content_hash(
    folder: Path,
    on_bad_record: schema.OnBadRecord,
    min_rating: float | None,
    log: tuple[Path, bytes] | None = None,
) -> str:
    """A hash (hex) of the bytes of a domain's files and of all settings that affect how they are read.

    A log in shards has the hash of the file to which they can be joined. For a log that is elsewhere, `log` is a file
    that begins like it, and its `file_hash`.
    """
    settings = read_settings(folder)
    paths = find_log(folder) if log is None else [log[0]]
    newer = _newer_parts(folder, settings, paths[0])
    total = hashlib.sha256(f"{FORMAT}{newer} {on_bad_record} {min_rating} ".encode() + msgspec.json.encode(settings))
    total.update(file_hash([find(folder, ITEMS)]))
    total.update(file_hash(paths) if log is None else log[1])
    if has(folder, GRAPH):
        total.update(file_hash([find(folder, GRAPH)]))
    return total.hexdigest()


def file_hash(paths: Iterable[Path]) -> bytes:
    """The SHA-256 of a file, or of shards joined to one file, where a line end is added between two that lack one."""
    total, last = hashlib.sha256(), b"\n"
    for path in paths:
        total.update(b"" if last in (b"\n", b"\r") else b"\n")
        with decompressed(path) as file:
            while block := file.read(HASH_BLOCK):
                total.update(block)
                last = block[-1:]
    return total.digest()


def _newer_parts(folder: Path, settings: Settings, log: Path) -> str:
    """Parts of a prepared folder that older versions lack. Named only if there are any: older runs can be resumed."""
    encoding = settings.encoding or "utf-8"
    header = (settings.columns.get("impression_id") or "impression_id").encode(encoding)
    with decompressed(log) as file:
        newer = " impressions" * (header.lower() in file.readline(HEADER_BYTES).lower())
    names = {(settings.fields.get(field, field) or "").casefold() for field in FIELDS}
    with decompressed(find(folder, ITEMS)) as file:
        line = file.readline(HEADER_BYTES)
    try:
        first = msgspec.json.decode(line.decode(encoding).lstrip("\ufeff"), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return newer
    return newer + " attributes" * bool(
        attributes({n: v for n, v in first.items() if n.strip().casefold() not in names})
    )

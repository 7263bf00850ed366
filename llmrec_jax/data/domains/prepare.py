"""Converts a domain folder to a prepared folder: events sorted and numbered, stored under a content hash.

A prepared folder has the events as arrays to memory-map, and ids and texts as JSON. `schema.py` checks the records.

Shape letters: E events of the domain, users end to end.
"""

import collections
import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmrec_jax.data.domains import schema
from llmrec_jax.data.domains.events import Events
from llmrec_jax.data.domains.folders import EVENTS, GRAPH, ITEMS, decompressed, find, has
from llmrec_jax.data.domains.impressions import lists_of
from llmrec_jax.data.domains.low_ratings import low_ratings
from llmrec_jax.data.domains.problems import BadRecord
from llmrec_jax.data.domains.records import Item, attributes
from llmrec_jax.data.domains.settings import FIELDS, Order, Settings, read_settings
from llmrec_jax.data.domains.times import NONE, PER_SECOND
from llmrec_jax.errors import UserError

FORMAT = 3  # version of the prepared folder: incrementing it prepares all domains again
HEADER_BYTES = 2**16  # more than any header has
ARRAYS = ("items_E", "ratings_E", "timestamps_E", "offsets")
REPEATS = "{n} repeats of an item by the same user dropped: the first is kept"
WEIGHTS = ("weights_E", "first_weights_E")  # further arrays of a domain with weights


@dataclasses.dataclass(frozen=True, eq=False)
class Prepared:
    """The content of a prepared folder, in memory."""

    items: list[Item]
    user_ids: list[str]
    arrays: dict[str, np.ndarray]  # ARRAYS, WEIGHTS if there are weights, and those of `low_ratings` and `impressions`
    order: Order
    report: dict[str, Any]  # counts, the order and its reason, notes, skipped records
    bad: list[BadRecord]


def build(folder: Path, on_bad_record: schema.OnBadRecord, min_rating: float | None) -> Prepared:
    """Read a domain folder, drop low ratings and repeats, and sort. Raises `DataError` and `UserError`."""
    raw = schema.read(folder, on_bad_record)
    raw, shown = _without_shown(folder, raw)
    events, findings = raw.events, raw.findings
    if min_rating is not None:
        low_E = events.ratings_E < min_rating  # False if there is no rating
        if low_E.all():
            scale = f"all ratings are lower, from {events.ratings_E.min():g} to {events.ratings_E.max():g}"
            raise UserError(f"{folder}: data.min_rating={min_rating:g} leaves no interaction: {scale}")
        events = events.keep(~low_E)
    arrays, repeats = _arrange(raw.items, events, raw.order)
    if min_rating is not None:
        columns = raw.events.users_E, raw.events.items_E, raw.events.ratings_E
        arrays |= low_ratings(*columns, low_E, _sorted(raw.items, raw.events, raw.order))
    if shown is not None:
        arrays |= lists_of(shown, events, arrays, raw.order)
        findings.notes.append(f"{len(arrays['shown_users_Q']):,} lists of shown items (impression_id, action)")
    findings.note(repeats, REPEATS if events.weights_E is None else f"{REPEATS}, with the largest weight")
    findings.notes += _tie_notes(events) if raw.order == "timestamp" else []
    findings.notes += _rating_notes(raw.events.ratings_E, min_rating)
    findings.notes += _weight_notes(arrays)
    skipped = collections.Counter(f"{record.file}: {record.reason}" for record in findings.bad)
    if findings.consequences:
        skipped[f"{EVENTS}: the line of the item is bad"] = findings.consequences
    report = {
        "users": len(events.user_ids),
        "items": len(raw.items),
        "interactions": len(arrays["items_E"]),
        "repeats_dropped": repeats,
        "items_without_interactions": len(raw.items) - len(np.unique(arrays["items_E"])),
        "below_min_rating": len(raw.events.users_E) - len(events.users_E),
        "weights": "weights_E" in arrays,
        **({"impressions": len(arrays["shown_users_Q"])} if shown is not None else {}),
        "order": raw.order,
        "order_reason": raw.order_reason,
        "notes": findings.notes,
        "skipped": dict(skipped),
    }
    if raw.num_triples is not None:
        report["triples"] = raw.num_triples
    return Prepared(raw.items, events.user_ids, arrays, raw.order, report, findings.bad)


def write(prepared: Prepared, folder: Path, name: str, digest: str) -> None:
    """Write the files of a prepared domain to an empty folder."""
    facts = {"name": name, "hash": digest, "order": prepared.order, "report": prepared.report}
    for array_name, array in prepared.arrays.items():
        np.save(folder / f"{array_name}.npy", array)
    for file, content in (("facts", facts), ("items", prepared.items), ("users", prepared.user_ids)):
        (folder / f"{file}.json").write_bytes(msgspec.json.encode(content))
    if prepared.bad:
        records = [record._asdict() for record in prepared.bad]
        for record in records:
            record["raw"] = record["raw"].encode(errors="surrogateescape").decode(errors="replace")
        (folder / "quarantine.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(records))


def content_hash(folder: Path, on_bad_record: schema.OnBadRecord, min_rating: float | None) -> str:
    """A hash (hex) of the bytes of a domain's files and of all settings that affect how they are read."""
    settings = read_settings(folder)
    newer = _newer_parts(folder, settings)
    total = hashlib.sha256(f"{FORMAT}{newer} {on_bad_record} {min_rating} ".encode() + msgspec.json.encode(settings))
    for name in (ITEMS, EVENTS, *([GRAPH] if has(folder, GRAPH) else [])):
        with decompressed(find(folder, name)) as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _newer_parts(folder: Path, settings: Settings) -> str:
    """Parts of a prepared folder that older versions lack. Named only if there are any: older runs can be resumed."""
    encoding = settings.encoding or "utf-8"
    header = (settings.columns.get("impression_id") or "impression_id").encode(encoding)
    with decompressed(find(folder, EVENTS)) as file:
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


def _tie_notes(events: Events) -> list[str]:
    """At most one line on interactions whose order the times do not tell."""
    sorted_E = np.lexsort((events.times_E, events.users_E))
    time_E, user_E = events.times_E[sorted_E], events.users_E[sorted_E]
    is_tie = (np.diff(time_E) == 0) & (np.diff(user_E) == 0)
    tied = int((np.append(is_tie, False) | np.append(False, is_tie)).sum())
    if not tied:
        return []
    return [f"{tied:,} of {len(time_E):,} interactions share their time with another of the same user: a hash, not the "
            "order of the rows, decides which comes first"]  # fmt: skip


def _rating_notes(rating_E: np.ndarray, min_rating: float | None) -> list[str]:
    """At most one line on how the ratings are used."""
    rated_E = rating_E[~np.isnan(rating_E)]
    if not len(rated_E):
        return [f"data.min_rating={min_rating:g} has no effect: there are no ratings"] if min_rating is not None else []
    low, high = float(rated_E.min()), float(rated_E.max())
    if min_rating is not None:
        below, unrated = int((rated_E < min_rating).sum()), len(rating_E) - len(rated_E)
        rest = f"; {unrated:,} have no rating and are kept" if unrated else ""
        return [
            f"{below:,} interactions rated below data.min_rating={min_rating:g} left out (ratings from {low:g} to "
            f"{high:g}){rest}"
        ]
    count = int((rated_E <= 2).sum())
    if count and low >= 0.5 and high == 5 and (rated_E * 2 == np.round(rated_E * 2)).all():
        return [
            f"ratings are not used: {count:,} of {len(rated_E):,} are 2 or less of 5 and count like the others; "
            "data.min_rating=3 leaves them out"
        ]
    if low == high:
        return [f"ratings are not used (all are {low:g})"]
    return [f"ratings are not used (lowest {low:g}, highest {high:g}); data.min_rating leaves out the lower ones"]


def _weight_notes(arrays: dict[str, np.ndarray]) -> list[str]:
    """At most one line on the weights."""
    if "weights_E" not in arrays:
        return []
    weights_E = arrays["weights_E"]
    zeros = int((weights_E == 0).sum())
    rest = f"; training does not predict the {zeros:,} of {len(weights_E):,} with weight 0" if zeros else ""
    return [f"interactions have weights from {weights_E.min():g} to {weights_E.max():g}{rest}"]


def _arrange(items: list[Item], events: Events, order: Order) -> tuple[dict[str, np.ndarray], int]:
    """Arrays of the events, grouped by user, sorted by `order`, without repeated items; and the number of repeats."""
    sorted_E = _sorted(items, events, order)
    pair_E = events.users_E[sorted_E].astype(np.int64) * len(items) + events.items_E[sorted_E]
    places = np.sort(np.unique(pair_E, return_index=True)[1])
    kept_E = sorted_E[places]
    counts = np.bincount(events.users_E[kept_E], minlength=len(events.user_ids))
    time_E = events.times_E[kept_E]
    arrays = {
        "items_E": events.items_E[kept_E],
        "ratings_E": events.ratings_E[kept_E],
        "timestamps_E": np.where(time_E == NONE, -1, time_E // PER_SECOND),
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    }
    if events.weights_E is not None:
        largest_E = _largest(pair_E, events.weights_E[sorted_E])
        arrays |= {"weights_E": largest_E[places], "first_weights_E": events.weights_E[kept_E]}
    return arrays, len(pair_E) - len(kept_E)


def _without_shown(folder: Path, raw: schema.RawDomain) -> tuple[schema.RawDomain, Events | None]:
    """The records without the items that were only shown, and all rows if there are lists of these."""
    if raw.events.shown_E is None:
        return raw, None
    if raw.events.shown_E.all():
        raise UserError(f"{folder}: no interaction: no row of {EVENTS} is a click")
    return raw._replace(events=raw.events.keep(~raw.events.shown_E)), raw.events


def _sorted(items: list[Item], events: Events, order: Order) -> np.ndarray:
    """Indices [E] that sort the events by user, then by `order`."""
    ties_E = _event_hash(items, events)
    keys = {  # np.lexsort is stable and sorts by the last key first
        "timestamp": (ties_E, events.times_E, events.users_E),
        "sequence": (events.users_E,),
        "none": (ties_E, events.users_E),
    }
    return np.lexsort(keys[order])


def _largest(pair_E: np.ndarray, weight_E: np.ndarray) -> np.ndarray:
    """The largest weight of all events with the same pair of user and item, float32 [E]."""
    _, number_E = np.unique(pair_E, return_inverse=True)
    largest = np.zeros(number_E.max() + 1, np.float32)
    np.maximum.at(largest, number_E, weight_E)
    return largest[number_E]


def _event_hash(items: list[Item], events: Events) -> np.ndarray:
    """A uint64 hash of each event's (user_id, item_id), to break ties without leaking information about the items."""
    user_hashes = np.array([_hash64(user_id) for user_id in events.user_ids], np.uint64)
    item_hashes = np.array([_hash64(item.item_id) for item in items], np.uint64)
    return _mix(_mix(user_hashes[events.users_E]) + item_hashes[events.items_E])


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))

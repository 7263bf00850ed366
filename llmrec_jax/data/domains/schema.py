"""Reads a domain folder into columns; reports each bad record with file, line and reason, and how files were read.

A folder contains `items.jsonl` and `interactions.csv`, each plain or `.gz`, and optionally a knowledge graph, `kg.tsv`,
and a `domain.json`. Sorting and dropping repeats is done in `prepare.py`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Generic, Literal, NamedTuple, Protocol, TypeVar

import msgspec

from llmrec_jax.data.domains import times
from llmrec_jax.data.domains.event_rows import UNKNOWN
from llmrec_jax.data.domains.events import Events, read_events
from llmrec_jax.data.domains.folders import EVENTS, GRAPH, ITEMS, NEEDED, find, has
from llmrec_jax.data.domains.graph import read_graph
from llmrec_jax.data.domains.items import read_items
from llmrec_jax.data.domains.problems import BadRecord, DataError, Findings
from llmrec_jax.data.domains.records import Item
from llmrec_jax.data.domains.settings import Order, Settings, read_settings
from llmrec_jax.errors import UserError

OnBadRecord = Literal["fail", "skip"]


class Log(Protocol):
    """The good rows of the log: `Events`, or a summary of them if they are elsewhere."""

    @property
    def kind(self) -> int:
        """Kind of the times: index into times.KINDS."""

    @property
    def num_rows(self) -> int:
        """Number of the rows."""


AnyLog = TypeVar("AnyLog", bound=Log)
ReadLog = Callable[[Path, Mapping[str, int], set[str], Settings, Findings], AnyLog]  # as `events.read_events`


class RawDomain(NamedTuple, Generic[AnyLog]):
    """The valid records of a folder, in file order."""

    items: list[Item]  # with their facts
    events: AnyLog
    order: Order  # what the order of a user's events means
    order_reason: str
    findings: Findings
    num_triples: int | None = None  # of the knowledge graph; None: there is none


def read(folder: Path, on_bad_record: OnBadRecord) -> RawDomain[Events]:
    """Read a folder's records.

    Raises:
      DataError: there is a bad record and `on_bad_record` is "fail", most of a file is bad, or a file cannot be read.
      UserError: domain.json is invalid.
    """
    return read_with(read_events, folder, on_bad_record)


def read_with(read_log: ReadLog[AnyLog], folder: Path, on_bad_record: OnBadRecord) -> RawDomain[AnyLog]:
    """As `read`, with another reader of the log."""
    settings, findings = read_settings(folder), Findings()
    items, bad_ids = read_items(find(folder, ITEMS), settings, findings)
    _check(folder, findings, ITEMS, len(items), on_bad_record)  # checked first: without items all rows would be bad
    try:
        numbers = {item.item_id: number for number, item in enumerate(items)}
        if len(findings.bad) > len(bad_ids):
            findings.remedies[UNKNOWN] = f"mend the bad lines of {ITEMS} first: these rows may mean them"
        events = read_log(folder, numbers, bad_ids, settings, findings)
        num_triples = None
        if has(folder, GRAPH):
            facts, num_triples = read_graph(find(folder, GRAPH), numbers, bad_ids, settings, findings)
            items = [msgspec.structs.replace(item, facts=tuple(own)) for item, own in zip(items, facts, strict=True)]
    except DataError as error:
        findings.bad += error.records
        findings.remedies |= error.findings.remedies
        raise DataError(folder, findings) from None
    _check(folder, findings, EVENTS, events.num_rows, on_bad_record)
    if _num_skipped(findings, GRAPH):
        assert num_triples is not None
        _check(folder, findings, GRAPH, num_triples, on_bad_record)
    if findings.skipped() and on_bad_record == "fail":
        raise DataError(folder, findings)
    if settings.order == "timestamp" and events.kind == times.EMPTY:
        raise UserError(f"{folder}: the declared order is timestamp, but no row has a timestamp")
    return RawDomain(items, events, *order_of(events.kind, settings), findings, num_triples)


def _check(folder: Path, findings: Findings, name: str, good: int, on_bad_record: OnBadRecord) -> None:
    """Raises `DataError` if a file has no good record or, with "skip", more bad than good records."""
    skipped = _num_skipped(findings, name)
    skipped += findings.consequences if name == EVENTS else 0
    if good == 0 and skipped == 0:
        findings.remedies["no record in it"] = NEEDED
        findings.bad.append(BadRecord(name, 0, "no record in it"))
    if good == 0:
        raise DataError(folder, findings, f", none good in {name}")
    if skipped > good and on_bad_record == "skip":
        raise DataError(folder, findings, f", more than half of {name} ({skipped} of {skipped + good})")


def _num_skipped(findings: Findings, name: str) -> int:
    """The number of bad records of a file, also in its shards."""
    return sum(n for (file, _), n in findings.skipped().items() if file.startswith(name.split(".")[0]))


def order_of(kind: int, settings: Settings) -> tuple[Order, str]:
    """The order of a log with times of this kind, and the reason for it."""
    if settings.order is not None:
        return settings.order, "declared"
    if kind == times.EMPTY:
        return "sequence", "no row has a time, so the rows are taken to be in order of time"
    return "timestamp", "every row has a time"

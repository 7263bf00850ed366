"""Bad records of a domain's files, grouped by cause, and notes on how the files were read.

Reasons never quote the record: rows are personal data, and messages end up in logs.
"""

import collections
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from llmrec_jax.errors import UserError

PLACES = 3  # places listed per cause in a message
NAMES = 8  # names listed in a message

REMEDIES = {  # reason -> what to do, if it does not depend on the data
    "not UTF-8": 'save the file as UTF-8, or say what it is in domain.json, e.g. {"encoding": "cp1252"}',
    "item_id is not among the items": "add the items, or leave these rows out with data.on_bad_record=skip",
    "item_id occurs on an earlier line too": "keep one line for each item",
    "timestamp is neither a number nor an ISO 8601 time": (
        "write seconds since 1970, or times like 2020-01-31T18:30:00"
    ),
    "timestamp is in scientific notation, which loses digits": "export the column as whole numbers",
    "timestamp is empty, but other rows have one": (
        "fill it in or remove the rows (data.on_bad_record=skip leaves them out); if the order of the rows is the"
        ' order of time, say so in domain.json: {"order": "sequence"}, or {"order": "none"} if there is no order'
    ),
    "weight is negative": "give an interaction that training is not to predict the weight 0",
    "weight is not": (
        "a weight says how much an interaction counts; if the column means something else, say so in domain.json:"
        ' {"columns": {"weight": null}}'
    ),
    "weight is empty, but other rows have one": (
        "fill it in (0: training does not predict it) or remove the rows (data.on_bad_record=skip leaves them out);"
        ' if the column is no weight of interactions, say so in domain.json: {"columns": {"weight": null}}'
    ),
    "wrong number of columns": "quote fields that hold the separator; check that the whole file has one separator",
    "not JSON": "write one JSON object a line, in double quotes, null for what is missing (NaN is not JSON)",
}


class BadRecord(NamedTuple):
    """An invalid record; line 0 means the whole file."""

    file: str
    line: int
    reason: str
    raw: str = ""  # the line, only for the quarantine file

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}"

    @property
    def place(self) -> str:
        """`file:line`."""
        return f"{self.file}:{self.line}" if self.line else self.file

    @property
    def cause(self) -> tuple[str, str]:
        """The file, or that it is a shard of the log, and the reason."""
        return re.sub(r"-\d{5}-of-\d{5}\.csv(\.gz)?$", "-*.csv", self.file), self.reason


@dataclasses.dataclass
class Findings:
    """Results of reading a folder: bad records, notes on how it was read, and remedies that depend on the data."""

    bad: list[BadRecord] = dataclasses.field(default_factory=list)
    notes: list[str] = dataclasses.field(default_factory=list)
    remedies: dict[str, str] = dataclasses.field(default_factory=dict)  # by reason
    unlisted: collections.Counter[tuple[str, str]] = dataclasses.field(default_factory=collections.Counter)
    """Further bad records that are not in `bad`, by cause, where the log is read by several machines."""
    consequences: int = 0  # rows that are bad only because the line of their item is bad

    def skipped(self) -> collections.Counter[tuple[str, str]]:
        """The number of bad records by cause."""
        return collections.Counter(record.cause for record in self.bad) + self.unlisted

    def note(self, count: int, text: str) -> None:
        """Add a note if `count` is not zero; `{n}` in the text is replaced by the count."""
        if count:
            self.notes.append(text.format(n=f"{count:,}"))


class DataError(UserError):
    """Unusable input. `records` has all bad records; the message has one line per cause."""

    def __init__(self, folder: Path, findings: Findings, why: str = ""):
        self.findings, self.records = findings, findings.bad
        total = findings.skipped().total()
        count = f"{total:,} bad record{'' if total == 1 else 's'}"
        super().__init__("\n  ".join([f"{folder}: {count}{why}", *causes(findings)]))


def file_error(folder: Path, file: str, reason: str, remedy: str = "", line: int = 0) -> DataError:
    """The error for a file that cannot be read at all."""
    return DataError(folder, Findings([BadRecord(file, line, reason)], remedies={reason: remedy}))


def causes(findings: Findings) -> list[str]:
    """One line per cause: first place, reason, count, further places, remedy."""
    by_cause: dict[tuple[str, str], list[BadRecord]] = collections.defaultdict(list)
    for record in findings.bad:
        by_cause[record.cause].append(record)
    skipped = findings.skipped()
    lines = [_cause(records, skipped[cause], findings.remedies) for cause, records in by_cause.items()]
    if findings.consequences:
        lines.append(f"({findings.consequences:,} rows name items whose own lines are bad; they are not listed)")
    return lines


def some(names: Sequence[str]) -> str:
    """The first few names, for a message; unprintable characters are escaped."""
    shown = [name if name.isprintable() else ascii(name) for name in names[:NAMES]]
    return ", ".join(shown) + (", ..." if len(names) > NAMES else "")


def _cause(records: list[BadRecord], count: int, remedies: dict[str, str]) -> str:
    first = records[0]
    line = str(first)
    if count > 1:
        also = ", ".join(record.place for record in records[1:PLACES])
        line += f" ({count:,} times; also {also}{', ...' if count > PLACES else ''})"
    remedy = remedies.get(first.reason) or next(
        (r for start, r in REMEDIES.items() if first.reason.startswith(start)), ""
    )
    return f"{line}; {remedy}" if remedy else line

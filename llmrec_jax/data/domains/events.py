"""Reads `interactions.csv`: user, item, rating, time and weight of each interaction. `event_rows.py` parses the rows.

Shape letters: E events in file order.
"""

from array import array
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from llmrec_jax.data.domains import times
from llmrec_jax.data.domains.event_rows import LINE_BITS, Parser, read_first_line
from llmrec_jax.data.domains.folders import SHARDS, find_log
from llmrec_jax.data.domains.problems import BadRecord, Findings, file_error
from llmrec_jax.data.domains.settings import Settings

CODES = "iifqbfibq"  # of the arrays of `event_rows.Row`


class Event(NamedTuple):
    """One row of `interactions.csv`."""

    user_id: str
    item_id: str
    rating: float
    timestamp: int


class Events(NamedTuple):
    """The good rows, in file order. Users are numbered by first appearance."""

    user_ids: list[str]
    users_E: np.ndarray  # int32
    items_E: np.ndarray  # int32: numbers of the items
    ratings_E: np.ndarray  # float32, NaN if empty
    times_E: np.ndarray  # int64 nanoseconds, -1 if empty
    kind: int  # kind of the times: index into times.KINDS
    weights_E: np.ndarray | None = None  # float32, at least 0; None: no row has a weight
    impressions_E: np.ndarray | None = None  # int32: number of the list that the item was shown in; -1: none
    shown_E: np.ndarray | None = None  # bool: the item was only shown, not clicked; set with `impressions_E`

    @property
    def num_rows(self) -> int:
        """Number of the rows."""
        return len(self.users_E)

    def keep(self, kept_E: np.ndarray) -> "Events":
        """The rows in a mask. Users without rows are dropped, the others renumbered in the same order."""
        users, user_E = np.unique(self.users_E[kept_E], return_inverse=True)
        return Events(
            [self.user_ids[user] for user in users],
            user_E.astype(np.int32),
            self.items_E[kept_E],
            self.ratings_E[kept_E],
            self.times_E[kept_E],
            self.kind,
            *(
                None if column is None else column[kept_E]
                for column in (self.weights_E, self.impressions_E, self.shown_E)
            ),
        )


class Census(NamedTuple):
    """Counts of all good rows of a log, from which it follows how each is read. Those of several parts add up."""

    kinds: np.ndarray  # int64: rows by the kind of their time
    other_than_dates: int  # rows whose time does not look like a date such as 20200131
    weighted: int  # rows with a weight

    @classmethod
    def none(cls) -> "Census":
        """The counts of no rows."""
        return cls(np.zeros(len(times.KINDS), np.int64), 0, 0)

    @classmethod
    def of(cls, kind_E: np.ndarray, time_E: np.ndarray, weight_E: np.ndarray) -> "Census":
        """The counts of rows with these columns."""
        kinds = np.bincount(kind_E, minlength=len(times.KINDS))
        return cls(kinds, times.count_other_than_dates(time_E), int((~np.isnan(weight_E)).sum()))

    def add(self, other: "Census") -> "Census":
        """The counts of both parts."""
        return Census(
            self.kinds + other.kinds,
            self.other_than_dates + other.other_than_dates,
            self.weighted + other.weighted,
        )

    @property
    def kind(self) -> int:
        """The most frequent kind of time."""
        return int(self.kinds[1:].argmax()) + 1 if self.kinds[1:].any() else times.EMPTY

    def check(self, folder: Path, file: str, settings: Settings, findings: Findings) -> None:
        """Add a note on the kind of the times. Raises `DataError` if they have two readings."""
        if self.kind == times.SECONDS and not settings.time_unit and not self.other_than_dates:
            raise file_error(folder, file, "timestamps could be dates (20200131) or seconds since 1970",
                             'write 2020-01-31, or say in domain.json: {"time_unit": "s"}')  # fmt: skip
        if self.kind > times.SECONDS and not settings.time_unit:
            findings.notes.append(f"{file}: timestamps read as {times.KINDS[self.kind]}")


class Late(NamedTuple):
    """A row that is bad only beside the others of the log. In the order in which they are reported."""

    of_times: bool
    place: int  # see `event_rows.LINE_BITS`
    reason: str


def read_events(
    folder: Path, numbers: Mapping[str, int], bad_ids: Container[str], settings: Settings, findings: Findings
) -> Events:
    """Read the rows of a folder's log.

    Args:
      folder: The domain folder.
      numbers: Item id -> item number.
      bad_ids: Ids of items on bad lines: rows with these are counted, not listed.
      settings: The settings of domain.json.
      findings: Bad rows, notes and remedies are added to it.

    Raises:
      DataError: the header cannot be used.
    """
    paths = find_log(folder)
    file = paths[0].name if len(paths) == 1 else SHARDS
    parser = Parser(read_first_line(paths[0], settings), numbers, settings)
    columns: tuple[array, ...] = tuple(array(code) for code in CODES)
    for shard, path in enumerate(paths):
        for row in parser.read(path, shard, bad_ids, findings):
            for values, value in zip(columns, row, strict=True):
                values.append(value)
    parser.report(file, findings, any_good=bool(parser.users))
    arrays = [np.asarray(column) for column in columns]
    census = Census.of(arrays[4], arrays[3], arrays[5])
    census.check(folder, file, settings, findings)
    events, late = good_rows(list(parser.users), arrays, census, settings, "impression_id" in parser.header.at)
    findings.bad.extend(
        BadRecord(*place_name([path.name for path in paths], record.place), record.reason) for record in late
    )
    return events


def good_rows(
    user_ids: list[str], columns: Sequence[np.ndarray], census: Census, settings: Settings, has_lists: bool
) -> tuple[Events, list[Late]]:
    """The rows that fit the others of the log, and those that do not.

    Args:
      user_ids: User number -> id.
      columns: Of the rows, in the order of `event_rows.Row`; some or all rows of the log.
      census: Of all rows.
      settings: The settings of domain.json.
      has_lists: Whether the log has lists of shown items.
    """
    user_E, item_E, rating_E, time_E, kind_E, weight_E, list_E, shown_E, place_E = columns
    empty = np.flatnonzero(np.isnan(weight_E)) if census.weighted else ()
    of_times = times.deviating(kind_E, census.kind, settings)
    reasons = {int(at): "weight is empty, but other rows have one" for at in empty} | of_times
    weightless = {int(at) for at in empty}
    late = sorted(Late(at not in weightless, int(place_E[at]), reason) for at, reason in reasons.items())
    good_E = np.ones(len(user_E), bool)
    good_E[list(reasons)] = False
    shown = (list_E, shown_E.astype(bool)) if has_lists else (None, None)
    weights_E = weight_E if census.weighted else None
    events = Events(user_ids, user_E, item_E, rating_E, time_E, census.kind, weights_E, *shown)
    return events.keep(good_E), late


def place_name(files: Sequence[str], place: int) -> tuple[str, int]:
    """The file and line of a row."""
    return files[place >> LINE_BITS], place & (1 << LINE_BITS) - 1

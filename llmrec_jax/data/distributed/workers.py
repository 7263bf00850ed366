"""What the workers of the pipeline do: read a file of the log, prepare the users of a bucket, write results.

Each function yields (`Kind`, key, bytes). Nothing here imports Apache Beam; `pipeline.py` connects the functions.
"""

import contextlib
import functools
import itertools
from array import array
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np

from llmrec_jax.data.distributed import storage
from llmrec_jax.data.distributed.blocks import PLACE, USER, Rows, User, blocks, joined, users_of
from llmrec_jax.data.domains import prepare, schema
from llmrec_jax.data.domains.arrange import arrange
from llmrec_jax.data.domains.columns import Header
from llmrec_jax.data.domains.event_rows import LINE_BITS, Parser, Row
from llmrec_jax.data.domains.events import CODES, Census, good_rows
from llmrec_jax.data.domains.problems import BadRecord, DataError, Findings
from llmrec_jax.data.domains.settings import Settings

NUM_KINDS = 5
ROWS, USERS, BAD, LISTS, RESULTS = range(NUM_KINDS)  # of what is yielded
BLOCK_ROWS = 2**20  # rows of a file that are in memory at once
SPAN = 2**18  # lines of a file: users that first appear in them are written to one file
BAD_KINDS = ("malformed", "weight", "time")  # of bad rows, in the order in which they are reported
UNKNOWN_IDS = 1_000  # of each file; the likely cause of unknown ids is guessed from these
Yielded = Iterator[tuple[int, str, bytes]]


class Job(NamedTuple):
    """What all workers know."""

    paths: list[str]  # the files of the log, in order
    header: Header
    settings: Settings
    min_rating: float | None
    num_buckets: int  # parts of the users; those of one are in memory at once
    work: str  # folder for intermediate files, which all workers can reach

    @property
    def has_lists(self) -> bool:
        """Whether the log has lists of shown items."""
        return "impression_id" in self.header.at


class Catalogue(msgspec.Struct, frozen=True):
    """The items, as far as the log refers to them."""

    item_ids: list[str]
    bad_ids: set[str]


class FileReport(msgspec.Struct, frozen=True):
    """What was found in a file of the log."""

    rows: int
    kinds: list[int]  # this and the next two: `Census`
    other_than_dates: int
    weighted: int
    counts: dict[str, int]  # of conversions
    unknown: list[str]  # some ids of unknown items
    notes: list[str]
    consequences: int
    fatal: list[BadRecord]  # why the file cannot be read
    remedies: dict[str, str]

    @property
    def census(self) -> Census:
        """The counts of the rows."""
        return Census(np.array(self.kinds), self.other_than_dates, self.weighted)


class BadRow(msgspec.Struct, frozen=True, array_like=True):
    """A bad row of the log."""

    place: int
    reason: str
    line: bytes = b""


class UserFile(msgspec.Struct, frozen=True):
    """Prepared users whose first rows are near to one another, in the order of these rows; each array end to end."""

    user_ids: list[str]
    arrays: dict[str, bytes]


def read_file(shard: int, job: Job) -> Yielded:
    """Read a file of the log; yields ROWS by bucket, BAD rows, and the `FileReport`."""
    numbers, catalogue = _catalogue(f"{job.work}/catalogue")
    parser, findings, fatal = Parser(job.header, numbers, job.settings), Findings(), Findings()
    census, num_rows = Census.none(), 0
    try:
        with storage.on_disk(job.paths[shard]) as path:
            source = parser.read(path, shard, catalogue.bad_ids, findings)
            while (columns := _columns(itertools.islice(source, BLOCK_ROWS))) is not None:
                census = census.add(Census.of(columns[4], columns[3], columns[5]))
                num_rows += len(columns[USER])
                rows = Rows([*parser.users], [*map(_valid, parser.lists)], columns)
                yield from ((ROWS, str(bucket), block) for bucket, block in blocks(rows, job.num_buckets))
    except DataError as error:
        fatal = error.findings
    for bad in findings.bad:
        row = BadRow(shard << LINE_BITS | bad.line, bad.reason, bad.raw.encode(errors="surrogateescape"))
        yield BAD, _near(BAD_KINDS[0], row.place), _encode(row)
    report = FileReport(num_rows, census.kinds.tolist(), census.other_than_dates, census.weighted, dict(parser.counts),
                        sorted(parser.unknown)[:UNKNOWN_IDS], findings.notes, findings.consequences, fatal.bad,
                        fatal.remedies)  # fmt: skip
    yield RESULTS, f"file-{shard:05}", _encode(report)


def prepare_users(bucket: tuple[str, Iterable[bytes]], census: Census, job: Job) -> Yielded:
    """Prepare the users of a bucket; yields USERS, BAD rows, LISTS, and the `Summary`."""
    item_ids = _catalogue(f"{job.work}/catalogue")[1].item_ids
    rows = joined(bucket[1])
    events, late = good_rows(rows.user_ids, rows.columns, census, job.settings, job.has_lists)
    for bad in late:
        yield BAD, _near(BAD_KINDS[1 + bad.of_times], bad.place), _encode(BadRow(bad.place, bad.reason))
    for list_id in rows.lists_by_user():
        yield LISTS, list_id, b""
    used, item_E = np.unique(events.items_E, return_inverse=True)
    order, _ = schema.order_of(census.kind, job.settings)
    events = events._replace(items_E=item_E.astype(np.int32))
    part = arrange([item_ids[item] for item in used], events, order, job.min_rating)
    for name in ("items_E", "low_items_A", "shown_items_A"):
        if name in part.arrays:
            part.arrays[name] = used[part.arrays[name]]
    first = np.unique(rows.columns[USER], return_index=True)[1]
    places = dict(zip(rows.user_ids, rows.columns[PLACE][first].tolist(), strict=True))
    for user in users_of(part, places):
        yield USERS, _near("users", user.place), _encode(user)
    yield RESULTS, f"summary-{bucket[0]}", _encode(part.summary)


def write_users(near: tuple[str, Iterable[bytes]], job: Job) -> Yielded:
    """Write the users that first appear near one another to a file; yields the bytes of each array."""
    users = sorted((msgspec.msgpack.decode(data, type=User) for data in near[1]), key=lambda user: user.place)
    arrays = {name: b"".join(user.arrays[name] for user in users) for name in users[0].arrays}
    storage.write(f"{job.work}/{near[0]}", _encode(UserFile([user.user_id for user in users], arrays)))
    yield RESULTS, near[0], _encode({name: len(array) for name, array in arrays.items()})


def write_bad(near: tuple[str, Iterable[bytes]], job: Job) -> Yielded:
    """Write bad rows that are near one another to a file, in their order."""
    rows = sorted((msgspec.msgpack.decode(data, type=BadRow) for data in near[1]), key=lambda row: row.place)
    storage.write(f"{job.work}/{near[0]}", _encode(rows))
    yield RESULTS, near[0], b""


def check_list(users: tuple[str, int]) -> Yielded:
    """Yields a result if a list of shown items has rows of several users."""
    if users[1] > 1:
        yield RESULTS, "shared", b""


def hash_log(job: Job) -> Yielded:
    """Read the whole log in one stream; yields its `prepare.file_hash`, or nothing if it cannot be read."""
    with contextlib.suppress(DataError):
        yield RESULTS, "hash", prepare.file_hash(_in_turn(job.paths))


def write_results(results: tuple[int, Iterable[tuple[str, bytes]]], job: Job) -> None:
    """Write all results to one file."""
    storage.write(f"{job.work}/results", _encode(sorted(results[1])))


def _in_turn(paths: Iterable[str]) -> Iterator[Path]:
    for path in paths:
        with storage.on_disk(path) as copy:
            yield copy


def _valid(list_id: str) -> str:
    """Another text for each id: that of a list, unlike others, may hold bytes that are not valid."""
    return list_id.encode(errors="surrogateescape").decode("latin-1")


def _near(kind: str, place: int) -> str:
    """The name of the file for what belongs to a row. Names are in the order of the rows."""
    return f"{kind}-{place >> LINE_BITS:05}-{place % (1 << LINE_BITS) // SPAN:09}"


def _columns(rows: Iterable[Row]) -> list[np.ndarray] | None:
    columns: tuple[array, ...] = tuple(array(code) for code in CODES)
    for row in rows:
        for values, value in zip(columns, row, strict=True):
            values.append(value)
    return [np.asarray(column) for column in columns] if columns[0] else None


@functools.lru_cache(maxsize=1)
def _catalogue(path: str) -> tuple[Mapping[str, int], Catalogue]:
    """The catalogue and the number of each item; read once in each process."""
    catalogue = msgspec.msgpack.decode(storage.read(path), type=Catalogue)
    return {item_id: number for number, item_id in enumerate(catalogue.item_ids)}, catalogue


def _encode(value: Any) -> bytes:
    return msgspec.msgpack.encode(value)

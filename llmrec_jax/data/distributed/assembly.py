"""Puts the results of the workers together to a prepared folder, a file at a time."""

import collections
import contextlib
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple, TypeVar

import msgspec
import numpy as np

from llmrec_jax.data.distributed import storage
from llmrec_jax.data.distributed.blocks import COUNTS, DTYPES
from llmrec_jax.data.distributed.workers import BAD_KINDS, BadRow, FileReport, Job, UserFile
from llmrec_jax.data.domains import prepare
from llmrec_jax.data.domains.event_rows import Parser
from llmrec_jax.data.domains.events import Census, place_name
from llmrec_jax.data.domains.folders import SHARDS
from llmrec_jax.data.domains.problems import PLACES, BadRecord, DataError, Findings
from llmrec_jax.data.domains.schema import RawDomain
from llmrec_jax.data.domains.summary import Summary
from llmrec_jax.errors import UserError

T = TypeVar("T")


class Log(NamedTuple):
    """The results of the pipeline; a `schema.Log`."""

    job: Job
    census: Census
    num_rows: int  # good ones; those that do not fit the others (`events.Late`) are not counted
    hash: bytes
    summary: Summary
    sizes: dict[str, dict[str, int]]  # file of users -> bytes of its arrays
    bad_files: list[str]  # in order
    listed: slice  # the bad rows of the log among all bad records

    @property
    def kind(self) -> int:
        """Kind of the times."""
        return self.census.kind

    def bad(self) -> Iterator[BadRecord]:
        """All bad rows in order."""
        files = [path.rsplit("/", 1)[-1] for path in self.job.paths]
        for name in self.bad_files:
            for row in msgspec.msgpack.decode(storage.read(f"{self.job.work}/{name}"), type=list[BadRow]):
                line = row.line.decode(errors="surrogateescape")
                yield BadRecord(*place_name(files, row.place), row.reason, line)


def gathered(job: Job, folder: Path, numbers: Mapping[str, int], findings: Findings) -> Log:
    """Read the results; adds to `findings` what `events.read_events` does, and raises the same errors."""
    results = msgspec.msgpack.decode(storage.read(f"{job.work}/results"), type=list[tuple[str, bytes]])
    parser, census, num_rows = Parser(job.header, numbers, job.settings), Census.none(), 0
    for report in (_decode(data, FileReport) for key, data in results if key.startswith("file-")):
        if report.fatal:
            raise DataError(folder, Findings(report.fatal, remedies=report.remedies))
        findings.notes += report.notes
        findings.consequences += report.consequences
        parser.counts.update(report.counts)
        parser.unknown.update(report.unknown)
        census, num_rows = census.add(report.census), num_rows + report.rows
    if any(key == "shared" for key, _ in results):
        raise UserError(f"{folder}: a list of shown items (impression_id) has rows of several users, which a pipeline "
                        "cannot prepare: give each list its own id, or prepare the domain without --beam")  # fmt: skip
    file = job.paths[0].rsplit("/", 1)[-1] if len(job.paths) == 1 else SHARDS
    parser.report(file, findings, any_good=num_rows > 0)
    census.check(folder, file, job.settings, findings)
    summary = Summary()
    for key, data in results:
        if key.startswith("summary-"):
            summary = summary.add(_decode(data, Summary))
    keys = [key for key, _ in results]
    bad_files = [key for kind in BAD_KINDS for key in keys if key.startswith(f"{kind}-")]
    sizes = {key: _decode(data, dict[str, int]) for key, data in results if key.startswith("users-")}
    log = Log(job, census, num_rows, dict(results)["hash"], summary, sizes, bad_files, slice(0))
    begin = len(findings.bad)
    late = _list_bad(log, findings)
    return log._replace(num_rows=num_rows - late, listed=slice(begin, len(findings.bad)))


def write(raw: RawDomain[Log], source: Path, min_rating: float | None, digest: str, folder: Path) -> None:
    """Write the files of a prepared domain to an empty folder; `source` is the domain folder."""
    log, bad = raw.events, raw.findings.bad
    user_ids, used = _write_arrays(log, len(raw.items), folder)
    report = prepare.describe(source, raw, log.summary, len(user_ids), used, min_rating, log.job.has_lists)
    every = itertools.chain(bad[: log.listed.start], log.bad(), bad[log.listed.stop :])
    prepare.write(prepare.Prepared(raw.items, user_ids, {}, raw.order, report, every), folder, source.name, digest)


def _list_bad(log: Log, findings: Findings) -> int:
    """Add the first bad rows of each cause to `findings`, and count the others; the number of those found late."""
    listed: collections.Counter[tuple[str, str]] = collections.Counter()
    late = 0
    for record in log.bad():
        late += not record.raw  # malformed rows have their line
        listed[record.cause] += 1
        if listed[record.cause] <= PLACES:
            findings.bad.append(record)
        else:
            findings.unlisted[record.cause] += 1
    return late


def _write_arrays(log: Log, num_items: int, folder: Path) -> tuple[list[str], int]:
    """Write the arrays of all users; the ids of the users, and the number of items with interactions."""
    user_ids: list[str] = []
    is_used = np.zeros(num_items, bool)
    with contextlib.ExitStack() as stack:
        arrays: dict[str, _Array] = {}
        total: collections.Counter[str] = collections.Counter()
        for sizes in log.sizes.values():
            total.update(sizes)
        for name in total:
            length = total["shown_place_Q"] if name == "shown_users_Q" else total[name]
            arrays[name] = _Array(name, length, stack.enter_context((folder / f"{name}.npy").open("wb")))
        for file in log.sizes:
            part = _decode(storage.read(f"{log.job.work}/{file}"), UserFile)
            for name, data in part.arrays.items():
                arrays[name].append(data, len(user_ids))
            user_ids += part.user_ids
            is_used[np.frombuffer(part.arrays["items_E"], np.int32)] = True
    return user_ids, int(is_used.sum())


class _Array:
    """An array of a prepared folder that is written as its parts arrive."""

    def __init__(self, name: str, num_bytes: int, file: IO[bytes]):
        """`num_bytes`: of all parts together; of `shown_users_Q`, of the numbers that are made of them."""
        self.name, self.file, self.sum = name, file, 0
        self.is_sum = name in COUNTS and name != "shown_users_Q"
        dtype = np.dtype(DTYPES.get(name, np.int32 if name == "shown_users_Q" else np.int64))
        length = num_bytes // (8 if name == "shown_users_Q" else dtype.itemsize) + self.is_sum
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
        np.lib.format.write_array_header_1_0(file, header)
        if self.is_sum:
            file.write(np.zeros(1, np.int64).tobytes())

    def append(self, data: bytes, user: int) -> None:
        """Write a part, which begins with the user of this number."""
        if self.name == "shown_users_Q":
            counts = np.frombuffer(data, np.int64)
            data = np.repeat(np.arange(user, user + len(counts), dtype=np.int32), counts).tobytes()
        elif self.is_sum:
            sums = self.sum + np.cumsum(np.frombuffer(data, np.int64))
            self.sum = int(sums[-1]) if len(sums) else self.sum
            data = sums.tobytes()
        self.file.write(data)


def _decode(data: bytes, type_: type[T]) -> T:
    return msgspec.msgpack.decode(data, type=type_)

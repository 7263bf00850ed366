"""Finds domain folders and opens their files; the error for another path says what it is.

Handles file names, gzip, byte order marks, encodings and line endings.
"""

import codecs
import contextlib
import gzip
import io
import os
import re
import stat
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from llmrec_jax.data.domains.problems import Findings, file_error, some
from llmrec_jax.data.progress import watched
from llmrec_jax.errors import UserError

ITEMS, EVENTS, GRAPH = "items.jsonl", "interactions.csv", "kg.tsv"  # the graph is optional
SHARDS = "interactions-*.csv"  # of a log in several files, for messages
SHARD = re.compile(r"interactions-\d{5}-of-\d{5}\.csv(\.gz)?")
NEEDED = "a domain needs items and interactions; to add only items to a trained model, use Recommender.add_items"
MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
OTHERS = (  # other folders that this program writes, and the files that identify them
    ("a bundle, which holds a trained model and no interactions", ("model.safetensors", "config.json")),
    ("a prepared domain of the cache", ("facts.json", "items_E.npy")),
    ("the work folder of a run", ("config.json", "metrics.jsonl")),
    ("the work folder of a run", ("config.json", "checkpoints")),
)


def locate(spec: str, root: Path, others: str) -> Path:
    """The absolute path of the domain `spec`, a name under `root` or a path. Symbolic links are not resolved.

    Raises `UserError` if there is none; its message lists `others` as further choices.
    """
    tried = [root / spec, Path(spec)]
    for path in tried:
        if is_domain(path):
            return Path(os.path.abspath(path))
    for path in tried:
        _check_readable(path)
        if path.exists():
            return check_domain(path)
    raise UserError(f"no domain {spec!r}: neither {tried[0]} nor {tried[1]} is a folder ({others})")


def is_domain(folder: Path) -> bool:
    """Whether the folder can be read, contains items.jsonl or interactions.csv, and is none of `OTHERS`."""
    try:
        if any(all((folder / name).exists() for name in names) for _, names in OTHERS):
            return False
        return any((folder / name).is_file() for file in (ITEMS, EVENTS) for name in (file, f"{file}.gz"))
    except PermissionError:
        return False


def check_domain(path: Path) -> Path:
    """The absolute path of a domain folder, symbolic links not resolved. Raises `UserError` if it is not one."""
    expected = f"a domain is a folder that holds {ITEMS} and {EVENTS}"
    if not is_domain(path):
        _check_readable(path)
    if path.is_file():
        beside = f"; did you mean its folder, {path.parent}?" if is_domain(path.parent) else ""
        raise UserError(f"{path} is a file, not a folder: {expected}{beside}")
    if not path.is_dir():
        raise UserError(f"{path}: no such folder")
    for what, names in OTHERS:
        if all((path / name).exists() for name in names):
            raise UserError(f"{path} is {what}: {expected}")
    if not is_domain(path):
        inside = sorted(child.name for child in path.iterdir())
        children = [name for name in inside if is_domain(path / name)]
        if children:
            raise UserError(
                f"{path} holds domain folders: {some(children)}. Name one of them, e.g. {path / children[0]}"
            )
        raise UserError(f"{path} is no domain: {expected}; it holds {some(inside) or 'nothing'}")
    return Path(os.path.abspath(path))


def _check_readable(path: Path) -> None:
    """Raises `UserError` if the permissions of a path, or of a folder above it, do not allow reading it."""
    try:
        if stat.S_ISDIR(os.stat(path).st_mode):
            os.listdir(path)
            os.stat(os.path.join(path, os.curdir))  # fails if the folder may be listed, but its files not opened
    except PermissionError:
        raise UserError(
            f"{path} cannot be read: permission denied; allow reading it and entering the folders above it (ls -ld)"
        ) from None
    except OSError:  # e.g. it does not exist, which the caller reports
        return


def find(folder: Path, name: str) -> Path:
    """The file `name` of a folder, plain or gzipped. Raises `DataError` if neither or both exist."""
    return folder / _one_of(folder, name, _files(folder))


def _files(folder: Path) -> list[str]:
    return [child.name for child in folder.iterdir() if child.is_file()]


def _one_of(folder: Path, name: str, inside: Sequence[str]) -> str:
    found = [file for file in (name, f"{name}.gz") if file in inside]
    if len(found) == 1:
        return found[0]
    if found:
        raise file_error(folder, name, f"both {name} and {name}.gz are there", "remove one of them")
    holds = some(sorted(inside))
    raise file_error(folder, name, f"neither {name} nor {name}.gz is there", f"{NEEDED}; the folder holds {holds}")


def find_log(folder: Path) -> list[Path]:
    """The files of the log: interactions.csv, plain or gzipped, or all its shards in order. Raises `DataError`."""
    return [folder / name for name in log_among(folder, _files(folder))]


def log_among(folder: Path, names: Sequence[str]) -> list[str]:
    """As `find_log`, of a folder with files of these names."""
    shards = sorted(name for name in names if SHARD.fullmatch(name))
    if not shards:
        return [_one_of(folder, EVENTS, names)]
    total = len(shards)
    if [name.split(".")[0] for name in shards] != [f"interactions-{n:05}-of-{total:05}" for n in range(total)]:
        raise file_error(folder, SHARDS, "the shards are not complete", "a log of two shards is "
                         "interactions-00000-of-00002.csv and interactions-00001-of-00002.csv, or .csv.gz")  # fmt: skip
    if both := [name for name in names if name in (EVENTS, f"{EVENTS}.gz")]:
        raise file_error(folder, both[0], f"both {both[0]} and shards of it are there", "remove one of them")
    return shards


def has(folder: Path, name: str) -> bool:
    """Whether the file `name` is in a folder, plain or gzipped."""
    return any((folder / file).is_file() for file in (name, f"{name}.gz"))


@contextlib.contextmanager
def decompressed(path: Path) -> Iterator[gzip.GzipFile | io.BufferedReader]:
    """Open a file for reading bytes. Raises `DataError` if opening or reading fails, e.g. for a truncated gzip file."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            yield file
    except (EOFError, zlib.error, OSError) as error:
        raise file_error(path.parent, path.name, f"cannot be read: {error}") from None


@contextlib.contextmanager
def text_lines(path: Path, encoding: str | None, findings: Findings) -> Iterator[Iterator[tuple[int, str]]]:
    """Numbered lines of a file (from 1) without their line endings (LF, CRLF or CR).

    Invalid bytes become lone surrogates (see `is_text`), so only the lines with them are bad.
    """
    with decompressed(path) as file:
        start = file.peek(3)[:3]
        mark = next((mark for mark in MARKS if start.startswith(mark)), None)
        if mark:
            encoding = MARKS[mark]
            findings.notes.append(f"{path.name}: byte order mark: read as {encoding.removesuffix('-sig').upper()}")
        text = io.TextIOWrapper(file, encoding or "utf-8", errors="surrogateescape", newline=None)
        try:
            lines = ((number, line[:-1] if line.endswith("\n") else line) for number, line in enumerate(text, 1))
            yield watched(lines, path, file)
        except UnicodeDecodeError as error:
            raise file_error(path.parent, path.name, f"is not {encoding}: {error.reason}") from None
        ends = (text.newlines,) if isinstance(text.newlines, str) else text.newlines or ()
        if "\r" in ends:
            findings.notes.append(f"{path.name}: carriage returns (CR) end lines: read as line ends")


def is_text(line: str) -> bool:
    """Whether a line from `text_lines` had no invalid bytes."""
    if line.isascii():
        return True
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True

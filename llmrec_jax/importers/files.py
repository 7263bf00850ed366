"""Finds the files to import in folders and archives, and opens them. Handles compression; parses nothing.

Compression is recognised by the first bytes of a file, not by its name.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

from llmrec_jax.errors import UserError
from llmrec_jax.progress import Meter

BUFFER = 2**20  # bytes read at once
COMPRESSED: dict[bytes, Callable[[Any], Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
ZIP, TAR = b"PK\x03\x04", b"ustar"
# Files that describe a data set or come from a tool.
NO_DATA = (".md", ".pdf", ".html", ".htm", ".png", ".jpg", ".jpeg", ".svg", ".py", ".pl", ".sh", ".vec", ".md5",
           ".sha256", ".pyc", ".npy", ".npz", ".ipynb", ".doc", ".docx")  # fmt: skip
NO_DATA_STEMS = ("readme", "license", "licence", "source", "changelog", "copying", "mymedialite")
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile)


class _Counting(io.RawIOBase):
    """A raw file that reports to a meter how many bytes are read from it."""

    def __init__(self, file: IO[bytes], meter: Meter | None):
        self.file, self.meter = file, meter

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self.file.read(len(buffer))
        buffer[: len(data)] = data
        if self.meter:
            self.meter.advance(len(data))
        return len(data)

    def close(self) -> None:
        self.file.close()
        super().close()


class File(NamedTuple):
    """A file, or a member of an archive."""

    name: str  # for messages: relative to the path that was given
    size: int  # bytes before decompression
    raw: Callable[[], IO[bytes]]
    path: Path | None  # None: a member of an archive

    @property
    def stem(self) -> str:
        """The name without folders."""
        return self.name.replace(os.sep, "/").rsplit("/", 1)[-1]

    def start(self, size: int) -> bytes:
        """The first bytes, decompressed."""
        with self.open() as file:
            return file.read(size)

    @contextlib.contextmanager
    def open(self, meter: Meter | None = None) -> Iterator[IO[bytes]]:
        """Open for reading bytes, decompressed. Raises `UserError` if the file is damaged."""
        try:
            with contextlib.ExitStack() as stack:
                file: Any = stack.enter_context(io.BufferedReader(_Counting(self.raw(), meter), BUFFER))
                opener = next((opener for magic, opener in COMPRESSED.items() if file.peek(8).startswith(magic)), None)
                yield io.BufferedReader(stack.enter_context(opener(file)), BUFFER) if opener else file
        except DAMAGED as error:
            raise UserError(f"{self.name}: is damaged or was not copied whole: {error}") from None


def find(paths: Sequence[Path]) -> list[File]:
    """All files below the paths, in folders and archives, sorted by name. Raises `UserError` if a path is missing."""
    found: list[File] = []
    for path in paths:
        if not path.exists():
            raise UserError(f"{path}: no such file or folder")
        below = sorted(path.rglob("*")) if path.is_dir() else [path]
        for child in below:
            hidden = any(part.startswith((".", "__MACOSX")) for part in child.relative_to(path).parts)
            if child.is_file() and not hidden and child.stat().st_size:
                found += _members(child, str(child.relative_to(path)) if path.is_dir() else child.name)
    if not found:
        raise UserError(f"{', '.join(map(str, paths))}: no file in it")
    return found


def holds_data(file: File) -> bool:
    """False for files that describe a data set, such as a README."""
    name = file.stem.lower()
    stem, _, suffix = name.partition(".")
    return not (name.endswith(NO_DATA) or (suffix in ("", "txt", "rst") and stem.split("-")[0] in NO_DATA_STEMS))


def _members(path: Path, name: str) -> list[File]:
    """The members of an archive, or the file itself."""
    whole = File(name, path.stat().st_size, lambda: path.open("rb", buffering=0), path)
    with whole.open() as file:
        start = file.read(512)
    if start.startswith(ZIP):
        try:
            with zipfile.ZipFile(path) as archive:
                members = [member for member in archive.infolist() if not member.is_dir() and member.file_size]
        except zipfile.BadZipFile as error:
            raise UserError(f"{path}: is damaged or was not copied whole: {error}") from None
        if any(member.filename == "[Content_Types].xml" for member in members):  # an Office document
            return [whole]
        return [
            File(f"{name}/{member.filename}", member.file_size, _zip_opener(path, member.filename), None)
            for member in members
            if not member.filename.startswith("__MACOSX")
        ]
    if start[257:262] == TAR:
        with _tar(path) as archive:
            return [
                File(f"{name}/{member.name}", member.size, _tar_opener(path, member.name), None)
                for member in archive
                if member.isfile() and member.size
            ]
    return [whole]


def _zip_opener(path: Path, member: str) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        try:
            return zipfile.ZipFile(path).open(member)
        except RuntimeError as error:  # encrypted, or compressed by a method that Python does not know
            raise UserError(f"{path}: {member}: cannot be read: {error}; unpack the archive first") from None

    return opened


@contextlib.contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(path) as archive:
            yield archive
    except DAMAGED as error:
        raise UserError(f"{path}: is damaged or was not copied whole: {error}") from None


def _tar_opener(path: Path, member: str) -> Callable[[], IO[bytes]]:
    def opened() -> IO[bytes]:
        file = tarfile.open(path).extractfile(member)  # noqa: SIM115
        assert file is not None
        return file

    return opened

"""Reads and writes files of this machine, and with Apache Beam those of gs://, s3:// and hdfs://."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from llmrec_jax.errors import UserError


def is_remote(path: str) -> bool:
    """Whether a path is a URL."""
    return "://" in path


def names(folder: str) -> list[str]:
    """Names of the files in a folder."""
    (matched,) = _files().match([f"{folder.rstrip('/')}/*"])
    return sorted(entry.path.rsplit("/", 1)[-1] for entry in matched.metadata_list)


def size(path: str) -> int:
    """Bytes of a file as it is stored."""
    if not is_remote(path):
        return Path(path).stat().st_size  # the name may hold characters that have a meaning in a pattern
    (matched,) = _files().match([path])
    return matched.metadata_list[0].size_in_bytes


def write(path: str, content: bytes) -> None:
    """Write a file; if there is one, it is replaced."""
    with _files().create(path, compression_type=_as_stored()) if is_remote(path) else open(path, "wb") as file:
        file.write(content)


def read(path: str) -> bytes:
    """The bytes of a file."""
    with _files().open(path, compression_type=_as_stored()) if is_remote(path) else open(path, "rb") as file:
        return file.read()


def make_folder(path: str) -> None:
    """Make a new folder."""
    if is_remote(path):
        _files().mkdirs(path)
    else:
        Path(path).mkdir(parents=True)


def remove(folder: str) -> None:
    """Remove a folder with its files."""
    if is_remote(folder):
        _files().delete([f"{folder}/"])  # without the slash, an object store looks for a file
    else:
        shutil.rmtree(folder)


@contextlib.contextmanager
def on_disk(path: str, most: int | None = None) -> Iterator[Path]:
    """The file itself if it is on this machine; otherwise a copy of it, or of its first `most` bytes."""
    if not is_remote(path):
        yield Path(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, path.rsplit("/", 1)[-1])
        with _files().open(path, compression_type=_as_stored()) as file, copy.open("wb") as to:
            if most is None:
                shutil.copyfileobj(file, to)
            else:
                to.write(file.read(most))
        yield copy


def check(url: str) -> None:
    """Raises `UserError` if Beam cannot read from where the URL leads."""
    try:
        _files().get_filesystem(url)
    except ValueError as error:
        raise UserError(f"{url}: {error}") from None


def _files() -> Any:
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def _as_stored() -> Any:
    from apache_beam.io.filesystem import CompressionTypes

    return CompressionTypes.UNCOMPRESSED

"""Opens every path as tables: files by their content, not by their names; databases and TFDS datasets by URL."""

from collections.abc import Sequence
from pathlib import Path

from llmrec_jax.errors import UserError
from llmrec_jax.importers import databases
from llmrec_jax.importers.delimited import open_delimited
from llmrec_jax.importers.encodings import detect
from llmrec_jax.importers.files import ZIP, File, find, holds_data
from llmrec_jax.importers.formats import tfds
from llmrec_jax.importers.json_lines import open_json
from llmrec_jax.importers.table import Table
from llmrec_jax.importers.workbooks import is_workbook, open_workbook

LFS = b"version https://git-lfs.github.com/spec"


def open_all(paths: Sequence[str]) -> list[Table]:
    """The tables of all paths; those that cannot be read are marked as ignored. Raises `UserError`."""
    tables: list[Table] = []
    files: list[Path] = []
    for path in paths:
        if path.startswith(tfds.PREFIX):
            tables += tfds.open_tfds(path)
        elif databases.is_url(path):
            tables += databases.open_url(path)
        else:
            files.append(Path(path).expanduser())
    for file in find(files) if files else []:
        tables += _open(file) if holds_data(file) else [_unread(file, "not data")]
    return tables


def _open(file: File) -> list[Table]:
    start = file.start(512)
    if not start.strip():
        return [_unread(file, "empty")]
    if start.startswith((databases.PARQUET, databases.ARROW)):
        return [databases.open_parquet(file)]
    if start.startswith(LFS):
        raise UserError(f"{file.name}: a pointer of Git LFS, not the data: fetch it with git lfs pull")
    if start.startswith(ZIP):
        return (is_workbook(file) and open_workbook(file)) or [_unread(file, "a document without tables")]
    if file.path is not None and (found := databases.open_file(file, start)):
        return found
    if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")) and (table := open_json(file)):
        return [table]
    encoding = detect(file)
    table = open_delimited(file, encoding) if encoding else None
    return [table or _unread(file, "no table: neither JSON nor rows with the same separators")]


def _unread(file: File, why: str) -> Table:
    return Table(file.name, "", (), (), lambda wanted, meter: iter(()), file.size, kind="ignored", note=why)

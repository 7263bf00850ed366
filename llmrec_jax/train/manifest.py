"""`manifest.json` of a checkpoint: its metadata and the SHA-256 of every file. It is written last.

Orbax stores no checksums of the arrays: it silently restores flipped bits and fails with a traceback if a file is
missing. A folder without a manifest was not finished.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NAME = "manifest.json"


def write(folder: Path, info: Mapping[str, Any]) -> None:
    """Write the manifest of `folder`, with the metadata `info` (JSON)."""
    content = {"info": dict(info), "files": {name: _file_hash(folder / name) for name in _files(folder)}}
    draft = folder / f"{NAME}.tmp"
    draft.write_text(json.dumps({**content, "sha256": _content_hash(content)}, indent=1) + "\n")
    os.replace(draft, folder / NAME)


def read(folder: Path) -> dict[str, Any]:
    """The `info` of the manifest. Raises ValueError if it cannot be read; the message does not name the folder."""
    return _read(folder)["info"]


def damage(folder: Path) -> str | None:
    """What is wrong with `folder`; None if the hash of every file matches."""
    try:
        files = _read(folder)["files"]
        for name, expected in files.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if _file_hash(folder / name) != expected:
                return f"{name} has changed since it was written"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename}: {error.strerror}"
    return None


def _read(folder: Path) -> dict[str, Any]:
    try:
        content = json.loads((folder / NAME).read_bytes())
        if content.pop("sha256") == _content_hash(content):
            return content
    except FileNotFoundError:
        raise ValueError("it was not finished") from None
    except (ValueError, KeyError, AttributeError, OSError):
        pass
    raise ValueError(f"{NAME} has changed since it was written")


def _files(folder: Path) -> list[str]:
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path.as_posix() for path in paths if not path.name.startswith(NAME))


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _content_hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

"""Exports a bundle to a folder in one of several formats, and replaces earlier exports there, never other files."""

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from llmrec_jax.errors import UserError
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.version import __version__

Format = Literal["hf", "jax", "onnx", "numpy", "browser"]
MARK = "export.json"  # the list of the files of an export


def export(bundle: str | Path, folder: str | Path, format: Format, *, int8: bool = False) -> Path:
    """Export a bundle; returns the folder.

    Args:
      bundle: the bundle, or the work folder of a run.
      folder: where the export is written: a new or empty folder, or one that holds an export.
      format: hf, the text encoder for transformers and sentence-transformers; jax, programs of `jax.export`; onnx, ONNX
        graphs; numpy, a recommender that needs NumPy only; browser, a static page.
      int8: store item vectors as int8, a quarter of the size; not for `hf`.

    Raises:
      ValueError: the bundle is invalid or lacks what the format needs, or the folder holds something else.
    """
    if format not in get_args(Format):
        raise UserError(f"format is {format!r}; known: {', '.join(get_args(Format))}")
    if int8 and format == "hf":
        raise UserError("--int8 stores item vectors, which the format hf does not have")
    folder = Path(folder).expanduser().resolve()  # "." has no name; if it is a link, replace what it points to
    _check_replaceable(folder)
    loaded = bundle_lib.load(Path(bundle))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        draft = Path(temporary) / "new"
        draft.mkdir()
        _WRITERS[format](loaded, draft, int8)
        loaded.check_unchanged()
        files = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
        facts = {"format": format, "version": __version__, "target": loaded.target, "int8": int8, "files": files}
        (draft / MARK).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
        _check_replaceable(folder)
        if folder.exists():
            folder.rename(Path(temporary) / "old")
        draft.rename(folder)
    return folder


def _check_replaceable(folder: Path) -> None:
    advice = "choose another folder, or empty this one"
    if folder.is_file():
        raise UserError(f"{folder}: this is a file; {advice}")
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found = {name for name in found if "__pycache__" not in name}
    if not found:
        return
    try:
        known = {MARK, *json.loads((folder / MARK).read_text("utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(f"{folder}: holds {min(found)} and is not an export; {advice}") from None
    if foreign := found - known:
        raise UserError(f"{folder}: holds {min(foreign)}, which is not part of the export there; {advice}")


def _hf(bundle: Bundle, folder: Path, int8: bool) -> None:
    from llmrec_jax.exports import hf_export

    hf_export.write(bundle, folder)


def _jax(bundle: Bundle, folder: Path, int8: bool) -> None:
    from llmrec_jax.exports import jax_program
    from llmrec_jax.exports.scorer import scorer_of
    from llmrec_jax.exports.text_encoder import text_encoder_of

    jax_program.write(scorer_of(bundle, int8=int8), text_encoder_of(bundle), folder)
    shutil.copy(bundle.folder / "tokenizer.json", folder)


def _onnx(bundle: Bundle, folder: Path, int8: bool) -> None:
    from llmrec_jax.exports import onnx_export
    from llmrec_jax.exports.scorer import scorer_of
    from llmrec_jax.exports.text_encoder import text_encoder_of

    onnx_export.write(scorer_of(bundle, int8=int8), text_encoder_of(bundle), folder)
    shutil.copy(bundle.folder / "tokenizer.json", folder)


def _numpy(bundle: Bundle, folder: Path, int8: bool) -> None:
    from llmrec_jax.exports import numpy_export
    from llmrec_jax.exports.scorer import scorer_of

    numpy_export.write(scorer_of(bundle, int8=int8), folder)


def _browser(bundle: Bundle, folder: Path, int8: bool) -> None:
    from llmrec_jax.exports import browser_export
    from llmrec_jax.exports.scorer import scorer_of

    browser_export.write(scorer_of(bundle, int8=int8), folder)


_WRITERS: dict[Format, Callable[[Bundle, Path, bool], None]] = {
    "hf": _hf,
    "jax": _jax,
    "onnx": _onnx,
    "numpy": _numpy,
    "browser": _browser,
}

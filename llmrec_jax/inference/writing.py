"""Writes bundles to a temporary folder, which is then swapped into place. Never deletes a folder that is not a bundle.

The format is described in `bundle`.
"""

import contextlib
import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
from tokenizers import Tokenizer

from llmrec_jax.errors import UserError
from llmrec_jax.inference import parts
from llmrec_jax.inference.bundle import HEADS, BundleItem, read_facts
from llmrec_jax.models import hf
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.version import __version__

ENCODER_FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
PARTS = {
    *("config.json", "model.safetensors", "items.jsonl", "tokenizer.json", HEADS, *parts.FILES),
    *("encoder", "text_encoder"),
    *(f"{folder}/{name}" for folder in ("encoder", "text_encoder") for name in ENCODER_FILES),
}
RENAME_EXCHANGE = 2  # of Linux's renameat2


def write(
    folder: Path,
    *,
    facts: dict[str, Any],
    arrays: dict[str, np.ndarray],
    items: Sequence[BundleItem],
    tokenizer: Tokenizer,
    encoder: Bert | Gpt2 | None,
    answer: parts.Parts,
    text_encoder: Bert | Gpt2 | None,
    heads: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write a bundle, replacing an existing one.

    Args:
      folder: where the bundle is written; its parent is created if missing.
      facts: the content of config.json except the version: `target`, `config` (the run's), `dims`, and others.
      arrays: parameters by their path, and the `EXTRAS` of `bundle`.
      items: in the order of `item_vectors`.
      tokenizer: of the encoder.
      encoder: None if the model reads no text.
      answer: the parts of the answer.
      text_encoder: of the answer's text part; None if it is `encoder`, or the part uses TF-IDF.
      heads: parameters of the tasks by their path; none or None for a run without tasks.

    Raises:
      ValueError: `folder` holds something other than a bundle of this program; it is left unchanged.
    """
    with _draft_beside(folder) as draft:
        # `write_bytes` applies the umask; `safetensors.numpy.save_file` writes files that only their owner can read.
        rows = {name: np.asarray(array, order="C") for name, array in arrays.items()}
        (draft / "model.safetensors").write_bytes(safetensors.numpy.save(rows))
        if heads:
            own = {name: np.asarray(array, order="C") for name, array in heads.items()}
            (draft / HEADS).write_bytes(safetensors.numpy.save(own))
        (draft / "items.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(items))
        (draft / "tokenizer.json").write_text(tokenizer.to_str(pretty=True), encoding="utf-8")
        if encoder is not None:
            hf.save_pretrained(encoder, draft / "encoder", tokenizer)
        if text_encoder is not None:
            hf.save_pretrained(text_encoder, draft / "text_encoder", tokenizer)
        parts.write(draft, answer)
        content = msgspec.json.encode({"version": __version__, **facts})
        (draft / "config.json").write_bytes(msgspec.json.format(content, indent=1) + b"\n")


def copy(bundle: Path, folder: Path, change: Callable[[Path], None] = lambda _: None) -> None:
    """Copy a bundle to `folder`, replacing an existing one.

    Args:
      bundle: the one to copy.
      folder: see `write`.
      change: called with the copy before it is put in place; may write its files again.

    Raises:
      ValueError: see `write`; or `bundle` cannot be read.
    """
    with _draft_beside(folder) as draft:
        shutil.copytree(bundle, draft, dirs_exist_ok=True)
        change(draft)


def with_weights(weights: Mapping[str, float]) -> Callable[[Path], None]:
    """The `change` of a copy that sets the weights of some parts of the answer, by name; the calibration is lost."""

    def change(draft: Path) -> None:
        if weights:
            found = parts.load(draft)
            parts.write(draft, found._replace(weights=found.weights | dict(weights), calibration=None))

    return change


def check_replaceable(folder: Path) -> None:
    """Raise ValueError if `folder` exists and holds anything but a bundle of this program."""
    if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
        return
    advice = "is not replaced; move it away or choose another --workdir"
    if not folder.is_dir():
        raise UserError(f"{folder}: a file is at the bundle's path; it {advice}")
    try:
        read_facts(folder)
    except UserError as error:
        raise UserError(f"{folder}: not a bundle of this program ({error}); it {advice}") from error
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    if foreign := [name for name in names if name not in PARTS]:
        raise UserError(f"{folder}: holds {foreign[0]}, which is not part of a bundle; it {advice}")


@contextlib.contextmanager
def _draft_beside(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder` at the end, unless there was an error."""
    folder = folder.resolve()  # if it is a link, replace what it points to
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_replaceable(folder)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
        draft, old = Path(temporary) / "new", Path(temporary) / "old"
        draft.mkdir()
        yield draft
        check_replaceable(folder)  # again, as it may have changed
        try:
            _exchange(draft, folder)
        except OSError:  # there is no bundle yet, or the file system cannot swap
            if folder.exists():
                folder.rename(old)
            try:
                draft.rename(folder)
            except OSError:
                old.rename(folder)
                raise


def _exchange(one: Path, other: Path) -> None:
    """Swap two folders atomically. Raises OSError if the operating system or the file system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, "no renameat2")
    here = -100  # AT_FDCWD: relative paths start at the current folder
    if rename(here, os.fsencode(one), here, os.fsencode(other), RENAME_EXCHANGE):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(other))

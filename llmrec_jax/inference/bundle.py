"""The bundle: the folder that a run exports for inference.

    config.json         configuration of the run, dimensions of the model, name of the target
    model.safetensors   parameters except the encoder's, item vectors, popularity, whitening
    heads.safetensors   parameters of the auxiliary tasks, not used for recommending; absent without tasks
    items.jsonl         one line per item, in the order of the item vectors
    parts.json, parts.safetensors    the untrained parts of the answer and all weights; see `parts`
    tokenizer.json      of the encoder
    encoder/            a Hugging Face folder; absent if the model reads no text

A bundle holds data only, no code. `writing` writes it. Only the configuration fields that inference needs are read,
so a bundle of another version loads if these fields are the same.
"""

import dataclasses
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy

from llmrec_jax.config import DataConfig, ModelConfig
from llmrec_jax.data.domains.records import Fact, Item
from llmrec_jax.errors import UserError
from llmrec_jax.inference import parts
from llmrec_jax.inference.parts import Parts
from llmrec_jax.version import __version__

NAME = "bundle"  # the folder's name in a run's work folder
HEADS = "heads.safetensors"
EXTRAS = ("item_vectors", "popularity", "whitening_mean", "whitening_transform")  # arrays that are not parameters
ATTEMPTS = 10  # to read a bundle that is being replaced
WAIT = 0.1  # seconds between them


class BundleItem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of `items.jsonl`. Bundles of older versions have only the first three fields."""

    item_id: str
    title: str
    domain: str
    category: str | None = None
    brand: str | None = None
    description: str | None = None  # as far as the item's text reads it
    facts: tuple[Fact, ...] = ()
    attributes: dict[str, str | float] = {}  # the other flat fields, such as a price; for filters
    is_new: bool = False  # added after the training
    is_removed: bool = False  # not recommended, but still read in histories

    def as_record(self) -> Item:
        """The fields that the text and the channels read."""
        return Item(self.item_id, self.title, self.category, self.brand, self.description, self.facts)


class TextConfig(msgspec.Struct, frozen=True):
    """How an item's text is formatted; part of a run's `data` section."""

    max_tokens: int
    text_fields: tuple[str, ...] = DataConfig.text_fields
    description_chars: int = DataConfig.description_chars
    graph_text: bool = DataConfig.graph_text


class _RunConfig(msgspec.Struct, frozen=True):
    """The part of a run's configuration that inference needs."""

    model: dict[str, Any]
    data: TextConfig


class Facts(msgspec.Struct, frozen=True):
    """`config.json`."""

    version: str
    target: str
    config: _RunConfig
    dims: dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle in memory; the encoder and the tokenizer are loaded from disk when needed."""

    folder: Path
    model: ModelConfig
    dims: dict[str, Any]  # of the model: the fields of `models.rec_model.Dimensions`
    text: TextConfig
    target: str  # the domain whose items are recommended
    items: list[BundleItem]
    arrays: dict[str, np.ndarray]  # parameters by their path, such as "user_tower.decay"
    extras: dict[str, np.ndarray]
    parts: Parts  # of the answer
    files: tuple[Any, ...]  # identifies the files, see `check_unchanged`

    def check_unchanged(self) -> None:
        """Raise ValueError if the bundle on disk was replaced after this one was loaded."""
        if _identity(self.folder) != self.files:
            raise UserError(f"{self.folder}: replaced by another bundle since it was loaded; load it again")


def load(folder: Path) -> Bundle:
    """Load a bundle, or the one in a run's work folder. Raises ValueError, which names the file, if it is invalid.

    If the bundle is replaced while it is being read, it is read again.
    """
    for attempt in range(1, ATTEMPTS + 1):
        place = find(folder)
        before = _identity(place)
        try:
            bundle = _load(place, before)
            bundle.check_unchanged()
        except UserError:
            is_changing = _identity(place) != before or (before is None and _is_replaced(place))
            if attempt == ATTEMPTS or not is_changing:
                raise
            time.sleep(WAIT)
        else:
            return bundle
    raise AssertionError("the last attempt returns or raises")


def find(folder: Path) -> Path:
    """The folder of the bundle: `folder` itself, or `bundle/` in a run's work folder."""
    folder = folder.expanduser()
    if folder.is_file():
        raise UserError(f"{folder}: this is a file; a bundle is a folder ({NAME}/ in a run's work folder)")
    inside = folder / NAME
    return inside if inside.is_dir() or _is_replaced(inside) else folder


def read_facts(folder: Path) -> Facts:
    """Read `config.json`. Raises ValueError if the folder is not a bundle, with a hint what it is instead."""
    path = folder / "config.json"
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    content = _read(path, msgspec.json.Decoder(dict[str, Any]).decode)
    if "dims" not in content:
        if "model_type" in content:
            raise UserError(f"{path}: an encoder's configuration, not a bundle's; pass the folder that holds "
                            "model.safetensors, items.jsonl and encoder/")  # fmt: skip
        if content.get("train", {}).get("objective") == "language_model":
            raise UserError(f"{path}: a run with train.objective=language_model, which writes encoder/ and no {NAME}/")
        if "data" in content and "train" in content:
            raise UserError(f"{path}: this run has not exported {NAME}/ yet; finish its training")
    return _read(path, msgspec.json.Decoder(Facts).decode)


def _load(folder: Path, files: Any) -> Bundle:
    facts = read_facts(folder)
    arrays = _read(folder / "model.safetensors", safetensors.numpy.load)
    items = _read(folder / "items.jsonl", msgspec.json.Decoder(BundleItem).decode_lines)
    extras = {name: arrays.pop(name) for name in EXTRAS if name in arrays}
    for name in ("item_vectors", "popularity"):
        if len(items) != len(extras.get(name, ())):
            raise UserError(f"{folder}: {len(items)} lines in items.jsonl, but {len(extras.get(name, ()))} rows of "
                             f"{name} in model.safetensors")  # fmt: skip
    return Bundle(
        folder=folder,
        model=_model_config(folder / "config.json", facts),
        dims=facts.dims,
        text=facts.config.data,
        target=facts.target,
        items=items,
        arrays=arrays,
        extras=extras,
        parts=parts.load(folder),
        files=files,
    )


def _model_config(path: Path, facts: Facts) -> ModelConfig:
    """Unlike in other sections, an unknown field is an error: every field changes what the model computes."""
    versions = f"the bundle was made by llmrec_jax {facts.version}, this is {__version__}"
    known = {field.name for field in dataclasses.fields(ModelConfig)}
    if unknown := facts.config.model.keys() - known:
        raise UserError(f"{path}: model.{', model.'.join(sorted(unknown))}: not known to this version; {versions}")
    try:
        return msgspec.convert(facts.config.model, ModelConfig)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: model: {error}; {versions}") from error


def _identity(folder: Path) -> tuple[Any, ...] | None:
    """Identifies a bundle by its files' inodes, sizes and modification times; None if files are missing."""
    try:
        stats = [(folder / name).stat() for name in ("config.json", "model.safetensors", "items.jsonl", *parts.FILES)]
    except OSError:
        return None
    return tuple((stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns) for stat in stats)


def _is_replaced(folder: Path) -> bool:
    """Whether `writing.write` is running. If folders cannot be swapped atomically, the bundle is briefly missing."""
    return any(folder.parent.glob(f".{folder.name}.*"))


def _read(path: Path, decode: Any) -> Any:
    try:
        return decode(path.read_bytes())
    except (OSError, ValueError, msgspec.DecodeError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: cannot be read as part of a bundle: {error}") from error

"""Reads TFDS datasets that are on this machine, without TensorFlow. Downloads nothing."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from llmrec_jax.errors import UserError

ADVICE = "prepare it as array_record: tfds.builder({name!r}, file_format='array_record').download_and_prepare()"


class Records:
    """The records of a split of a dataset, as dicts of Python values; class labels as their names."""

    def __init__(self, builder: Any, split: str):
        self.split = split
        self.source = builder.as_data_source(split)
        self.features = builder.info.features

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for record in self.source:
            yield {name: cell for key, value in record.items() for name, cell in _flat(key, value, self.features[key])}


def open_dataset(name: str) -> dict[str, Records]:
    """The splits of a dataset: a folder, or a name like "movielens/100k-ratings" in the TFDS folder.

    Raises `UserError` if it is not on this machine or not in the format array_record.
    """
    tfds.disable_progress_bar()
    builder = _builder(name)
    if not Path(builder.data_dir).is_dir() or not builder.info.splits:
        raise UserError(f"tfds:{name}: not in {builder.data_dir}; nothing is downloaded: {ADVICE.format(name=name)}")
    if builder.info.file_format is None or builder.info.file_format.value != "array_record":
        raise UserError(f"tfds:{name}: its files are in another format than array_record; {ADVICE.format(name=name)}")
    return {split: Records(builder, split) for split in builder.info.splits}


def _builder(name: str) -> Any:
    folder = Path(name).expanduser()
    with contextlib.suppress(FileNotFoundError):
        if folder.is_dir():
            inside = sorted(folder.rglob("dataset_info.json"))
            return tfds.builder_from_directory(os.fspath(inside[-1].parent if inside else folder))
    try:
        return tfds.builder(name, try_gcs=False, file_format="array_record")
    except Exception as error:  # TFDS raises many kinds, some of its own
        raise UserError(f"tfds:{name}: neither a folder nor a dataset that TFDS knows: {type(error).__name__}: "
                        f"{str(error).splitlines()[0] if str(error) else ''}") from None  # fmt: skip


def _flat(name: str, value: Any, feature: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and hasattr(feature, "items"):  # amazon_us_reviews has all under "data"
        for key, own in value.items():
            yield from _flat(key, own, feature[key])
        return
    names = getattr(feature, "names", None) or getattr(getattr(feature, "feature", None), "names", None)
    yield name, _python(value, names)


def _python(value: Any, names: list[str] | None) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray | list | tuple):
        return [_python(part, names) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
        return value.decode(errors="replace") if isinstance(value, bytes) else _python(value, names)
    return names[value] if names and isinstance(value, int) and 0 <= value < len(names) else value

"""Exports a domain as a TFDS dataset of array_record files, without TensorFlow. Only this file imports TFDS."""

import contextlib
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from llmrec_jax.data.domains.domain import Domain, stored_items
from llmrec_jax.errors import UserError

TEXTS = ("title", "category", "brand", "description")
EVENTS = {"items": np.int32, "ratings": np.float32, "timestamps": np.int64, "weights": np.float32}


def export(domain: Domain, folder: Path) -> Path:
    """Write a domain as a TFDS dataset to `folder`, which must be missing or empty.

    Returns:
      The folder that `tfds.builder_from_directory` opens.

    Raises:
      UserError: the folder is not empty or cannot be written.
    """
    draft = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} exists and is not an empty folder; name a new folder")
        draft.mkdir(parents=True)
        tfds.disable_progress_bar()
        builder = DomainRecords(domain, data_dir=draft)
        with contextlib.redirect_stdout(io.StringIO()):  # TFDS prints there at any verbosity
            # Otherwise TFDS looks for the dataset on a server.
            builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
        shutil.rmtree(draft / "downloads")
        draft.rename(folder)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder / Path(builder.data_dir).relative_to(draft)


class DomainRecords(tfds.core.GeneratorBasedBuilder):
    """A TFDS builder for a domain: record n of split `items` is item n, record n of split `users` is user n.

    TFDS requires the same features in all splits, so users have empty texts and items have no events.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, domain: Domain, *, data_dir: Path):
        self._domain = domain
        arrays = {name: getattr(domain, f"{name}_E") for name in EVENTS}
        self._arrays = {name: array for name, array in arrays.items() if array is not None}
        super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "id": tfds.features.Text(),
            **{name: tfds.features.Text() for name in TEXTS},
            **{name: tfds.features.Tensor(shape=(None,), dtype=EVENTS[name]) for name in self._arrays},
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        return {split: self._generate_examples(split) for split in ("items", "users")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return enumerate(self._item_rows() if split == "items" else self._user_rows())

    def _item_rows(self) -> Iterator[dict]:
        none = {name: array[:0] for name, array in self._arrays.items()}
        for item in stored_items(self._domain.folder):
            yield {"id": item.item_id, **{name: getattr(item, name) or "" for name in TEXTS}, **none}

    def _user_rows(self) -> Iterator[dict]:
        none, offsets = dict.fromkeys(TEXTS, ""), self._domain.offsets
        for user_id, start, end in zip(self._domain.user_ids, offsets[:-1], offsets[1:], strict=True):
            yield {"id": user_id, **none, **{name: array[start:end] for name, array in self._arrays.items()}}

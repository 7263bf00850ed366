"""Turns a domain folder into what the rest of the program reads: sorted, numbered, stored under its content hash.

A prepared folder holds memory-mapped arrays for the hot path and, beside them, a TFDS data set (array_record, written
without TensorFlow) for every other tool. It appears whole or not at all. Nothing here judges a record; `schema` does.

Shape letters: E events of the domain, users end to end.
"""

import collections
import contextlib
import hashlib
import io
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import rich.console
import tensorflow_datasets as tfds

from llmrec_jax.data.domains import schema
from llmrec_jax.data.domains.records import Item
from llmrec_jax.errors import UserError

FORMAT = 1  # of the prepared folder: a change here prepares every domain anew
ARRAYS = ("items_E", "ratings_E", "timestamps_E", "offsets")

TEXTS = ("title", "category", "brand", "description")
EVENTS = ("items", "ratings", "timestamps")

Order = Literal["timestamp", "sequence", "none"]


def prepare(folder: Path, cache: Path, on_bad_record: schema.OnBadRecord) -> Path:
    """The prepared folder of a domain folder, made where `cache` lacks it; the domain's name is the folder's.

    Two processes may prepare at once: the first to finish wins, and both return the same folder. Raises `DataError`.
    """
    declared = _declared_order(folder)
    digest = _content_hash(folder, f"{FORMAT} {declared} {on_bad_record}")
    final = cache / "domains" / f"{folder.name}-{digest[:16]}"
    if final.is_dir():
        return final
    half = final.with_name(f".{final.name}-{uuid.uuid4().hex}")
    half.mkdir(parents=True)
    try:
        with _status(f"preparing {folder.name}"):
            _write(folder, half, declared, digest, on_bad_record)
        try:
            half.rename(final)
        except OSError:
            if not final.is_dir():  # else another process was first
                raise
    finally:
        shutil.rmtree(half, ignore_errors=True)
    return final


class DomainRecords(tfds.core.GeneratorBasedBuilder):
    """The TFDS view of a domain: record n of split `items` is item n, record n of split `users` is user n.

    TFDS gives all splits one set of features, so a user has empty texts and an item has no events.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, items: list[Item], user_ids: list[str], arrays: dict[str, np.ndarray], *, data_dir: Path):
        self._items, self._user_ids, self._arrays = items, user_ids, arrays
        super().__init__(data_dir=os.fspath(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "id": tfds.features.Text(),
            **{name: tfds.features.Text() for name in TEXTS},
            "items": tfds.features.Tensor(shape=(None,), dtype=np.int32),
            "ratings": tfds.features.Tensor(shape=(None,), dtype=np.float32),
            "timestamps": tfds.features.Tensor(shape=(None,), dtype=np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        return {split: self._generate_examples(split) for split in ("items", "users")}

    def _generate_examples(self, split: str) -> Iterator[tuple[int, dict]]:
        return enumerate(self._item_rows() if split == "items" else self._user_rows())

    def _item_rows(self) -> Iterator[dict]:
        none = {name: self._arrays[f"{name}_E"][:0] for name in EVENTS}
        for item in self._items:
            yield {"id": item.item_id, **{name: getattr(item, name) or "" for name in TEXTS}, **none}

    def _user_rows(self) -> Iterator[dict]:
        none = dict.fromkeys(TEXTS, "")
        offsets = self._arrays["offsets"]
        for user_id, start, end in zip(self._user_ids, offsets[:-1], offsets[1:], strict=True):
            yield {"id": user_id, **none, **{name: self._arrays[f"{name}_E"][start:end] for name in EVENTS}}


def _write(folder: Path, half: Path, declared: Order | None, digest: str, on_bad_record: schema.OnBadRecord) -> None:
    raw, bad = schema.read(folder, on_bad_record)
    order = declared or ("timestamp" if (raw.timestamps_E >= 0).all() else "sequence")
    if order == "timestamp" and (missing := int((raw.timestamps_E < 0).sum())):
        raise UserError(f"{folder}: its order is said to be by timestamp, but {missing} rows have none")
    arrays, repeats = _arrange(raw, order)
    report = {
        "users": len(raw.user_ids),
        "items": len(raw.items),
        "interactions": len(arrays["items_E"]),
        "repeats_dropped": repeats,
        "items_without_interactions": len(raw.items) - len(np.unique(arrays["items_E"])),
        "skipped": dict(collections.Counter(f"{record.file}: {record.reason}" for record in bad)),
    }
    facts = {"name": folder.name, "hash": digest, "order": order, "report": report}
    for name, array in arrays.items():
        np.save(half / f"{name}.npy", array)
    for name, content in (("facts", facts), ("items", raw.items), ("users", raw.user_ids)):
        (half / f"{name}.json").write_bytes(msgspec.json.encode(content))
    if bad:
        lines = (msgspec.json.encode(record._asdict()) + b"\n" for record in bad)
        (half / "quarantine.jsonl").write_bytes(b"".join(lines))
    tfds.disable_progress_bar()
    builder = DomainRecords(raw.items, raw.user_ids, arrays, data_dir=half / "tfds")
    with contextlib.redirect_stdout(io.StringIO()):  # TFDS announces itself there, whatever the verbosity
        # There is nothing to download; without this TFDS asks a server whether it has the data set.
        builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    shutil.rmtree(half / "tfds" / "downloads")


def _arrange(raw: schema.RawDomain, order: Order) -> tuple[dict[str, np.ndarray], int]:
    """Events user by user, each user's in `order`, without repeats of an item; and how many repeats there were."""
    ties_E = _event_hash(raw)
    keys = {  # the last key counts most, and np.lexsort is stable
        "timestamp": (ties_E, raw.timestamps_E, raw.users_E),
        "sequence": (raw.users_E,),
        "none": (ties_E, raw.users_E),
    }
    sorted_E = np.lexsort(keys[order])
    pair_E = raw.users_E[sorted_E].astype(np.int64) * len(raw.items) + raw.items_E[sorted_E]
    kept_E = sorted_E[np.sort(np.unique(pair_E, return_index=True)[1])]
    counts = np.bincount(raw.users_E[kept_E], minlength=len(raw.user_ids))
    arrays = {
        "items_E": raw.items_E[kept_E],
        "ratings_E": raw.ratings_E[kept_E],
        "timestamps_E": raw.timestamps_E[kept_E],
        "offsets": np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    }
    return arrays, len(pair_E) - len(kept_E)


def _event_hash(raw: schema.RawDomain) -> np.ndarray:
    """A hash of every event's (user_id, item_id), uint64: the order of ties, which must tell nothing of the items."""
    users = np.array([_hash64(user_id) for user_id in raw.user_ids], np.uint64)
    items = np.array([_hash64(item.item_id) for item in raw.items], np.uint64)
    return _mix(_mix(users[raw.users_E]) + items[raw.items_E])


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _content_hash(folder: Path, how: str) -> str:
    total = hashlib.sha256(how.encode())
    for name in ("items.jsonl", "interactions.csv"):
        with schema.decompressed(schema.find(folder, name)) as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _declared_order(folder: Path) -> Order | None:
    """What `domains.json` beside the folder says about the order of its rows, if anything."""
    path = folder.parent / "domains.json"
    if not path.is_file():
        return None
    try:
        order = msgspec.json.decode(path.read_bytes())["domains"].get(folder.name, {}).get("order")
        return msgspec.convert(order, Order | None)
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path}: expected {{"domains": {{NAME: {{"order": ...}}}}}}: {error}') from None


@contextlib.contextmanager
def _status(message: str) -> Iterator[None]:
    """Say what takes so long, to a person at a terminal only."""
    console = rich.console.Console(stderr=True)
    with console.status(message) if console.is_terminal else contextlib.nullcontext():
        yield

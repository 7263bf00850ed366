"""A prepared domain, as the rest of the program sees it: ids, texts and one flat array of events.

Knows where a domain comes from (a name, a path, `demo:NAME`) and reads what `prepare` wrote; does not parse anyone's
input and does not split.

Shape letters: E events of the domain, users end to end.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import demo, prepare
from llmrec_jax.data.domains.records import Item, item_text
from llmrec_jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """One shop. Items and users are numbered in the order of their ids' lists; `items_E` holds item numbers."""

    name: str  # "beauty"; "films" for demo:films
    folder: Path  # the prepared folder in the cache
    hash: str  # content hash (hex): the input's bytes and everything that decided how they were read
    order: Literal["timestamp", "sequence", "none"]  # what the order of a user's events means
    item_ids: list[str]  # item number -> id, title, text
    titles: list[str]
    texts: list[str]
    user_ids: list[str]
    items_E: np.ndarray  # int32, memory-mapped: item numbers, users end to end, each in time order
    ratings_E: np.ndarray  # float32, NaN where the origin has none
    timestamps_E: np.ndarray  # int64 seconds, -1 where the origin has none
    offsets: np.ndarray  # int64 [users + 1]: user u's events are offsets[u]:offsets[u + 1]
    report: dict  # counts: users, items, interactions, skipped per reason, repeats dropped, ...

    def history(self, user: int) -> np.ndarray:
        """All events of a user number, oldest first (int32 item numbers)."""
        return self.items_E[self.offsets[user] : self.offsets[user + 1]]


def load_domain(spec: str, data: DataConfig) -> Domain:
    """Open the domain `spec` (a name under `data.root`, a path, or `demo:NAME`); prepare it where the cache lacks it.

    Raises `ValueError` where there is no such domain, `DataError` (a `ValueError`) where its records are bad.
    """
    cache = Path(data.cache_dir)
    folder = demo.write(spec.removeprefix("demo:"), cache) if spec.startswith("demo:") else _find(spec, Path(data.root))
    return open_domain(prepare.prepare(folder, cache, data.on_bad_record))


def open_domain(folder: Path) -> Domain:
    """Open a prepared folder."""
    facts = msgspec.json.decode((folder / "facts.json").read_bytes())
    items = msgspec.json.decode((folder / "items.json").read_bytes(), type=list[Item])
    return Domain(
        folder=folder,
        item_ids=[item.item_id for item in items],
        titles=[item.title for item in items],
        texts=[item_text(item.title, item.category, item.brand, item.description) for item in items],
        user_ids=msgspec.json.decode((folder / "users.json").read_bytes()),
        **{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in prepare.ARRAYS},
        **facts,
    )


def _find(spec: str, root: Path) -> Path:
    tried = [root / spec, Path(spec)]
    for folder in tried:
        if folder.is_dir():
            return folder.resolve()
    raise UserError(f"no domain {spec!r}: neither {tried[0]} nor {tried[1]} is a folder (built-in: {demo.names()})")

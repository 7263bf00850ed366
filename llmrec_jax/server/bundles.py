"""The bundles of a server: their recommenders, items added and removed since, and reloading after a change on disk.

A changed folder is loaded beside the old recommender and replaces it when it is warm, so no request fails or waits.
"""

import contextlib
import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmrec_jax.errors import UserError
from llmrec_jax.inference.bundle import find
from llmrec_jax.inference.recommender import Recommender
from llmrec_jax.server.errors import ApiError
from llmrec_jax.server.limits import Limits

log = logging.getLogger("llmrec_jax.server")


class Facts(msgspec.Struct):
    """What /v1/info tells of a bundle."""

    regime: str | None
    verdict: str | None
    weights: dict[str, float]  # by part of the answer


class Served:
    """One bundle: `recommender` is the current one. Thread-safe."""

    def __init__(self, name: str, folder: Path, limits: Limits):
        """Raises ValueError if the folder is not a bundle."""
        self.name, self.folder, self._limits = name, folder, limits
        self._files = self._changed = _files(folder)
        self._changing = threading.Lock()
        self._added: dict[str, Mapping[str, Any]] = {}
        self._removed: set[str] = set()
        self._num_added = 0  # since the last load
        self.recommender, self.facts = _warm(Recommender.load(folder), limits), _facts(folder)

    def add(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Add items. Raises ValueError if one is invalid or its id is taken; then none is added."""
        with self._changing:
            if self._num_added + len(items) > (most := self._limits.added_items):
                raise ApiError(
                    422,
                    f"{self._num_added:,} items were added since the bundle was loaded, at most {most:,} "
                    "can be; put them into the shop's items.jsonl and train again",
                    "items",
                )
            self.recommender.add_items(items)
            self._num_added += len(items)  # also those that are removed later take memory
            for item in items:
                self._added[item["item_id"]] = item
                self._removed.discard(item["item_id"])

    def remove(self, ids: Sequence[str]) -> None:
        """Remove items. Raises ValueError if an id is unknown; then none is removed."""
        with self._changing:
            self.recommender.remove_items(ids)
            for item_id in ids:
                self._added.pop(item_id, None)
                self._removed.add(item_id)

    def reload_if_changed(self) -> str | None:
        """Load the bundle again if its files changed and have been the same since the last call, which is how a copy
        that is still being written is left alone. Items added and removed by requests are added and removed again.

        Returns "ok", "failed" (the old recommender stays until the files change again), or None if nothing changed.
        """
        before, self._changed = self._changed, _files(self.folder)
        if self._changed in (None, self._files) or self._changed != before:
            return None
        self._files = self._changed
        try:
            fresh = _warm(Recommender.load(self.folder), self._limits)
            with self._changing:
                self._replay(fresh)
                self.recommender, self.facts = fresh, _facts(self.folder)
        except UserError as error:
            log.warning("%s: not reloaded, the loaded one stays: %s", self.name, error)
            return "failed"
        log.warning("%s: reloaded from %s", self.name, self.folder)
        return "ok"

    def _replay(self, fresh: Recommender) -> None:
        known = {item.item_id for item in fresh.items}
        self._removed &= known
        self._added = {item_id: item for item_id, item in self._added.items() if item_id not in known}
        if self._removed:
            fresh.remove_items(sorted(self._removed))
        if self._added:
            fresh.add_items(list(self._added.values()))
        self._num_added = len(self._added)


class Bundles:
    """All bundles by name; the first is the default."""

    def __init__(self, folders: Mapping[str, Path], limits: Limits):
        """Load them. Raises ValueError if there is none or one is not a bundle."""
        if not folders:
            raise UserError("no bundle to serve; pass the folder of at least one")
        self.by_name = {name: Served(name, Path(folder), limits) for name, folder in folders.items()}
        self.default = next(iter(self.by_name))

    def get(self, name: str | None, field: str = "bundle") -> Served:
        """The bundle of a request. Raises ApiError (422) if there is none of this name."""
        found = self.by_name.get(self.default if name is None else name)
        if found is None:
            raise ApiError(422, f"{field}: no bundle {name!r}; there are {', '.join(self.by_name)}", field)
        return found

    def num_items(self) -> dict[str, int]:
        """Items that are recommended, by bundle."""
        return {name: len(served.recommender.items) for name, served in self.by_name.items()}


def _files(folder: Path) -> Any:
    """Identifies the files of a bundle by inode, size and time of modification; None while it is missing."""
    try:
        stats = {path.name: path.stat() for path in find(folder).iterdir()}
    except (OSError, UserError):
        return None
    return {name: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def _warm(recommender: Recommender, limits: Limits) -> Recommender:
    """Load what is loaded on first use, and compile: the first request is as fast as others, and needs no file."""
    some = [item.item_id for item in recommender.items[:1]]
    size = 1
    while some and size <= limits.batch:
        recommender.recommend_many([some] * size, 1)
        size *= 2
    for use in (lambda: recommender.encode(["warm"]), lambda: recommender.search("warm", 1)):
        with contextlib.suppress(UserError):  # a model of ids reads no text
            use()
    return recommender


def _facts(folder: Path) -> Facts:
    """What the files say beside the recommender; the report is in the work folder of the run, if that is served."""
    place = find(folder)
    found: dict[str, Any] = {}
    for path in (place / "config.json", place / "parts.json", place.parent / "report.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found |= msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    return msgspec.convert({name: found.get(name) for name in Facts.__struct_fields__}, Facts)

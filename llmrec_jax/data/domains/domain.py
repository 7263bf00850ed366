"""The `Domain`: ids, texts and a flat array of events. Read from the cache; prepared first if the cache has none.

Resolves a name, a path or `demo:NAME`. `schema.py` parses the input files.

Shape letters: E events of the domain, users end to end.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.cache import DamagedError, cached
from llmrec_jax.data.domains import arrange, demo, folders, graph, impression_rows, low_ratings, prepare
from llmrec_jax.data.domains.records import DESCRIPTION_CHARS, TEXT_FIELDS, Fact, Item, item_text
from llmrec_jax.data.domains.settings import Order

if TYPE_CHECKING:
    from llmrec_jax.data.domains.frames import Frame


@dataclasses.dataclass(frozen=True, eq=False)
class Domain:
    """One shop. Items and users are numbered by their position in `item_ids` and `user_ids`."""

    name: str  # "beauty"; "films" for demo:films
    folder: Path  # the prepared folder in the cache
    hash: str  # content hash (hex) of the input bytes and of all settings that affect how they are read
    order: Order  # what the order of a user's events means
    item_ids: list[str]  # item number -> id, title, text
    titles: list[str]
    texts: list[str]
    user_ids: list[str]
    items_E: np.ndarray  # int32, memory-mapped: item numbers, users end to end, each in time order
    ratings_E: np.ndarray  # float32, NaN if missing
    timestamps_E: np.ndarray  # int64 seconds, -1 if missing
    offsets: np.ndarray  # int64 [users + 1]: user u's events are offsets[u]:offsets[u + 1]
    report: dict[str, Any]  # counts: users, items, ...; "order_reason"; "notes" on how the files were read
    # float32, at least 0: the largest weight of the user's interactions with the item; None: all interactions count 1
    weights_E: np.ndarray | None = None
    first_weights_E: np.ndarray | None = None  # float32: the weight of the first of these, which is the one kept
    facts: tuple[tuple[Fact, ...], ...] = ()  # of each item, from the knowledge graph; () without one
    items: Sequence[Item] = ()  # with all fields, descriptions as far as the texts have them
    # The interactions that data.min_rating leaves out, see `low_ratings`; None without data.min_rating.
    low_items_A: np.ndarray | None = None
    low_ratings_A: np.ndarray | None = None
    low_place_A: np.ndarray | None = None
    low_offsets: np.ndarray | None = None
    # Lists of shown items, see `impressions`; None: interactions.csv has none.
    shown_users_Q: np.ndarray | None = None
    shown_place_Q: np.ndarray | None = None
    shown_offsets: np.ndarray | None = None
    shown_items_A: np.ndarray | None = None
    shown_clicked_A: np.ndarray | None = None

    @classmethod
    def from_frames(
        cls, items: "Frame", events: "Frame", *, name: str = "frames", data: DataConfig | None = None
    ) -> "Domain":
        """A domain from two frames: of pandas, polars or Arrow, dicts of columns, or lists of dicts.

        They are written to a domain folder in the cache. The hash is that of any folder with the same bytes, such as
        the one that `llmrec import` writes for the same data.

        Args:
          items: Columns `item_id`, `title`, and optionally `category`, `brand`, `description` and others.
          events: Columns `user_id`, `item_id`, and optionally `rating`, `timestamp`, `weight`, or `action` and
            `impression_id`.
          name: Name of the domain.
          data: How to read it; uses `cache_dir`, `min_rating`, `on_bad_record` and the fields of texts.

        Raises:
          UserError: a column is missing, or a row is invalid; the message gives its number, from 0.
        """
        from llmrec_jax.data.domains import frames

        data = DataConfig() if data is None else data
        return load_domain(str(frames.store(items, events, name, data).absolute()), data)

    def history(self, user: int) -> np.ndarray:
        """All events of a user, oldest first (int32 item numbers)."""
        return self.items_E[self.offsets[user] : self.offsets[user + 1]]


def load_domain(spec: str, data: DataConfig) -> Domain:
    """Open the domain `spec` (a name under `data.root`, a path, or `demo:NAME`); prepare it if it is not cached.

    Raises `UserError` if there is no such domain, `DataError` (a `UserError`) if it has bad records.
    """
    folder = locate(spec, data)
    digest = prepare.content_hash(folder, data.on_bad_record, data.min_rating)

    def make(draft: Path) -> None:
        prepare.write(prepare.build(folder, data.on_bad_record, data.min_rating), draft, folder.name, digest)

    return load_prepared(folder.name, digest, make, data)


def load_prepared(name: str, digest: str, make: Callable[[Path], None], data: DataConfig) -> Domain:
    """Open the domain with this `prepare.content_hash`; if it is not cached, `make` writes it to an empty folder."""
    return cached(
        Path(data.cache_dir) / "domains" / f"{name}-{digest[:16]}",
        make,
        lambda stored: open_domain(
            stored, data.text_fields, data.description_chars, data.split_seed if data.graph_text else None
        ),
        f"preparing {name}",
    )


def locate(spec: str, data: DataConfig) -> Path:
    """The folder of the domain `spec`. Raises `UserError` if there is none."""
    if spec.startswith("demo:"):
        return demo.write(spec.removeprefix("demo:"), Path(data.cache_dir))
    return folders.locate(spec, Path(data.root), f"built-in: {demo.names()}")


def open_domain(
    folder: Path,
    text_fields: Sequence[str] = TEXT_FIELDS,
    description_chars: int = DESCRIPTION_CHARS,
    graph_seed: int | None = None,
) -> Domain:
    """Open a prepared folder; texts consist of `text_fields`. Raises `DamagedError` if its files are inconsistent.

    With `graph_seed`, the texts also name the facts of the knowledge graph that are not held out under this seed.
    """
    try:
        facts = msgspec.json.decode((folder / "facts.json").read_bytes(), type=_Facts)
        items, user_ids = (
            stored_items(folder),
            msgspec.json.decode((folder / "users.json").read_bytes(), type=list[str]),
        )
        names = arrange.ARRAYS + (arrange.WEIGHTS if facts.report["weights"] else ())
        if facts.report["below_min_rating"]:
            names += low_ratings.NAMES
        if "impressions" in facts.report:
            names += impression_rows.NAMES
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in names}
    except (OSError, ValueError, EOFError, msgspec.MsgspecError) as error:
        raise DamagedError(str(error)) from error
    events = facts.report["interactions"]
    if (len(items), len(user_ids)) != (facts.report["items"], facts.report["users"]):
        raise DamagedError("items.json or users.json does not fit facts.json")
    sizes = {"offsets": len(user_ids) + 1, "low_offsets": len(user_ids) + 1}
    if "low_offsets" in arrays:
        sizes |= dict.fromkeys(low_ratings.NAMES[:-1], int(arrays["low_offsets"][-1]))
    if "shown_offsets" in arrays:
        lists, shown = facts.report["impressions"], int(arrays["shown_offsets"][-1])
        sizes |= dict(zip(impression_rows.NAMES, (lists, lists, lists + 1, shown, shown), strict=True))
    if any(len(array) != sizes.get(name, events) for name, array in arrays.items()):
        raise DamagedError("the arrays do not fit facts.json")
    cut = sum(len(item.description or "") > description_chars for item in items) if "description" in text_fields else 0
    notes = (
        [f"{cut:,} descriptions truncated to {description_chars} characters (data.description_chars)"] if cut else []
    )
    triples = tuple(item.facts for item in items) if "triples" in facts.report else ()
    in_text = [()] * len(items) if graph_seed is None else _not_held_out(items, graph_seed)
    return Domain(
        name=facts.name,
        folder=folder,
        hash=facts.hash,
        order=facts.order,
        item_ids=[item.item_id for item in items],
        titles=[item.title for item in items],
        texts=[
            item_text(item.title, item.category, item.brand, item.description, text_fields, description_chars, own)
            for item, own in zip(items, in_text, strict=True)
        ],
        user_ids=user_ids,
        **arrays,
        report=facts.report | {"notes": [*facts.report["notes"], *notes]},
        facts=triples,
        items=[_truncate(item, description_chars) for item in items],
    )


def _truncate(item: Item, description_chars: int) -> Item:
    """The item with the part of its description that its text has."""
    if len(item.description or "") <= description_chars:
        return item
    return msgspec.structs.replace(item, description=(item.description or "")[:description_chars])


def _not_held_out(items: Sequence[Item], seed: int) -> list[tuple[Fact, ...]]:
    """The facts of each item that a text may name, so that no text answers what link prediction asks."""
    held_out = graph.held_out([item.item_id for item in items], [item.facts for item in items], seed)
    return [
        tuple(fact for fact, is_out in zip(item.facts, out, strict=True) if not is_out)
        for item, out in zip(items, held_out, strict=True)
    ]


def stored_items(folder: Path) -> list[Item]:
    """The items of a prepared folder with all fields, in the order of item numbers."""
    return msgspec.json.decode((folder / "items.json").read_bytes(), type=list[Item])


class _Facts(msgspec.Struct, frozen=True):
    """`facts.json`."""

    name: str
    hash: str
    order: Order
    report: dict[str, Any]

"""`fit`: from items and events to a trained `Recommender` in one call, by a recipe of the package."""

import csv
import hashlib
import math
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax import recipes
from llmrec_jax.data.domains.folders import EVENTS, ITEMS
from llmrec_jax.data.domains.settings import COLUMNS
from llmrec_jax.errors import UserError
from llmrec_jax.inference.recommender import Recommender

METHODS = {"to_dicts": (), "to_pylist": (), "to_dict": ("records",)}  # of polars, Arrow and pandas: a dict for each row


def fit(
    items: Any,
    events: Any = None,
    *,
    recipe: str = "my_shop",
    changes: Mapping[str, Any] | None = None,
    name: str = "shop",
    workdir: str | Path | None = None,
    console: Console | None = None,
) -> Recommender:
    """Train on one shop and return its recommender.

    Args:
      items: rows with `item_id` and `title`, optionally `brand`, `category`, `description` and other fields, which
        filters read: a frame of pandas, polars or Arrow, or dicts. Or a domain folder, which holds the events, too.
      events: rows with `user_id` and `item_id`, optionally `timestamp` (or the rows of each user in order), `rating`,
        `weight`.
      recipe: name of a recipe, or a configuration file.
      changes: fields of its configuration, such as `{"train.steps": 300}`.
      name: of the shop, if `items` is not a folder.
      workdir: the run's folder, which is resumed if it was interrupted; None: a temporary one, deleted with the
        recommender (`Recommender.save` keeps the bundle).
      console: prints the progress; None: nothing is printed.

    Raises:
      ValueError: the rows, the folder or the changes are invalid.
    """
    from llmrec_jax.models.fetch import ensure  # both import JAX
    from llmrec_jax.train.stages import run_stages

    config = config_lib.changed(config_lib.load(recipes.find(recipe)), changes or {})
    if isinstance(items, str | Path):
        if events is not None:
            raise UserError("events: the folder that is given as items holds them; leave them out")
        folder = Path(items)
    else:
        tables = _rows(items, "items"), _rows(events, "events")
        folder = _written(*tables, Path(config.data.cache_dir) / "frames", name)
    config = config_lib.changed(config, {"data.target": str(folder.expanduser().absolute())})
    config_lib.validate(config)
    if config.encoder.pretrained is not None:
        ensure(config.encoder.pretrained)  # download or fail now, not after preparing the data
    temporary = None
    if workdir is None:
        temporary = tempfile.TemporaryDirectory(prefix="llmrec-fit-")
        workdir = temporary.name
    place = Path(workdir)
    run_stages(config, place, console or Console(quiet=True))
    recommender = Recommender.load(place)
    if temporary is not None:
        weakref.finalize(recommender, temporary.cleanup)
    return recommender


def _rows(frame: Any, name: str) -> list[dict[str, Any]]:
    """The rows of a frame, or of an iterable of dicts, without missing values."""
    for method, arguments in METHODS.items():
        if hasattr(frame, method) and not isinstance(frame, Mapping):
            frame = getattr(frame, method)(*arguments)
            break
    if frame is None or isinstance(frame, str | Mapping) or not isinstance(frame, Iterable):
        raise UserError(f"{name} is {type(frame).__name__}: pass a frame or a list of dicts, one for each row")
    rows = []
    for number, row in enumerate(frame):
        if not isinstance(row, Mapping):
            raise UserError(f"{name}: row {number} is {row!r}, not a dict")
        rows.append({str(key): value for key, value in row.items() if not _is_missing(value)})
    return rows


def _is_missing(value: Any) -> bool:
    return (
        value is None
        or (isinstance(value, float) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    )


def _written(items: list[dict[str, Any]], events: list[dict[str, Any]], root: Path, name: str) -> Path:
    """A domain folder with these rows, in a folder under `root` that is named by its content."""
    columns = [column for column in COLUMNS if any(column in row for row in events)]
    draft = root / f".{uuid.uuid4().hex}" / name
    try:
        draft.mkdir(parents=True)
        (draft / ITEMS).write_bytes(msgspec.json.Encoder(enc_hook=_plain).encode_lines(items))
        with (draft / EVENTS).open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(events)
        total = hashlib.sha256((draft / ITEMS).read_bytes() + (draft / EVENTS).read_bytes())
        folder = root / total.hexdigest()[:16] / name
        if not folder.exists():
            folder.parent.mkdir(exist_ok=True)
            draft.rename(folder)
    except (OSError, TypeError, ValueError) as error:
        raise UserError(f"cannot write the rows to {root}: {error}") from error
    finally:
        shutil.rmtree(draft.parent, ignore_errors=True)
    return folder


def _plain(value: Any) -> Any:
    """A value of NumPy as JSON."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{value!r} cannot be stored as JSON")

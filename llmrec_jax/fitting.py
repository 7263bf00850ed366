"""`fit`: from items and events to a trained `Recommender` in one call, by a recipe of the package."""

import tempfile
import weakref
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax import recipes
from llmrec_jax.data.domains import frames
from llmrec_jax.data.domains.frames import Frame
from llmrec_jax.errors import UserError
from llmrec_jax.inference.recommender import Recommender
from llmrec_jax.progress import muted


def fit(
    items: Frame | str | Path,
    events: Frame | None = None,
    *,
    recipe: str = "my_shop",
    changes: Mapping[str, object] | None = None,
    name: str = "shop",
    workdir: str | Path | None = None,
    console: Console | None = None,
) -> Recommender:
    """Train on one shop and return its recommender.

    Args:
      items: rows with `item_id` and `title`, optionally `brand`, `category`, `description` and other fields, which
        filters read: a frame of pandas, polars or Arrow, a dict of columns, or a list of dicts. Or a domain folder,
        which holds the events, too.
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
    import jax

    from llmrec_jax.models.fetch import ensure  # imports JAX, as the next
    from llmrec_jax.train.stages import run_stages

    config = config_lib.changed(config_lib.load(recipes.find(recipe)), changes or {})
    if isinstance(items, str | Path):
        if events is not None:
            raise UserError("events: items is a folder, which already contains the events; pass items alone")
        folder = Path(items)
    elif events is None:
        raise UserError("events: missing; pass a frame with user_id and item_id, or a domain folder as items")
    else:
        folder = frames.store(items, events, name, config.data)
    config = config_lib.changed(config, {"data.target": str(folder.expanduser().absolute())})
    config_lib.validate(config)
    if config.encoder.pretrained is not None:
        ensure(config.encoder.pretrained)  # download or fail now, not after preparing the data
    temporary = None
    if workdir is None:
        temporary = tempfile.TemporaryDirectory(prefix="llmrec-fit-")
        workdir = temporary.name
    place = Path(workdir)
    with muted(console is None or jax.process_index() != 0):
        run_stages(config, place, console or Console(quiet=True))
    recommender = Recommender.load(place)
    if temporary is not None:
        weakref.finalize(recommender, temporary.cleanup)
    return recommender

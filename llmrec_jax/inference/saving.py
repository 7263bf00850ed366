"""Saves a recommender as a bundle: the files of the one that it was loaded from, with the current items."""

from pathlib import Path

import msgspec
import numpy as np
import safetensors.numpy

from llmrec_jax.inference import parts, writing
from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.inference.catalog import Catalog


def save(bundle: Bundle, catalog: Catalog, folder: Path) -> None:
    """Write the bundle to `folder`, replacing a bundle there.

    Raises:
      ValueError: `folder` holds something other than a bundle, or the files that `bundle` was loaded from have changed.
    """
    bundle.check_unchanged()

    def change(draft: Path) -> None:
        bundle.check_unchanged()
        extras = bundle.extras | {"item_vectors": catalog.vectors_ID, "popularity": catalog.popularity_I}
        arrays = {name: np.asarray(array, order="C") for name, array in (bundle.arrays | extras).items()}
        (draft / "model.safetensors").write_bytes(safetensors.numpy.save(arrays))
        (draft / "items.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(catalog.items))
        parts.write(draft, bundle.parts._replace(channels=catalog.channels))

    writing.copy(bundle.folder, folder, change)

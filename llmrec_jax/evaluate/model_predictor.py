"""The trained model as a predictor: its item and user vectors, computed in tiles of fixed size on all devices.

Matrix products run in full float32: the default precision on TPUs would make results differ from those of a bundle.

Shape letters besides those of `types.py`: R rows of a tile.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from llmrec_jax.evaluate.tiles import map_tiles
from llmrec_jax.predictor import Histories, VectorPredictor, elapsed
from llmrec_jax.types import Catalog


@dataclasses.dataclass(frozen=True)
class _ItemVectors:
    graphdef: Any

    def __call__(self, constants: tuple[Any, Catalog], items_R: jax.Array) -> jax.Array:
        params, catalog = constants
        with jax.default_matmul_precision("highest"):
            return nnx.merge(self.graphdef, params).encode_items(items_R, catalog)


@dataclasses.dataclass(frozen=True)
class _UserVectors:
    graphdef: Any

    def __call__(
        self, constants: tuple[Any, jax.Array], history_RS: jax.Array, mask_RS: jax.Array, time_RS: jax.Array
    ) -> jax.Array:
        params, items_ID = constants
        with jax.default_matmul_precision("highest"):
            model = nnx.merge(self.graphdef, params)
            users_RSD = model.encode_histories(items_ID[history_RS], mask_RS, time_RS=time_RS)
        return users_RSD[np.arange(len(mask_RS)), jax.numpy.maximum(mask_RS.sum(axis=1) - 1, 0)]


def item_vectors(
    graphdef: Any, params: Any, catalog: Catalog, items: slice | np.ndarray, mesh: Mesh, batch_size: int
) -> np.ndarray:
    """Vectors of some items of the joint catalogue, float32 [I, D]: a range of it, or item numbers.

    `params` and `catalog` are on the devices.
    """
    numbers = np.arange(items.start, items.stop, dtype=np.int32) if isinstance(items, slice) else items
    return map_tiles(_ItemVectors(graphdef), mesh, (numbers,), (params, catalog), batch_size)


def model_predictor(
    graphdef: Any, params: Any, catalog: Catalog, items: slice, *, max_history: int, mesh: Mesh, batch_size: int
) -> VectorPredictor:
    """The model over one domain's items; user vectors are computed from the last `max_history` items."""
    items_ID = item_vectors(graphdef, params, catalog, items, mesh, batch_size)

    def users(histories: Sequence[np.ndarray]) -> np.ndarray:
        arrays = last_events(histories, max_history)
        return map_tiles(_UserVectors(graphdef), mesh, arrays, (params, items_ID), batch_size)

    return VectorPredictor("model", items_ID, users)


def last_events(histories: Sequence[np.ndarray], max_history: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last `max_history` items of each history, padded on the right, the mask, and the times as in a batch.

    int32, bool and int32 [N, S].
    """
    recent = [history[-max_history:] for history in histories]
    length_N = np.array([len(items) for items in recent], np.int64)
    mask_NS = np.arange(max_history) < length_N[:, None]
    history_NS, time_NS = np.zeros(mask_NS.shape, np.int32), np.full(mask_NS.shape, -1, np.int32)
    if not mask_NS.any():
        return history_NS, mask_NS, time_NS
    history_NS[mask_NS] = np.concatenate(recent)
    if isinstance(histories, Histories) and histories.times is not None:
        seconds_NS = np.zeros(mask_NS.shape, np.int64)
        seconds_NS[mask_NS] = np.concatenate([times[-max_history:] for times in histories.times])
        time_NS = np.where(mask_NS, elapsed(seconds_NS), time_NS)
    return history_NS, mask_NS, time_NS

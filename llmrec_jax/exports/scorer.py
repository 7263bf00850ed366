"""The scorer of a bundle as facts and arrays: what `network.score` reads, and the `numpy` export writes.

    scorer.json          sizes, weights of the answer's parts, how its channels read a history
    scorer.safetensors   item vectors, parameters of the user tower, tables of the channels
    items.json           [[item_id, title], ...] in the order of the item vectors: the target's items first

A sparse table has three arrays: `row`, `column` and `value` of its entries.

Shape letters: those of `network`.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import scipy.sparse

from llmrec_jax.errors import UserError
from llmrec_jax.exports.quantize import quantized
from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.version import __version__

NORM_EPS = 1e-5  # of the user tower's blocks
MODEL = "model"  # the trained part of the answer


@dataclasses.dataclass(frozen=True, eq=False)
class Scorer:
    """The scorer of a bundle in memory."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    items: list[tuple[str, str]]  # id and title, the target's first


def scorer_of(bundle: Bundle, *, int8: bool = False) -> Scorer:
    """The scorer of a bundle.

    Args:
      bundle: the bundle.
      int8: store item vectors and dense tables as int8 with a scale per item, a quarter of the size.

    Raises:
      ValueError: the bundle has no items of its target.
    """
    is_target_I = np.array([item.domain == bundle.target for item in bundle.items], bool)
    num_target = int(is_target_I.sum())
    if not num_target:
        raise UserError(f"{bundle.folder}: no items of the target {bundle.target!r}; there is nothing to export")
    order = np.concatenate([np.flatnonzero(is_target_I), np.flatnonzero(~is_target_I)])
    vectors_ID, popularity_I = bundle.extras["item_vectors"][order], bundle.extras["popularity"][order]
    arrays = {name: array for name, array in bundle.arrays.items() if name.startswith("user_tower.")}
    arrays |= {
        "vectors": np.asarray(vectors_ID, np.float32),
        "is_known": vectors_ID[:num_target].any(axis=1).astype(np.float32),
        "popularity": (popularity_I[:num_target] / (popularity_I.sum() or 1)).astype(np.float32),
        "removal": np.array([-np.inf if bundle.items[n].is_removed else 0 for n in order[:num_target]], np.float32),
    }
    channels = _channels(bundle, arrays)
    tables = {"vectors", *(channel[side] for channel in channels for side in ("as_history", "as_item"))}
    for name in sorted(tables & arrays.keys()) if int8 else ():
        if arrays[name].shape[1] > 4:  # in fewer columns, the scales take more than they save
            arrays |= quantized(name, arrays[name])
    facts = {
        "format": 1,
        "version": __version__,
        "target": bundle.target,
        "num_target": num_target,
        "tower": tower_facts(bundle),
        "weights": bundle.parts.weights,
        "channels": channels,
    }
    items = [(bundle.items[n].item_id, bundle.items[n].title) for n in order]
    return Scorer(facts, arrays, items)


def write(scorer: Scorer, folder: Path) -> None:
    """Write the three files."""
    arrays = {name: np.asarray(array, order="C") for name, array in scorer.arrays.items()}
    (folder / "scorer.safetensors").write_bytes(safetensors.numpy.save(arrays))
    write_json(folder / "scorer.json", scorer.facts)
    write_json(folder / "items.json", scorer.items)


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON, UTF-8."""
    path.write_text(json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n", "utf-8")


def tower_facts(bundle: Bundle) -> dict[str, Any]:
    """Sizes of the user tower, for `network.user_vectors`."""
    model = bundle.model
    return {
        "kind": model.user_tower,
        "width": model.width,
        "num_layers": model.num_layers,
        "num_heads": model.num_heads,
        "head_width": model.width // model.num_heads,
        "norm_eps": NORM_EPS,
        "activation": "gelu_new",
        "max_history": bundle.dims["max_history"],
        "is_cosine": model.score == "cosine",
        "has_mean": model.recency_mean,
        "has_bias": model.item_bias,
    }


def _channels(bundle: Bundle, arrays: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """Facts of the channels that have a weight; their tables are added to `arrays`, each once."""
    name_of: dict[int, str] = {}

    def put(name: str, table: Any) -> str:
        if id(table) in name_of:
            return name_of[id(table)]
        name_of[id(table)] = name
        if not scipy.sparse.issparse(table):
            arrays[name] = np.asarray(table, np.float32)
            return name
        entries = table.tocoo()
        parts = {"row": entries.row, "column": entries.col}
        arrays.update({f"{name}.{part}": array.astype(np.int32) for part, array in parts.items()})
        arrays[f"{name}.value"] = entries.data.astype(np.float32)
        return name

    found = []
    for part, fitted in bundle.parts.channels.items():
        for number, (channel, _) in enumerate(fitted):
            if not bundle.parts.weights[part]:
                continue
            name = f"{part}.{number}"
            item = None if channel.as_item_IV is None else put(f"{name}.as_item", channel.as_item_IV)
            facts = {
                "part": part,
                "as_history": put(f"{name}.as_history", channel.as_history_IV),
                "as_item": item,
                "is_sparse": bool(scipy.sparse.issparse(channel.as_history_IV)),
                "num_features": int(channel.as_history_IV.shape[1]),
            }
            use = {key: getattr(channel, key) for key in ("decay", "num_last", "normalize", "scale")}
            found.append(facts | use)
    return found

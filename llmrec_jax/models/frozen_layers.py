"""Splits an encoder into frozen lower layers and trained upper layers, and merges them again.

The lower part has the embeddings and the first layers; the upper part has no embeddings (`config.embeds`).
"""

import dataclasses
from typing import Any

import numpy as np
from flax import nnx, traverse_util

from llmrec_jax.errors import UserError
from llmrec_jax.models.architectures import new_encoder
from llmrec_jax.models.bert import Bert, BertConfig
from llmrec_jax.models.gpt2 import Gpt2, Gpt2Config


def upper_config(config: BertConfig | Gpt2Config, frozen: int) -> BertConfig | Gpt2Config:
    """The config of the layers above the first `frozen`. Raises ValueError if there are none."""
    if frozen >= config.num_layers:
        raise UserError(f"encoder.frozen_layers={frozen}, but the encoder has {config.num_layers} layers; "
                         "encoder.mode=frozen freezes them all")  # fmt: skip
    return dataclasses.replace(config, num_layers=config.num_layers - frozen, embeds=frozen == 0)


def lower_encoder(encoder: Bert | Gpt2, frozen: int) -> Bert | Gpt2:
    """The embeddings and the first `frozen` layers. Call `lower.stack(lower.embed(...))`, which skips a final norm."""
    config = dataclasses.replace(encoder.config, num_layers=frozen)
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: new_encoder(config, nnx.Rngs(0))))
    return nnx.merge(graphdef, _layers(_params(encoder), slice(None, frozen)))


def upper_params(encoder: Bert | Gpt2, frozen: int) -> dict[str, Any]:
    """The parameters of `encoder`, embeddings included, without those of its first `frozen` layers."""
    return _layers(_params(encoder), slice(frozen, None))


def rejoin(encoder: Bert | Gpt2, upper: dict[str, Any], frozen: int) -> Bert | Gpt2:
    """`encoder` with its parameters above the first `frozen` layers replaced by `upper`; host arrays."""
    below = traverse_util.flatten_dict(_layers(_params(encoder), slice(None, frozen)))
    whole = dict(below)
    for path, array in traverse_util.flatten_dict(upper).items():
        whole[path] = np.concatenate([below[path], array]) if _is_stacked(path) else array
    return nnx.merge(nnx.graphdef(encoder), traverse_util.unflatten_dict(whole))


def _params(encoder: Bert | Gpt2) -> dict[str, Any]:
    return nnx.to_pure_dict(nnx.state(encoder))


def _layers(params: dict[str, Any], which: slice) -> dict[str, Any]:
    flat = traverse_util.flatten_dict(params)
    cut = {path: array[which] if _is_stacked(path) else array for path, array in flat.items()}
    return traverse_util.unflatten_dict(cut)


def _is_stacked(path: tuple[str, ...]) -> bool:
    return path[0] == "stack"  # over the layers, along the first axis

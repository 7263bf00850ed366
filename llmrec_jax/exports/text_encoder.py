"""The text encoder and the item tower of a bundle as facts and arrays, and as a function of the operations `o`.

Text tokens -> features (pooled, whitened if the bundle has a whitening) -> item vectors as they are scored.

Shape letters: those of `network`, B texts, L tokens, F width of the encoder.
"""

import dataclasses
from typing import Any

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.exports.network import BLOCKS, gelu_new, l2_normalized, layer_norm, stack
from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.models import from_pretrained
from llmrec_jax.models.architectures import architecture_of
from llmrec_jax.models.hf import parameters

ITEM_TOWER_EPS = 1e-6  # of its layer norm


@dataclasses.dataclass(frozen=True, eq=False)
class TextEncoder:
    """The text encoder and the item tower in memory."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]


def text_encoder_of(bundle: Bundle) -> TextEncoder | None:
    """The encoder of a bundle; None if its model reads no text.

    Raises:
      ValueError: `network` does not have the blocks of this encoder, or its vectors are too narrow for a fixed map.
    """
    if bundle.model.item_features == "id":
        return None
    encoder = from_pretrained(bundle.folder / "encoder")
    kind = architecture_of(encoder.config)[0]
    if kind not in BLOCKS:
        raise UserError(f"{bundle.folder}: this format cannot hold an encoder of kind {kind}; use --format hf")
    arrays = {f"encoder.{name}": array for name, array in parameters(encoder).items() if not name.startswith("pooler.")}
    arrays |= {name: array for name, array in bundle.arrays.items()
               if name.startswith("item_tower.") and not name.startswith("item_tower.ids.")}  # fmt: skip
    arrays |= {name: array for name, array in bundle.extras.items() if name.startswith("whitening_")}
    config, model = encoder.config, bundle.model
    facts = {
        "kind": kind,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "head_width": config.width // config.num_heads,
        "norm_eps": config.norm_eps,
        "activation": config.activation,
        "max_tokens": min(bundle.text.max_tokens, config.max_positions),
        "pooling": bundle.dims["pooling"],
        "is_whitened": "whitening_mean" in arrays,
        "feature_width": bundle.dims["feature_width"],
        "width": model.width,
        "is_fixed": model.text_map == "fixed",
        "is_unit": model.text_map == "fixed" or bool(model.max_id_norm),
        "is_cosine": model.score == "cosine",
        "has_bias": model.item_bias,
    }
    if facts["is_fixed"] and facts["feature_width"] < facts["width"]:
        raise UserError(f"{bundle.folder}: model.width={model.width} is wider than the encoder "
                        f"({facts['feature_width']}) under model.text_map=fixed; this cannot be exported")  # fmt: skip
    return TextEncoder(facts, arrays)


def item_vectors(o: Any, facts: dict[str, Any], tokens_BL: Any, mask_BL: Any) -> tuple[Any, Any]:
    """Features [B, F] and item vectors [B, D] of texts, from token ids and a boolean mask."""
    features_BF = pooled(o, facts["pooling"], hidden_states(o, facts, tokens_BL, mask_BL), mask_BL)
    if facts["is_whitened"]:
        features_BF = l2_normalized(o, (features_BF - o.get("whitening_mean")) @ o.get("whitening_transform"))
    vectors_BD = o.last(features_BF, facts["width"], -1) if facts["is_fixed"] else _mapped(o, features_BF)
    if facts["is_unit"] or facts["is_cosine"]:
        vectors_BD = l2_normalized(o, vectors_BD)
    if facts["has_bias"]:  # 0: that of an item without training events
        vectors_BD = o.concat([vectors_BD, o.sum(vectors_BD) * 0.0], 1)
    return features_BF, vectors_BD


def hidden_states(o: Any, facts: dict[str, Any], tokens_BL: Any, mask_BL: Any) -> Any:
    """See `llmrec_jax.models.bert` and `gpt2`: the vector of each token [B, L, F]."""
    position_BL = o.maximum(o.cumsum(mask_BL) - 1, 0)
    x_BLF = o.rows("encoder.tokens.embedding", tokens_BL) + o.rows("encoder.positions.embedding", position_BL)
    if facts["kind"] == "bert":
        x_BLF = _norm(o, facts, x_BLF + o.get("encoder.token_types.embedding", 0))
    x_BLF = stack(o, facts, "encoder.stack.layers", x_BLF, mask_BL)
    return x_BLF if facts["kind"] == "bert" else _norm(o, facts, x_BLF)


def _norm(o: Any, facts: dict[str, Any], x_BLF: Any) -> Any:
    return layer_norm(o, x_BLF, o.get("encoder.norm.scale"), o.get("encoder.norm.bias"), facts["norm_eps"])


def pooled(o: Any, how: str, hidden_BLF: Any, mask_BL: Any) -> Any:
    """See `llmrec_jax.models.layers.pool`."""
    count_BL, num_B1 = o.cumsum(mask_BL), o.sum(o.to_float(mask_BL), 1)
    if how == "mean":
        return o.weighted(o.to_float(mask_BL) / o.maximum(num_B1, 1.0), hidden_BLF)
    is_picked_BL = o.to_float(count_BL) == (num_B1 * 0.0 + 1.0 if how == "cls" else num_B1)
    return o.weighted(o.to_float(is_picked_BL & mask_BL), hidden_BLF)


def _mapped(o: Any, features_BF: Any) -> Any:
    """See `llmrec_jax.models.item_tower`."""
    get = o.get
    inputs_BF = layer_norm(o, features_BF, get("item_tower.norm.scale"), get("item_tower.norm.bias"), ITEM_TOWER_EPS)
    up = gelu_new(o, inputs_BF @ get("item_tower.up.kernel") + get("item_tower.up.bias"))
    down_BD = up @ get("item_tower.down.kernel") + get("item_tower.down.bias")
    return inputs_BF @ get("item_tower.project.kernel") + down_BD

"""The `onnx` export: the scorer and the text encoder as ONNX graphs, for any number of rows.

    scorer.onnx     history [b, S] int64, padded with -1 on the left -> scores [b, J], user_vectors [b, D]
    encoder.onnx    input_ids, attention_mask [b, L] int64 -> features [b, F], item_vectors [b, D]
    manifest.json, items.json, tokenizer.json

Arrays of more than a gigabyte are in a separate file, because a protobuf is limited to two.

Shape letters: those of `network`.
"""

from pathlib import Path
from typing import Any

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.exports import network, text_encoder
from llmrec_jax.exports.scorer import Scorer, write_json
from llmrec_jax.exports.text_encoder import TextEncoder

LARGEST = 2**30  # bytes of arrays inside a graph


def write(scorer: Scorer, encoder: TextEncoder | None, folder: Path) -> None:
    """Write the graphs to an existing folder. Raises ValueError if the package onnx is not installed."""
    try:
        from llmrec_jax.exports.onnx_ops import OnnxOps
    except ImportError as error:
        raise UserError(f"--format onnx needs onnx ({error}): pip install 'llmrec_jax[onnx]'") from error
    ops = OnnxOps(scorer.arrays)
    history_BS = ops.input("history", np.int64)
    scores_BJ, users_BD = network.score(ops, scorer.facts, history_BS)
    outputs = {"scores": (scores_BJ, ["b", scorer.facts["num_target"]]), "user_vectors": (users_BD, ["b", "d"])}
    _save(ops.model({"history": (np.int64, ["b", "s"])}, outputs), scorer.arrays, folder / "scorer.onnx")
    manifest: dict[str, Any] = {"target": scorer.facts["target"], "num_target": scorer.facts["num_target"]}
    if encoder is not None:
        ops = OnnxOps(encoder.arrays)
        tokens_BL, mask_BL = ops.input("input_ids", np.int64), ops.input("attention_mask", np.int64) > 0
        features_BF, vectors_BD = text_encoder.item_vectors(ops, encoder.facts, tokens_BL, mask_BL)
        inputs = {name: (np.int64, ["b", "l"]) for name in ("input_ids", "attention_mask")}
        outputs = {"features": (features_BF, ["b", "f"]), "item_vectors": (vectors_BD, ["b", "d"])}
        _save(ops.model(inputs, outputs), encoder.arrays, folder / "encoder.onnx")
        manifest["max_tokens"] = encoder.facts["max_tokens"]
    write_json(folder / "items.json", scorer.items)
    write_json(folder / "manifest.json", manifest)


def _save(model: Any, arrays: dict[str, np.ndarray], path: Path) -> None:
    import onnx

    is_large = sum(array.nbytes for array in arrays.values()) > LARGEST
    onnx.save_model(model, path, save_as_external_data=is_large, location=f"{path.name}.data")

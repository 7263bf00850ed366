"""The `hf` export: the text encoder as a folder for `transformers` and for `sentence-transformers`.

The latter also pools, and applies the bundle's whitening, if it has one, as a `Dense` and a `Normalize` module: its
vectors are the features that the item tower reads, not the item vectors.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from llmrec_jax.errors import UserError
from llmrec_jax.inference.bundle import Bundle

POOLING = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}
IDENTITY = "torch.nn.modules.linear.Identity"


def write(bundle: Bundle, folder: Path) -> None:
    """Write the encoder to an existing folder. Raises ValueError if the model reads no text."""
    if bundle.model.item_features == "id":
        raise UserError(f"{bundle.folder}: this model reads no text (model.item_features=id); there is no encoder")
    shutil.copytree(bundle.folder / "encoder", folder, dirs_exist_ok=True)
    modules = ["Transformer", "Pooling"]
    width = bundle.dims["feature_width"]
    pooling: dict[str, Any] = {"word_embedding_dimension": width}
    pooling |= {f"pooling_mode_{name}": how == bundle.dims["pooling"] for how, name in POOLING.items()}
    _put(folder / "1_Pooling" / "config.json", pooling)
    _put(folder / "sentence_bert_config.json", {"max_seq_length": bundle.text.max_tokens, "do_lower_case": False})
    if "whitening_mean" in bundle.extras:
        modules += ["Dense", "Normalize"]
        mean_F, transform_FF = bundle.extras["whitening_mean"], bundle.extras["whitening_transform"]
        sizes = {"in_features": len(mean_F), "out_features": transform_FF.shape[1]}
        _put(folder / "2_Dense" / "config.json", sizes | {"bias": True, "activation_function": IDENTITY})
        arrays = {"linear.weight": np.asarray(transform_FF.T, order="C"), "linear.bias": -mean_F @ transform_FF}
        content = safetensors.numpy.save(arrays, metadata={"format": "pt"})
        (folder / "2_Dense" / "model.safetensors").write_bytes(content)
        (folder / "3_Normalize").mkdir()
    paths = ["", *(f"{n}_{name}" for n, name in enumerate(modules) if n)]
    listed = [
        {"idx": n, "name": str(n), "path": path, "type": f"sentence_transformers.models.{name}"}
        for n, (name, path) in enumerate(zip(modules, paths, strict=True))
    ]
    _put(folder / "modules.json", listed)
    _put(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})


def _put(path: Path, content: Any) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", "utf-8")

"""Loads and saves encoders as Hugging Face folders (config.json and safetensors), without torch.

`architectures` maps the names. Does not read tokenizers, the trainer's checkpoints or pickles.
"""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx, traverse_util
from jax.typing import DTypeLike
from tokenizers import Tokenizer

from llmrec_jax.models.architectures import Architecture, architecture_of, new_encoder
from llmrec_jax.models.attention import Kernel
from llmrec_jax.models.bert import Bert, BertConfig
from llmrec_jax.models.gpt2 import Gpt2, Gpt2Config
from llmrec_jax.models.hf_config import architecture_in, parse_config, read_json, to_hf_config
from llmrec_jax.models.hf_tokenizer import special_ids, tokenizer_files
from llmrec_jax.models.hf_weights import check_tensors, load, open_tensors
from llmrec_jax.models.layers import Remat
from llmrec_jax.models.locate import locate


def from_pretrained(
    folder_or_hub_id: str | Path, *, dtype: DTypeLike = jnp.float32, remat: Remat = "dots", attention: Kernel = "xla"
) -> Bert | Gpt2:
    """Load a BERT or GPT-2 (by its config.json) from a folder, the hub or a wheel (see `locate`).

    Parameters are converted to float32; `dtype` is the compute dtype. Raises ValueError if a config value is not
    implemented, or if tensors are missing, unexpected or of the wrong shape.
    """
    folder = locate(folder_or_hub_id)
    hf_config = read_json(folder / "config.json")
    arch = architecture_in(folder / "config.json", hf_config)
    config = parse_config(folder / "config.json", hf_config, arch)
    stored, clashes = open_tensors(folder, arch)
    runtime: dict[str, Any] = {"dtype": dtype, "remat": remat, "attention": attention}
    if arch.config is BertConfig:
        runtime["pooler"] = "pooler.dense.weight" in stored
    config = dataclasses.replace(config, **runtime)

    # With eval_shape: no random initialisation, and no allocation before the names and shapes are checked.
    graphdef, state = nnx.split(nnx.eval_shape(lambda: new_encoder(config, nnx.Rngs(0))))
    shapes = {path: leaf.shape for path, leaf in _flat(state).items()}
    check_tensors(folder, _hf_shapes(shapes, arch), stored, clashes)
    arrays = {path: load(arch.tensors[path], shape, stored) for path, shape in shapes.items()}
    return nnx.merge(graphdef, traverse_util.unflatten_dict(arrays, sep="."))


def save_pretrained(encoder: Bert | Gpt2, folder: str | Path, tokenizer: Tokenizer | None = None) -> None:
    """Write a folder that transformers (and `from_pretrained`) can load: config.json and model.safetensors.

    With a tokenizer, its files (for `AutoTokenizer`) and its special token ids (in config.json) are written too. Each
    file is replaced atomically; other files in the folder are unchanged.
    """
    _, arch = architecture_of(encoder.config)
    arrays = _flat(nnx.state(encoder))
    parts: dict[str, list[np.ndarray]] = {}
    for path, source in arch.tensors.items():
        if path in arrays:
            array = np.asarray(arrays[path])
            for layer, ours in enumerate(array if "{layer}" in source.name else [array]):
                parts.setdefault(source.name.format(layer=layer), []).append(ours.T if source.transposed else ours)
    tensors = {name: np.ascontiguousarray(np.concatenate(part, axis=-1)) for name, part in parts.items()}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "model.safetensors", safetensors.numpy.save(tensors, metadata={"format": "pt"}))
    save_config(encoder.config, folder, tokenizer)


def parameters(encoder: Bert | Gpt2) -> dict[str, np.ndarray]:
    """The parameters by their path, such as `stack.layers.mlp.up.kernel` (stacked over the layers)."""
    return {path: np.asarray(array) for path, array in _flat(nnx.state(encoder)).items()}


def save_config(config: BertConfig | Gpt2Config, folder: Path, tokenizer: Tokenizer | None = None) -> None:
    """Write what `save_pretrained` writes except the weights; the folder must exist."""
    files = {}
    ids: dict[str, int | None] = {}
    if tokenizer is not None:
        files, ids = tokenizer_files(tokenizer, config), special_ids(tokenizer, config)
    files["config.json"] = (json.dumps(to_hf_config(config, ids), indent=2) + "\n").encode()
    for name, content in files.items():
        _replace(folder / name, content)


def _flat(state: Any) -> dict[str, Any]:
    return traverse_util.flatten_dict(nnx.to_pure_dict(state), sep=".")


def _hf_shapes(shapes: dict[str, tuple[int, ...]], arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Hugging Face names and shapes of the tensors that these parameters are stored as."""
    expected: dict[str, tuple[int, ...]] = {}
    for path, shape in shapes.items():
        source = arch.tensors[path]
        num_layers, shape = (shape[0], shape[1:]) if "{layer}" in source.name else (1, shape)
        if source.third is not None:
            shape = (*shape[:-1], 3 * shape[-1])
        for layer in range(num_layers):
            expected[source.name.format(layer=layer)] = shape[::-1] if source.transposed else shape
    return expected


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)

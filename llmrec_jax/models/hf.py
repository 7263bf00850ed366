"""Encoders from and to Hugging Face folders: config.json and safetensors, under Hugging Face's names, without torch.

What things are called there stands in `architectures`. Not a tokenizer, not a trainer's checkpoint; no pickle.
"""

import dataclasses
import fnmatch
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import msgspec
import numpy as np
import safetensors
import safetensors.numpy
from flax import nnx, traverse_util

from llmrec_jax.errors import UserError
from llmrec_jax.models.architectures import ENCODERS, Architecture, Source, architecture_of, new_encoder
from llmrec_jax.models.attention import Kernel
from llmrec_jax.models.bert import Bert, BertConfig
from llmrec_jax.models.gpt2 import Gpt2, Gpt2Config
from llmrec_jax.models.layers import Remat
from llmrec_jax.models.locate import locate

FLOATS = ("F64", "F32", "F16", "BF16")


def from_pretrained(
    folder_or_hub_id: str | Path, *, dtype: Any = jnp.float32, remat: Remat = "dots", attention: Kernel = "xla"
) -> Bert | Gpt2:
    """Load a BERT or GPT-2 (by its config.json) from a folder, the hub or a wheel (see `locate`).

    Parameters are float32 whatever the file holds; `dtype` is the compute dtype. Raises ValueError with everything that
    does not fit: config values we do not implement; tensors that are missing, unexpected or of another shape.
    """
    folder = locate(folder_or_hub_id)
    hf_config = _read_json(folder / "config.json")
    kind = hf_config.get("model_type")
    if kind not in ENCODERS:
        raise UserError(f"{folder / 'config.json'}: model_type is {kind!r}; known: {', '.join(ENCODERS)}")
    arch = ENCODERS[kind]
    stored, problems = _open_tensors(folder, arch)
    runtime: dict[str, Any] = {"dtype": dtype, "remat": remat, "attention": attention}
    if arch.config is BertConfig:
        runtime["pooler"] = "pooler.dense.weight" in stored
    config = dataclasses.replace(_parse_config(folder / "config.json", hf_config, arch), **runtime)

    # The model is built in the abstract: no random initialisation, and nothing is allocated before all names fit.
    graphdef, state = nnx.split(nnx.eval_shape(lambda: new_encoder(config, nnx.Rngs(0))))
    shapes = {path: leaf.shape for path, leaf in _flat(state).items()}
    problems += _compare(_hf_shapes(shapes, arch), stored, arch)
    if problems:
        raise UserError(f"{folder}: the tensors do not fit its config.json:\n  " + "\n  ".join(problems))
    arrays = {path: _load(arch.tensors[path], shape, stored) for path, shape in shapes.items()}
    return nnx.merge(graphdef, traverse_util.unflatten_dict(arrays, sep="."))


def save_pretrained(encoder: Bert | Gpt2, folder: str | Path) -> None:
    """Write config.json and model.safetensors such that transformers (and `from_pretrained`) load them.

    Each file is replaced in one step; other files of the folder, such as a tokenizer's, stay as they are.
    """
    kind, arch = architecture_of(encoder.config)
    arrays = _flat(nnx.state(encoder))
    parts: dict[str, list[np.ndarray]] = {}
    for path, source in arch.tensors.items():
        if path in arrays:
            array = np.asarray(arrays[path])
            for layer, ours in enumerate(array if "{layer}" in source.name else [array]):
                parts.setdefault(source.name.format(layer=layer), []).append(ours.T if source.transposed else ours)
    tensors = {name: np.ascontiguousarray(np.concatenate(part, axis=-1)) for name, part in parts.items()}

    hf_config = {theirs: values[0] for theirs, values in arch.supported.items()}
    hf_config |= {theirs: getattr(encoder.config, ours) for ours, theirs in arch.fields.items()}
    hf_config |= {"model_type": kind, "architectures": [arch.hf_class]}
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _replace(folder / "model.safetensors", safetensors.numpy.save(tensors, metadata={"format": "pt"}))
    _replace(folder / "config.json", (json.dumps(hf_config, indent=2) + "\n").encode())


class _Stored(NamedTuple):
    """A tensor in a file, not read yet."""

    file: Any  # an open safetensors file
    name: str

    def shape(self) -> tuple[int, ...]:
        return tuple(self.file.get_slice(self.name).get_shape())

    def dtype(self) -> str:
        return self.file.get_slice(self.name).get_dtype()

    def read(self) -> np.ndarray:
        return self.file.get_tensor(self.name)


def _flat(state: Any) -> dict[str, Any]:
    return traverse_util.flatten_dict(nnx.to_pure_dict(state), sep=".")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: not a readable JSON object: {error}") from error


def _parse_config(path: Path, hf_config: dict[str, Any], arch: Architecture) -> BertConfig | Gpt2Config:
    for key, values in arch.supported.items():
        if hf_config.get(key, values[0]) not in values:
            raise UserError(f"{path}: {key} is {hf_config[key]!r}; supported: {', '.join(map(repr, values))}")
    fields = {ours: hf_config[theirs] for ours, theirs in arch.fields.items() if theirs in hf_config}
    try:
        return msgspec.convert(fields, arch.config)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}") from error


def _open_tensors(folder: Path, arch: Architecture) -> tuple[dict[str, _Stored], list[str]]:
    """Every tensor of the body by its Hugging Face name (no prefix, today's spelling), and the names that clash."""
    index = folder / "model.safetensors.index.json"
    files: Iterable[str] = ["model.safetensors"]
    if not (folder / "model.safetensors").exists() and index.exists():
        files = sorted(set(_read_json(index).get("weight_map", {}).values()))
    stored: dict[str, _Stored] = {}
    problems: list[str] = []
    for file_name in files:
        try:
            file = safetensors.safe_open(folder / file_name, framework="numpy")
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{folder / file_name}: not a readable safetensors file: {error}") from error
        for raw in file.keys():  # noqa: SIM118 -- the open file is no dict and cannot be iterated over
            name = raw.removeprefix(arch.prefix)
            name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
            if any(fnmatch.fnmatchcase(name, pattern) for pattern in arch.ignored):
                continue
            if name in stored:
                problems.append(f"{name}: stored twice, as {stored[name].name} and {raw}")
            stored[name] = _Stored(file, raw)
    return stored, problems


def _hf_shapes(shapes: dict[str, tuple[int, ...]], arch: Architecture) -> dict[str, tuple[int, ...]]:
    """The names and shapes that a checkpoint of these parameters has."""
    expected: dict[str, tuple[int, ...]] = {}
    for path, shape in shapes.items():
        source = arch.tensors[path]
        num_layers, shape = (shape[0], shape[1:]) if "{layer}" in source.name else (1, shape)
        if source.third is not None:
            shape = (*shape[:-1], 3 * shape[-1])
        for layer in range(num_layers):
            expected[source.name.format(layer=layer)] = shape[::-1] if source.transposed else shape
    return expected


def _compare(expected: dict[str, tuple[int, ...]], stored: dict[str, _Stored], arch: Architecture) -> list[str]:
    problems = [f"{name}: missing, expected {shape}" for name, shape in expected.items() if name not in stored]
    for name, tensor in stored.items():
        if name not in expected:
            problems.append(f"{tensor.name}: unexpected, {tensor.shape()}")
        elif tensor.shape() != expected[name]:
            problems.append(f"{tensor.name}: shape {tensor.shape()}, expected {expected[name]}")
        elif tensor.dtype() not in FLOATS:
            problems.append(f"{tensor.name}: dtype {tensor.dtype()}, expected one of {', '.join(FLOATS)}")
    return problems


def _load(source: Source, shape: tuple[int, ...], stored: dict[str, _Stored]) -> Any:
    array = np.empty(shape, np.float32)
    for layer, out in enumerate(array if "{layer}" in source.name else [array]):
        tensor = stored[source.name.format(layer=layer)].read()
        if source.third is not None:
            tensor = np.split(tensor, 3, axis=-1)[source.third]
        out[...] = tensor.T if source.transposed else tensor
    return jnp.asarray(array)


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    os.replace(temporary, path)

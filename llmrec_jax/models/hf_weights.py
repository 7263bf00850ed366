"""Reads the tensors of a Hugging Face folder into our arrays, by the names in `architectures`.

Safetensors only, in one file or in shards with an index. No pickle.
"""

import fnmatch
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import safetensors

from llmrec_jax.errors import UserError
from llmrec_jax.models.architectures import Architecture, Source
from llmrec_jax.models.hf_config import LFS_POINTER, check_no_lfs_pointer, read_json

FLOATS = ("F64", "F32", "F16", "BF16")
PICKLED = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")
OTHER_FRAMEWORKS = ("tf_model.h5", "flax_model.msgpack", "model.onnx", "*.gguf")
WRAPPERS = re.compile(r"(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")  # added to names by torch
MAX_PROBLEMS = 6  # listed in one error message


class Stored(NamedTuple):
    """A tensor in a file, not read yet."""

    file: Any  # an open safetensors file
    name: str

    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        return tuple(self.file.get_slice(self.name).get_shape())

    def dtype(self) -> str:
        """As safetensors names it: F32, BF16 ..."""
        return self.file.get_slice(self.name).get_dtype()

    def read(self) -> np.ndarray:
        """Its values."""
        return self.file.get_tensor(self.name)


def open_tensors(folder: Path, arch: Architecture) -> tuple[dict[str, Stored], list[str]]:
    """The body's tensors by Hugging Face name (no prefix, current spelling), and a message per name stored twice.

    Raises ValueError if a file is missing or unreadable.
    """
    raw = [Stored(file, name) for file in _open_files(folder) for name in file.keys()]  # noqa: SIM118 -- not a dict
    body, wrapper = _prefixes([tensor.name for tensor in raw], arch)
    stored: dict[str, Stored] = {}
    problems: list[str] = []
    for tensor in raw:
        name = WRAPPERS.sub("", tensor.name)
        name = name.removeprefix(body) if name.startswith(body) else name.removeprefix(wrapper)
        name = name.removeprefix(arch.prefix)
        name = name.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        if any(fnmatch.fnmatchcase(name, pattern) for pattern in arch.ignored):
            continue
        if name in stored:
            problems.append(f"{name}: stored twice, as {stored[name].name} and {tensor.name}")
        stored[name] = tensor
    return stored, problems


def check_tensors(
    folder: Path, expected: dict[str, tuple[int, ...]], stored: dict[str, Stored], clash: list[str]
) -> None:
    """Raise ValueError if there is a `clash`, or a tensor is missing, unexpected, of the wrong shape or not float."""
    if not expected.keys() & stored.keys():
        some = ", ".join(tensor.name for tensor in list(stored.values())[:3])
        raise UserError(f"{folder}: the weights do not belong to the model in config.json: "
                        f"{len(stored)} such as {some}; expected {', '.join(list(expected)[:3])} ...")  # fmt: skip
    problems = clash + [f"{name}: missing, expected {shape}" for name, shape in expected.items() if name not in stored]
    for name, tensor in stored.items():
        if name not in expected:
            problems.append(f"{tensor.name}: unexpected, {tensor.shape()}")
        elif tensor.shape() != expected[name]:
            problems.append(f"{tensor.name}: shape {tensor.shape()}, expected {expected[name]}")
        elif tensor.dtype() not in FLOATS:
            problems.append(f"{tensor.name}: dtype {tensor.dtype()}, expected one of {', '.join(FLOATS)}")
    if problems:
        more = [f"and {len(problems) - MAX_PROBLEMS} more"] if len(problems) > MAX_PROBLEMS else []
        lines = [f"{folder}: the tensors do not fit its config.json:", *problems[:MAX_PROBLEMS], *more]
        raise UserError("\n  ".join(lines))


def load(source: Source, shape: tuple[int, ...], stored: dict[str, Stored]) -> Any:
    """Load one of our arrays, float32 of `shape`, from the tensors that `source` names."""
    array = np.empty(shape, np.float32)
    for layer, out in enumerate(array if "{layer}" in source.name else [array]):
        tensor = stored[source.name.format(layer=layer)].read()
        if source.third is not None:
            tensor = np.split(tensor, 3, axis=-1)[source.third]
        out[...] = tensor.T if source.transposed else tensor
    return jnp.asarray(array)


def _open_files(folder: Path) -> list[Any]:
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    paths = [whole]
    if not whole.exists():
        if not index.exists():
            raise UserError(_no_weights(folder))
        weight_map = read_json(index).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise UserError(f"{index}: it has no weight_map, which lists the files of the weights")
        paths = [folder / name for name in sorted(set(map(str, weight_map.values())))]
    files = []
    for path in paths:
        try:
            with path.open("rb") as file:
                check_no_lfs_pointer(path, file.read(len(LFS_POINTER)))
            files.append(safetensors.safe_open(path, framework="numpy"))
        except (OSError, safetensors.SafetensorError) as error:
            raise UserError(f"{path}: not a readable safetensors file: {error}") from error
    return files


def _no_weights(folder: Path) -> str:
    """The error for a folder without safetensors, with what to do."""
    pickled = [path.name for pattern in PICKLED for path in sorted(folder.glob(pattern))]
    others = [path.name for pattern in OTHER_FRAMEWORKS for path in sorted(folder.glob(pattern))]
    safe = [path.name for path in sorted(folder.glob("*.safetensors"))]
    if safe:
        return f"{folder}: no model.safetensors; if {safe[0]} holds all weights, give it that name"
    if pickled:
        return (
            f"{folder}: the weights are pickled ({pickled[0]}), and reading a pickle can run code. Convert them where "
            f'torch is installed and the origin is trusted:\n  python -c "from transformers import AutoModel; '
            f"AutoModel.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    found = f"; {others[0]} is of another framework" if others else ""
    if folder.parent.name == "snapshots":  # a hub download, which excludes pickled files
        found = "; the repository may have pickled weights only: choose another revision or model, or convert them"
    return f"{folder}: no model.safetensors and no model.safetensors.index.json{found}"


def _prefixes(names: list[str], arch: Architecture) -> tuple[str, str]:
    """The prefixes of the body's and of the heads' tensor names.

    Inferred from the name of the token embeddings. DataParallel prefixes all names with `module.`,
    sentence-transformers with `0.auto_model.`; a model with a head prefixes the body's with `bert.` or `transformer.`.
    """
    table = arch.tensors["tokens.embedding"].name
    found = {name.removesuffix(table) for name in (WRAPPERS.sub("", name) for name in names) if name.endswith(table)}
    found = {prefix for prefix in found if prefix == "" or prefix.endswith(".")}
    body = min(found, key=len, default="")
    return body, body.removesuffix(arch.prefix)

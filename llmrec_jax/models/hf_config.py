"""Converts the `config.json` of a Hugging Face folder to an encoder's config, and back for transformers to read.

`architectures` lists the keys.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import msgspec

from llmrec_jax.errors import UserError
from llmrec_jax.models.architectures import ACTIVATION_ALIASES, ENCODERS, Architecture, architecture_of
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.models.gpt2 import Gpt2Config

LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file. Raises ValueError if there is none."""
    try:
        content = path.read_bytes()
        check_no_lfs_pointer(path, content)
        return msgspec.json.decode(content, type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: not a readable JSON object: {error}{_found_below(path)}") from error


def check_no_lfs_pointer(path: Path, content: bytes) -> None:
    """Raise ValueError if the content is a Git LFS pointer."""
    if content.startswith(LFS_POINTER):
        raise UserError(f"{path}: a Git LFS pointer in place of the file: install git-lfs and run `git lfs pull` in "
                        f"{path.parent}, or download the file again")  # fmt: skip


def architecture_in(path: Path, hf_config: dict[str, Any]) -> Architecture:
    """The architecture that a config.json describes: by `model_type`, or else by `architectures`."""
    known = ", ".join(ENCODERS)
    kind, classes = hf_config.get("model_type"), hf_config.get("architectures") or []
    if kind is None:
        for arch in ENCODERS.values():
            stem = arch.hf_class.removesuffix("Model")
            if any(re.fullmatch(rf"{stem}(Model|For\w+|LM\w+|DoubleHeads\w+)", str(other)) for other in classes):
                return arch
        named = f" and architectures is {', '.join(map(str, classes))}" if classes else ", nor has it architectures"
        raise UserError(f'{path}: model_type is missing{named}; if the encoder is one of {known}, add "model_type"')
    if kind not in ENCODERS:
        raise UserError(f"{path}: model_type is {kind!r}; known: {known}. Choose an encoder of one of these types")
    return ENCODERS[kind]


def parse_config(path: Path, hf_config: dict[str, Any], arch: Architecture) -> BertConfig | Gpt2Config:
    """The encoder's config. Raises ValueError if a value has the wrong type or is not implemented."""
    activation = arch.fields["activation"]
    if hf_config.get(activation) in ACTIVATION_ALIASES:
        hf_config = hf_config | {activation: ACTIVATION_ALIASES[hf_config[activation]]}
    for key, values in arch.supported.items():
        if hf_config.get(key, values[0]) not in values:
            raise UserError(f"{path}: {key} is {hf_config[key]!r}; supported: {', '.join(map(repr, values))}")
    fields = {ours: hf_config[theirs] for ours, theirs in arch.fields.items() if theirs in hf_config}
    try:
        config = msgspec.convert(fields, arch.config)
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: {error}") from error
    return dataclasses.replace(config, mlp_width=config.mlp_width or 4 * config.width)


def to_hf_config(config: BertConfig | Gpt2Config, special_ids: dict[str, int | None]) -> dict[str, Any]:
    """The content of config.json. `special_ids` (`pad_token_id` etc.) override the architecture's."""
    kind, arch = architecture_of(config)
    hf_config: dict[str, Any] = {key: values[0] for key, values in arch.supported.items()}
    hf_config |= {key: getattr(config, ours) for ours, key in arch.fields.items()}
    hf_config[arch.fields["mlp_width"]] = config.mlp_width or 4 * config.width  # transformers' BERT rejects null
    hf_config |= {key: getattr(config, ours) for key, ours in arch.repeated.items()}
    # If an id is not in the vocabulary, transformers fails at the first text.
    usable = {key: number if number < config.vocab_size else None for key, number in arch.special_ids.items()}
    return hf_config | usable | special_ids | {"model_type": kind, "architectures": [arch.hf_class]}


def _found_below(path: Path) -> str:
    """A hint if the file is in a subfolder, as in old sentence-transformers."""
    below = sorted(path.parent.glob(f"*/{path.name}")) if not path.exists() else []
    return f"; {below[0].parent} has one: name that folder" if below else ""

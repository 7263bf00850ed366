"""Whose a work folder is: `config.json` in it, written once, and the refusal of any other configuration."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError

# Between a run and its continuation: where things lie, not what they are. Batches do not depend on the mesh.
MAY_DIFFER = ("data.root", "data.cache_dir", "mesh.data", "mesh.fsdp", "mesh.tensor")


def claim(workdir: Path, config: Config, *, write: bool) -> None:
    """Make the work folder this configuration's. Raises ValueError with the differences where it is another's."""
    path = workdir / "config.json"
    ours = as_json(config)
    if path.exists():
        theirs = config_lib.flatten(_read(path))
        differences = [
            f"{name}: {theirs.get(name)!r} there, {value!r} here"
            for name, value in config_lib.flatten(ours).items()
            if theirs.get(name) != value and name not in MAY_DIFFER
        ]
        if differences:
            hint = f"{workdir} holds a run of another configuration; choose another --workdir or remove it"
            raise UserError("\n  ".join([hint, *differences]))
    elif write:
        workdir.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(ours, indent=1, allow_nan=False) + "\n")
        os.replace(temporary, path)


def read_config(workdir: Path) -> Config:
    """The configuration of the run in a work folder. Raises ValueError where there is none."""
    path = workdir / "config.json"
    try:
        return config_lib.from_dict(_read(path))
    except ValueError as error:
        raise UserError(f"{workdir} holds no run that this version can read: {error}") from error


def as_json(config: Config) -> dict[str, Any]:
    """The configuration as JSON would give it back (lists for tuples)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _read(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: not a readable JSON object: {error}") from error

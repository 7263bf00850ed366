"""Reads configurations: from a Python file that defines `config()`, and from the `config.json` of a work folder."""

import dataclasses
import difflib
import importlib.util
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from llmrec_jax.config.fields import Config
from llmrec_jax.errors import UserError


def load(path: Path) -> Config:
    """The result of `config()` in a configuration file. Raises ValueError if there is none or the file fails."""
    if not path.is_file():
        raise UserError(f"{path}: no such configuration file")
    spec = importlib.util.spec_from_file_location("llmrec_jax_config", path)
    if spec is None or spec.loader is None:
        raise UserError(f"{path}: a configuration file is a Python file, *.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.config() if hasattr(module, "config") else None
    except Exception as error:  # any error in the file is a user error, not a bug of this program
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        raise UserError(f"{path}: a configuration file defines config() -> llmrec_jax.config.Config")
    try:
        return msgspec.convert(dataclasses.asdict(config), Config)  # checks the types
    except msgspec.ValidationError as error:
        raise UserError(f"{path}: config() returns a value of a wrong type: {error}") from error


def from_dict(values: dict[str, Any]) -> Config:
    """The inverse of `dataclasses.asdict`, after JSON. Raises ValueError on unknown fields or wrong types."""
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise UserError(f"not a configuration of this version: {error}") from error
    if unknown := flatten(values).keys() - flatten(dataclasses.asdict(config)).keys():
        raise UserError(f"not a configuration of this version: it has no {', '.join(sorted(unknown))}")
    return config


def changed(config: Config, changes: Mapping[str, Any]) -> Config:
    """`config` with the fields `SECTION.FIELD` of `changes` replaced. Raises ValueError on unknown fields or types."""
    values = dataclasses.asdict(config)
    for name, value in changes.items():
        *sections, field = name.split(".")
        section: Any = values
        for part in sections:
            section = section.get(part) if isinstance(section, dict) else None
        if not isinstance(section, dict) or field not in section:
            close = difflib.get_close_matches(name, flatten(dataclasses.asdict(config)), n=1)
            raise UserError(f"there is no field {name}" + (f"; did you mean {close[0]}?" if close else ""))
        section[field] = value
    try:
        return msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise UserError(str(error)) from error


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one flat dict with keys `section.field`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat

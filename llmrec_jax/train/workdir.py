"""`config.json` of a work folder, and the check that a configuration belongs to the run in that folder."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import msgspec

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.losses import objective

WRITTEN = ("bundle", "checkpoints", "metrics.jsonl", "report.json")  # by a run, in addition to config.json

# Fields that may change when a run resumes: they do not change the results, except through the order of sums.
MAY_DIFFER = (
    "data.root",
    "data.cache_dir",
    "encoder.remat",
    "loss.block_size",
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.eval_batch_size",
    "train.trackers",
)
MAY_DIFFER_WITHOUT_DROPOUT = ("encoder.chunk_size", "mesh.mode")  # these change the dropout masks


def check(workdir: Path, config: Config) -> None:
    """Raises ValueError if a run of this configuration can neither start nor resume in the work folder."""
    path = workdir / "config.json"
    if not path.exists():
        if found := [name for name in WRITTEN if (workdir / name).exists()]:
            raise UserError(
                f"{workdir} holds {', '.join(found)}, but no config.json, so it is not the work folder of a run and "
                "nothing is overwritten; choose another --workdir"
            )
        return
    theirs, ours = config_lib.flatten(_read(path)), config_lib.flatten(as_json(config))
    if not theirs.keys() & ours.keys():
        raise UserError(f"{path} is not the configuration of a run: choose another --workdir")
    theirs = config_lib.flatten(as_json(Config())) | theirs  # fields newer than the run: their defaults change nothing
    differences = [
        f"{name}: {theirs.get(name)!r} there, {value!r} here"
        for name, value in ours.items()
        if theirs.get(name) != value and not _may_differ(name, theirs, config)
    ]
    if differences:
        hint = f"{workdir} holds a run of another configuration; choose another --workdir, or --fresh for a new folder"
        raise UserError("\n  ".join([hint, *differences]))


def claim(workdir: Path, config: Config) -> None:
    """Write `config.json`: from now on the work folder belongs to this configuration."""
    workdir.mkdir(parents=True, exist_ok=True)
    write_json(workdir / "config.json", as_json(config))


def write_json(path: Path, facts: dict[str, Any]) -> None:
    """Write a JSON file, replacing the one that is there in one step."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)


def read_config(workdir: Path) -> Config:
    """The configuration of the run in a work folder. Raises ValueError if there is none."""
    path = workdir / "config.json"
    try:
        values = _read(path)
        if "dims" in values:
            raise UserError(f"it is a bundle: give the work folder of its run, such as {workdir.absolute().parent}")
        return config_lib.from_dict(values)
    except ValueError as error:
        raise UserError(f"{workdir} is not the work folder of a run: {error}") from error


def as_json(config: Config) -> dict[str, Any]:
    """The configuration as JSON values (lists for tuples)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def _may_differ(name: str, theirs: dict[str, Any], config: Config) -> bool:
    if name == "train.steps":
        # Only learning-rate decay and the DANN schedule make a step depend on train.steps.
        is_constant = config.optim.schedule == "constant" and not objective.method_of(config.adapt).is_scheduled
        return is_constant and config.train.steps > theirs.get(name, config.train.steps)
    return name in MAY_DIFFER or (name in MAY_DIFFER_WITHOUT_DROPOUT and not _drops(config))


def _drops(config: Config) -> bool:
    """Whether dropout may be used; a pretrained encoder's rate is known only once it is loaded."""
    reads_no_text = config.encoder.mode == "frozen" or config.model.item_features == "id"
    encoder_drops = not reads_no_text and (config.encoder.pretrained is not None or config.encoder.dropout > 0)
    return encoder_drops or config.model.dropout > 0


def _read(path: Path) -> dict[str, Any]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{path}: not a readable JSON object: {error}") from error

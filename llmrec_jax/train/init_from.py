"""Starts a run from the parameters of another: those of its encoder and towers, and of the items that both have.

A checkpoint of the run itself takes precedence. The encoder is not read here, see `encoder_of`.
"""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import msgspec
import numpy as np
from flax import traverse_util

from llmrec_jax.config import Config, domain_name, users_of
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.errors import UserError
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.train.state import TrainState

PERPLEXITY = "perplexity.json"  # of a run with train.objective=language_model, which has no towers
OWN = ("encoder", "heads")  # parameters that a bundle holds elsewhere or not at all
SPLIT = ("split", "split_seed", "min_rating")  # fields of the data that decide which events are held out
OPTIONAL = ("user_tower.stack.layers.time_bias",)  # starts at 0 where the other run had no times
OF_ITEMS = ("item_tower.ids.embedding", "scoring.bias")  # one row per item


def encoder_of(config: Config) -> Config:
    """The configuration with the encoder of `train.init_from` as the pretrained one, unless the model reads no text."""
    if config.train.init_from is None or config.model.item_features == "id":
        return config
    folder = bundle_lib.find(Path(config.train.init_from)) / "encoder"
    if not folder.is_dir():
        raise UserError(
            f"train.init_from={config.train.init_from}: there is no {folder}, because its model reads no text "
            "(model.item_features=id); name another run, or set model.item_features=id"
        )
    return dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, pretrained=str(folder)))


def trained_on(config: Config) -> dict[str, float]:
    """The share of its users that a run and those it starts from are trained on, by name of the domain."""
    shares = users_of(config)
    if config.train.init_from is not None:
        for name, share in facts_of(config.train.init_from).get("trained_on", {}).items():
            shares[name] = max(share, shares.get(name, 0.0))
    return shares


def check_regime(config: Config) -> None:
    """Raises ValueError if the run of `train.init_from` was trained on events that this run must not use."""
    if config.train.init_from is None:
        return
    facts, target, data = facts_of(config.train.init_from), domain_name(config.data.target), config.data
    share = facts.get("trained_on", {}).get(target, 0.0)
    problems = []
    if share > data.target_fraction:
        problems.append(f"{share:.0%} of the users of {target}, here data.target_fraction={data.target_fraction}")
    if share:
        theirs = facts["config"]["data"]
        differ = [name for name in SPLIT if theirs.get(name) != getattr(data, name)]
        if data.train_on == "train" != theirs.get("train_on", "train"):  # then they select no step and no weights
            differ.append("train_on")
        problems += [f"data.{name}={theirs.get(name)}, here {getattr(data, name)}" for name in differ]
    if problems:
        head = f"train.init_from={config.train.init_from}: its run was trained on events that this run may not use"
        raise UserError("\n  ".join([head, *problems]))


def facts_of(init_from: str) -> dict[str, Any]:
    """The content of a run's `perplexity.json` or `config.json`; {} if neither exists."""
    folder = bundle_lib.find(Path(init_from))
    path = next((path for path in (folder / PERPLEXITY, folder / "config.json") if path.exists()), None)
    try:
        return {} if path is None else msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise UserError(f"{path}: not a JSON object: {error}") from error


def with_bundle(state: TrainState, folder: Path, corpus: Corpus) -> TrainState:
    """`state` with the parameters of a bundle, sharded the same way; `state` if `folder` has no towers.

    Id embeddings and biases are taken for the items that both have, by the names of their domains and their ids; other
    rows stay as they are.

    Raises:
      ValueError: the bundle cannot be read, or its towers have other shapes than those of the run.
    """
    if (bundle_lib.find(folder) / PERPLEXITY).exists():
        return state
    bundle = bundle_lib.load(folder)
    flat = traverse_util.flatten_dict(state.params, sep=".")
    problems, found = [], {}
    for name, array in flat.items():
        if name.split(".")[0] in OWN:
            continue
        loaded: Any = bundle.arrays.get(name)
        if name in OF_ITEMS and loaded is not None and loaded.shape[1:] == array.shape[1:]:
            loaded = _rows_of_items(np.array(array), loaded, bundle, corpus)
        if loaded is None and name in OPTIONAL:
            continue
        if loaded is None or loaded.shape != array.shape:
            there = "nothing" if loaded is None else loaded.shape
            problems.append(f"{name}: {array.shape} here, {there} there")
        else:
            found[name] = jax.device_put(loaded, array.sharding)
    if problems:
        raise UserError("\n  ".join([f"train.init_from={folder}: its towers do not fit this configuration", *problems]))
    return state._replace(params=traverse_util.unflatten_dict(flat | found, sep="."))


def _rows_of_items(rows: np.ndarray, loaded: np.ndarray, bundle: Bundle, corpus: Corpus) -> np.ndarray:
    trained = bundle.items[: len(loaded)]  # the others were added later
    number = {(item.domain, item.item_id): n for n, item in enumerate(trained)}
    domains = [corpus.joint.domains[domain] for domain in corpus.joint.domain_I]
    there_I = np.array([number.get(key, -1) for key in zip(domains, corpus.joint.item_ids, strict=True)])
    rows[there_I >= 0] = loaded[there_I[there_I >= 0]]
    return rows

"""What a finished run leaves for inference, as a folder: arrays, items, tokenizer, configuration, encoder.

    config.json         configuration of the run, dimensions of the model, names of the domains
    model.safetensors   parameters beside the encoder's, item vectors, popularity, whitening
    items.jsonl         one line an item, in the order of the item vectors
    tokenizer.json      of the encoder
    encoder/            a Hugging Face folder; absent where the model reads no text

Plain data throughout: nothing in a bundle is code. Appears by one rename; a bundle that is there is replaced whole.
"""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import safetensors.numpy
from flax import traverse_util

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.models import hf
from llmrec_jax.models.rec_model import Dimensions
from llmrec_jax.train.loop import Trained
from llmrec_jax.version import __version__

EXTRAS = ("item_vectors", "popularity", "whitening_mean", "whitening_transform")  # arrays that are no parameters


class BundleItem(msgspec.Struct, frozen=True):
    """One line of `items.jsonl`."""

    item_id: str
    title: str
    domain: str


class _Facts(msgspec.Struct, frozen=True):
    """`config.json`."""

    version: str
    target: str
    config: dict[str, Any]
    dims: Dimensions
    data_hash: str


@dataclasses.dataclass(frozen=True, eq=False)
class Bundle:
    """A bundle in memory; the encoder stays on disk until it is needed."""

    folder: Path
    config: Config
    dims: Dimensions
    target: str  # the domain that is recommended from
    items: list[BundleItem]
    params: dict[str, Any]
    extras: dict[str, np.ndarray]


def save(trained: Trained, folder: Path) -> None:
    """Write the bundle of a finished run."""
    experiment = trained.experiment
    draft = folder.with_name(folder.name + ".draft")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)

    params = {name: value for name, value in trained.params.items() if name not in ("encoder", "discriminators")}
    arrays = {path: np.asarray(array) for path, array in traverse_util.flatten_dict(params, sep=".").items()}
    arrays |= {"item_vectors": trained.item_vectors_ID, "popularity": experiment.corpus.popularity()}
    if experiment.whitening is not None:
        arrays |= {
            "whitening_mean": experiment.whitening.mean_F,
            "whitening_transform": experiment.whitening.transform_FF,
        }
    safetensors.numpy.save_file(
        {name: np.asarray(a, order="C") for name, a in arrays.items()}, draft / "model.safetensors"
    )

    joint = experiment.corpus.joint
    domains = [joint.domains[domain] for domain in joint.domain_I]
    items = [BundleItem(*facts) for facts in zip(joint.item_ids, joint.titles, domains, strict=True)]
    (draft / "items.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(items))
    experiment.tokenizer.save(str(draft / "tokenizer.json"))
    if experiment.config.model.item_features != "id":
        encoder = experiment.whole_encoder(trained.params)
        assert encoder is not None
        hf.save_pretrained(encoder, draft / "encoder")
        experiment.tokenizer.save(str(draft / "encoder" / "tokenizer.json"))
    facts = _Facts(
        version=__version__,
        target=joint.domains[-1],
        config=dataclasses.asdict(experiment.config),
        dims=experiment.dims,
        data_hash=experiment.corpus.hash,
    )
    (draft / "config.json").write_bytes(msgspec.json.format(msgspec.json.encode(facts), indent=1) + b"\n")
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)


def load(folder: Path) -> Bundle:
    """Open a bundle. Raises ValueError naming the file where something is missing or does not fit."""
    facts = _read(folder / "config.json", msgspec.json.Decoder(_Facts).decode)
    config = _read(folder / "config.json", lambda _: config_lib.from_dict(facts.config))
    arrays = _read(folder / "model.safetensors", safetensors.numpy.load)
    items = _read(folder / "items.jsonl", msgspec.json.Decoder(BundleItem).decode_lines)
    extras = {name: arrays.pop(name) for name in EXTRAS if name in arrays}
    for name in ("item_vectors", "popularity"):
        if len(items) != len(extras.get(name, ())):
            raise UserError(f"{folder}: {len(items)} lines in items.jsonl, but {len(extras.get(name, ()))} rows of "
                             f"{name} in model.safetensors")  # fmt: skip
    return Bundle(
        folder=folder,
        config=config,
        dims=facts.dims,
        target=facts.target,
        items=items,
        params=traverse_util.unflatten_dict(arrays, sep="."),
        extras=extras,
    )


def _read(path: Path, decode: Any) -> Any:
    try:
        return decode(path.read_bytes())
    except (OSError, ValueError, msgspec.DecodeError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a part of a readable bundle: {error}") from error

"""Identifies the pretrained encoder of a run by a hash: replacing a frozen one would silently change the results.

An encoder trained from scratch needs no hash; it is determined by data, seed and configuration.
"""

import dataclasses
import hashlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.locate import locate


def identify(config: Config, encoder: Bert | Gpt2 | None, tokenizer: Tokenizer) -> dict[str, str]:
    """Hash of weights, configuration and tokenizer; for a hub id also the revision. {} if not pretrained."""
    if encoder is None or config.encoder.pretrained is None:
        return {}
    # These fields change how the encoder runs, not which encoder it is.
    sizes = dataclasses.replace(encoder.config, dtype=jnp.float32, remat="none", attention="xla")
    digest = hashlib.sha256(repr(sizes).encode())
    for path, leaf in jax.tree.leaves_with_path(nnx.to_pure_dict(nnx.state(encoder))):
        digest.update(jax.tree_util.keystr(path).encode())
        digest.update(np.ascontiguousarray(leaf).data)
    digest.update(tokenizer.to_str().encode())
    folder = locate(config.encoder.pretrained)
    revision = {"revision": folder.name} if folder.parent.name == "snapshots" else {}
    return {"hash": digest.hexdigest(), **revision}


def pinned(config: Config, identity: dict[str, str]) -> Config:
    """`config` with its hub id pinned to the revision that the run was trained with."""
    name, revision = config.encoder.pretrained, identity.get("revision")
    if name is None or revision is None or "@" in name or Path(name).is_dir():
        return config
    return dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, pretrained=f"{name}@{revision}"))


def check_same(workdir: Path, config: Config, trained_with: dict[str, str], now: dict[str, str]) -> None:
    """Raises ValueError if the encoder is not the one that the run in `workdir` was trained with."""
    before, after = (identity.get("hash", "none")[:12] for identity in (trained_with, now))
    if before != after:
        raise UserError(
            f"{workdir}: encoder.pretrained={config.encoder.pretrained} is not the encoder that the run was trained "
            f"with (hash {before}, now {after}: weights, config.json or tokenizer changed): put the old files back, or "
            "train in another --workdir"
        )


def check_fields(config: Config, encoder: Bert | Gpt2) -> None:
    """Raises ValueError if the encoder fields of the configuration contradict the pretrained encoder."""
    kind = type(encoder).__name__.lower()
    default = type(config.encoder)()
    problems = []
    if config.encoder.kind not in (default.kind, kind):
        problems.append(f"encoder.kind={config.encoder.kind}, but {config.encoder.pretrained} is a {kind}")
    if config.encoder.dropout not in (default.dropout, encoder.config.dropout):
        problems.append(
            f"encoder.dropout={config.encoder.dropout} has no effect with encoder.pretrained: its config.json says "
            f"{encoder.config.dropout}"
        )
    if encoder.config.num_heads % config.mesh.tensor:
        problems.append(
            f"mesh.tensor={config.mesh.tensor} does not divide the {encoder.config.num_heads} heads of "
            f"{config.encoder.pretrained}"
        )
    if problems:
        raise UserError("\n  ".join(problems))

"""A run refuses to resume with another pretrained encoder."""

import dataclasses

import jax.numpy as jnp
import pytest
from flax import nnx
from tokenizers import Tokenizer

from llmrec_jax.config import Config, EncoderConfig, MeshConfig
from llmrec_jax.data.texts.tokenizer import train_tokenizer
from llmrec_jax.models.architectures import new_encoder
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.train.encoder_identity import check_fields, check_same, identify, pinned

SIZES = BertConfig(vocab_size=50, max_positions=8, width=16, num_layers=1, num_heads=2)


def with_encoder(**fields):
    return Config(encoder=EncoderConfig(**fields))


@pytest.fixture
def tokenizer():
    return train_tokenizer(["one two three"], "bert", 50)


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def test_what_is_part_of_the_identity(folder, tokenizer):
    config = with_encoder(pretrained=folder)

    def identity(sizes=SIZES, seed=0, tokenizer=tokenizer):
        return identify(config, new_encoder(sizes, nnx.Rngs(seed)), tokenizer)

    same = identity()
    assert same.keys() == {"hash"}
    assert identity(dataclasses.replace(SIZES, remat="full", dtype=jnp.bfloat16)) == same
    lowercase = Tokenizer.from_str(tokenizer.to_str().replace('"lowercase":true', '"lowercase":false'))
    others = [identity(seed=1), identity(dataclasses.replace(SIZES, norm_eps=1e-6)), identity(tokenizer=lowercase)]
    assert len({same["hash"], *(other["hash"] for other in others)}) == 4
    assert identify(Config(), None, tokenizer) == {}


def test_a_hub_id_is_pinned_to_its_revision(tmp_path, tokenizer, monkeypatch):
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc123"
    monkeypatch.setattr("llmrec_jax.train.encoder_identity.locate", lambda _: snapshot)
    config = with_encoder(pretrained="org/name")
    identity = identify(config, new_encoder(SIZES, nnx.Rngs(0)), tokenizer)
    assert identity["revision"] == "abc123"
    assert pinned(config, identity).encoder.pretrained == "org/name@abc123"
    assert pinned(with_encoder(pretrained="org/name@main"), identity).encoder.pretrained == "org/name@main"
    assert pinned(with_encoder(pretrained=str(tmp_path)), identity).encoder.pretrained == str(tmp_path)
    assert pinned(config, {}) == config


def test_another_encoder_is_refused(folder, tmp_path):
    config = with_encoder(pretrained=folder)
    check_same(tmp_path, config, {"hash": "1"}, {"hash": "1", "revision": "abc"})
    with pytest.raises(ValueError, match=r"is not the encoder that the run was trained with \(hash 1, now 2: "):
        check_same(tmp_path, config, {"hash": "1"}, {"hash": "2"})


def test_fields_that_a_pretrained_encoder_does_not_read(folder):
    encoder = new_encoder(SIZES, nnx.Rngs(0))
    check_fields(with_encoder(pretrained=folder, kind="bert", dropout=SIZES.dropout, width=999), encoder)
    config = with_encoder(pretrained=folder, kind="gpt2", dropout=0.3)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 -- the message is what is looked at
        check_fields(dataclasses.replace(config, mesh=MeshConfig(tensor=4)), encoder)
    assert str(raised.value).split("\n  ") == [
        f"encoder.kind=gpt2, but {folder} is a bert",
        "encoder.dropout=0.3 has no effect with encoder.pretrained: its config.json says 0.1",
        f"mesh.tensor=4 does not divide the 2 heads of {folder}",
    ]

"""transformers' `AutoConfig` and `AutoTokenizer` load what we save, without torch, and give the same ids."""

import dataclasses

import pytest
from transformers import AutoConfig, AutoTokenizer

from llmrec_jax import config as config_lib
from llmrec_jax import recipes
from llmrec_jax.config import Config, EncoderConfig
from llmrec_jax.data.texts.tokenizer import load_tokenizer, train_tokenizer
from llmrec_jax.models import hf
from llmrec_jax.models.architectures import ENCODERS
from llmrec_jax.models.hf_config import parse_config, read_json
from llmrec_jax.train.encoder import make_encoder_config
from tests.conftest import REPO
from tests.models.golden_folders import either

TEXTS = ["The wolf of the sea", "A light, NOVEL: Ünïcödé 红楼梦 🦄", "", "<|endoftext|> [SEP] </s>", "x " * 40]
IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
KEYS = {
    "bert": ("hidden_size", "intermediate_size", "num_hidden_layers", "max_position_embeddings"),
    "gpt2": ("n_embd", "n_inner", "n_layer", "n_positions"),
}


@pytest.fixture(scope="module")
def tokenizers():
    return {kind: train_tokenizer(TEXTS, kind, 400) for kind in ENCODERS}


def assert_transformers_reads(folder, encoder, tokenizer):
    """The folder has the config and the tokenizer of an encoder; whether it has weights does not matter."""
    theirs, kind = AutoConfig.from_pretrained(folder), AutoConfig.from_pretrained(folder).model_type
    sizes = (encoder.width, encoder.mlp_width or 4 * encoder.width, encoder.num_layers, encoder.max_positions)
    assert tuple(getattr(theirs, key) for key in KEYS[kind]) == sizes
    assert theirs.vocab_size == encoder.vocab_size
    for key in IDS:
        number = getattr(theirs, key)
        assert number is None or 0 <= number < encoder.vocab_size
    auto = AutoTokenizer.from_pretrained(folder)
    assert all(auto(text)["input_ids"] == tokenizer.encode(text).ids for text in TEXTS[:-1])
    assert auto(TEXTS[-1], truncation=True, max_length=8)["input_ids"][-1] == tokenizer.encode("").ids[-1]
    assert auto.pad_token_id == theirs.pad_token_id
    batch = auto(TEXTS[:2], padding=True)
    assert ("token_type_ids" in batch) == (kind == "bert")
    assert len(set(map(len, batch["input_ids"]))) == 1


def experiments():
    yield from (Config(encoder=EncoderConfig(kind=kind)) for kind in ENCODERS)
    files = sorted((REPO / "configs").glob("*.py"))
    assert files
    assert recipes.names()
    yield from (config_lib.load(file) for file in [*files, *map(recipes.find, recipes.names())])


def test_every_encoder_from_scratch(tmp_path, tokenizers):
    """The defaults and every configuration, as if it began without pretrained weights."""
    for number, config in enumerate(experiments()):
        config = dataclasses.replace(
            config, encoder=dataclasses.replace(config.encoder, pretrained=None, mode="full", frozen_layers=0)
        )
        tokenizer = tokenizers[config.encoder.kind]
        encoder = make_encoder_config(config, tokenizer, None)
        folder = tmp_path / str(number)
        folder.mkdir()
        hf.save_config(encoder, folder, tokenizer)
        assert_transformers_reads(folder, encoder, tokenizer)


def test_a_pretrained_encoder(tmp_path, minilm):
    tokenizer = load_tokenizer(minilm)
    encoder = parse_config(minilm / "config.json", read_json(minilm / "config.json"), ENCODERS["bert"])
    hf.save_config(encoder, tmp_path, tokenizer)
    assert_transformers_reads(tmp_path, encoder, tokenizer)
    theirs, ours = AutoTokenizer.from_pretrained(minilm), AutoTokenizer.from_pretrained(tmp_path)
    assert [ours(text)["input_ids"] for text in TEXTS[:-1]] == [theirs(text)["input_ids"] for text in TEXTS[:-1]]


@either
def test_without_a_tokenizer_no_id_lies_outside_the_vocabulary(kind, tmp_path):
    for vocab_size in (30, 60_000):
        hf.save_config(ENCODERS[kind].config(vocab_size=vocab_size), tmp_path)
        ids = [getattr(AutoConfig.from_pretrained(tmp_path), key) for key in IDS]
        expected = {"bert": (None, None, 0), "gpt2": (50256, 50256, None) if vocab_size > 50256 else (None,) * 3}
        assert tuple(ids) == expected[kind]

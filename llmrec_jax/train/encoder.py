"""Loads a pretrained encoder with its tokenizer, or configures one trained from scratch."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from tokenizers import Tokenizer

from llmrec_jax.config import Config
from llmrec_jax.data.texts.tokenizer import load_tokenizer, train_tokenizer
from llmrec_jax.errors import UserError
from llmrec_jax.models import frozen_layers, hf
from llmrec_jax.models.architectures import ENCODERS
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.hf_tokenizer import check_vocabulary
from llmrec_jax.models.locate import locate


def load_encoder(config: Config, texts: list[str]) -> tuple[Bert | Gpt2 | None, Tokenizer]:
    """The pretrained encoder (float32) and its tokenizer, or None and a tokenizer trained on the texts."""
    if config.encoder.pretrained is None:
        return None, train_tokenizer(texts, config.encoder.kind, config.data.vocab_size)
    folder = locate(config.encoder.pretrained)
    encoder = hf.from_pretrained(folder, remat=config.encoder.remat, attention=config.encoder.attention)
    if config.data.max_tokens > encoder.config.max_positions:
        raise UserError(
            f"data.max_tokens={config.data.max_tokens}, but {folder} has {encoder.config.max_positions} positions"
        )
    tokenizer = load_tokenizer(folder)
    check_vocabulary(tokenizer, encoder.config.vocab_size, folder)
    return encoder, tokenizer


def make_encoder_config(config: Config, tokenizer: Tokenizer, pretrained: Bert | Gpt2 | None) -> Any:
    """The config of the encoder inside the model; None if the catalogue holds vectors or items have no text."""
    if config.encoder.mode == "frozen" or config.model.item_features == "id":
        return None
    dtype = jnp.dtype(config.model.compute_dtype)
    if pretrained is not None:
        whole = dataclasses.replace(pretrained.config, dtype=dtype)
        return frozen_layers.upper_config(whole, config.encoder.frozen_layers)
    return ENCODERS[config.encoder.kind].config(
        vocab_size=tokenizer.get_vocab_size(),
        max_positions=config.data.max_tokens,
        width=config.encoder.width,
        num_layers=config.encoder.num_layers,
        num_heads=config.encoder.num_heads,
        dropout=config.encoder.dropout,
        remat=config.encoder.remat,
        attention=config.encoder.attention,
        dtype=dtype,
    )

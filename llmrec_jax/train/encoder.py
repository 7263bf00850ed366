"""The encoder of a run: loaded or configured, put into the state, and taken out of the trained parameters."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from tokenizers import Tokenizer

from llmrec_jax.config import Config, EncoderConfig
from llmrec_jax.data.texts.tokenizer import load_tokenizer, train_tokenizer
from llmrec_jax.errors import UserError
from llmrec_jax.models import frozen_layers, hf, lora
from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.models.bert import Bert, BertConfig
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.hf_tokenizer import SPECIAL_TOKENS, check_vocabulary
from llmrec_jax.models.language_model import MaskRule
from llmrec_jax.models.locate import locate
from llmrec_jax.train.state import Params, TrainState


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


def new_trainable_encoder(config: EncoderConfig, encoder_config: Any, rngs: nnx.Rngs) -> Bert | Gpt2:
    """An encoder with random parameters, and with adapters if the configuration trains those."""
    encoder = new_encoder(encoder_config, rngs)
    if config.mode == "lora":
        lora.add_adapters(encoder, config.lora_rank, config.lora_alpha, rngs=rngs)
    return encoder


def with_pretrained(state: TrainState, pretrained: Bert | Gpt2 | None, *, frozen: int) -> TrainState:
    """`state` with the parameters of `pretrained` above its first `frozen` layers, sharded the same way."""
    if pretrained is None:
        return state
    loaded = traverse_util.flatten_dict(frozen_layers.upper_params(pretrained, frozen))
    # Copies: the first step donates its state, and the k-NN baselines read the pretrained parameters at the end.
    encoder = {
        path: jax.device_put(np.array(loaded[path]), random.sharding) if path in loaded else random
        for path, random in traverse_util.flatten_dict(state.params["encoder"]).items()
    }
    return state._replace(params={**state.params, "encoder": traverse_util.unflatten_dict(encoder)})


def trained_encoder(
    config: EncoderConfig, pretrained: Bert | Gpt2 | None, graphdef: Any, params: Params
) -> Bert | Gpt2:
    """The encoder of a trained model (host arrays), including frozen layers, with adapters merged."""
    if pretrained is None:
        return nnx.merge(graphdef, params).encoder
    merged = lora.merge_adapters(params["encoder"], config.lora_alpha)
    return frozen_layers.rejoin(pretrained, merged, config.frozen_layers)


def mask_rule(encoder_config: Any, tokenizer: Tokenizer) -> MaskRule | None:
    """How the texts of a BERT are masked; None for a GPT-2, which predicts the next token."""
    if not isinstance(encoder_config, BertConfig):
        return None
    spellings = SPECIAL_TOKENS["bert"]["mask_token"]
    mask_id = next((token for name in spellings if (token := tokenizer.token_to_id(name)) is not None), None)
    if mask_id is None:
        raise UserError(f"a language model on BERT masks tokens, but the tokenizer has no {' or '.join(spellings)}")
    return MaskRule(mask_id, tuple(tokenizer.encode("").ids))

"""Writes an encoder's tokenizer for transformers' `AutoTokenizer`; checks that its ids are in the encoder's vocabulary.

`data/texts/tokenizer.py` trains and loads tokenizers.
"""

import json
from typing import Any

from tokenizers import Tokenizer

from llmrec_jax.errors import UserError
from llmrec_jax.models.architectures import architecture_of
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.models.gpt2 import Gpt2Config

_END = ("<|endoftext|>", "</s>")
# transformers' name of each special token -> its spellings in vocabularies, the most common first.
SPECIAL_TOKENS: dict[str, dict[str, tuple[str, ...]]] = {
    "bert": {
        "unk_token": ("[UNK]", "<unk>"),
        "pad_token": ("[PAD]", "<pad>"),
        "cls_token": ("[CLS]", "<s>"),
        "sep_token": ("[SEP]", "</s>"),
        "mask_token": ("[MASK]", "<mask>"),
    },
    "gpt2": {"unk_token": _END, "pad_token": _END, "bos_token": _END, "eos_token": _END},
}
# No token types for GPT-2, which would add their embeddings to the tokens'.
MODEL_INPUTS = {"bert": ["input_ids", "token_type_ids", "attention_mask"], "gpt2": ["input_ids", "attention_mask"]}
IN_CONFIG = ("pad_token", "bos_token", "eos_token")  # roles whose ids are also in config.json


def tokenizer_files(tokenizer: Tokenizer, config: BertConfig | Gpt2Config) -> dict[str, bytes]:
    """File contents by file name, with a tokenizer class that loads tokenizer.json unchanged."""
    kind = architecture_of(config)[0]
    facts: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config.max_positions,
        "model_input_names": MODEL_INPUTS[kind],
        "padding_side": "right",
        "clean_up_tokenization_spaces": False,
    }
    facts |= _special_tokens(tokenizer, kind)
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True).encode(),
        "tokenizer_config.json": (json.dumps(facts, indent=2) + "\n").encode(),
    }


def special_ids(tokenizer: Tokenizer, config: BertConfig | Gpt2Config) -> dict[str, int | None]:
    """The special token ids for config.json: `pad_token_id`, `bos_token_id`, `eos_token_id`; None if missing."""
    tokens = _special_tokens(tokenizer, architecture_of(config)[0])
    return {f"{role}_id": tokenizer.token_to_id(tokens[role]) if role in tokens else None for role in IN_CONFIG}


def check_vocabulary(tokenizer: Tokenizer, vocab_size: int, where: Any) -> None:
    """Raise ValueError if the tokenizer has ids beyond the token embeddings."""
    largest = max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1)
    if largest >= vocab_size:
        token = tokenizer.id_to_token(largest)
        raise UserError(
            f"{where}: the tokenizer has ids up to {largest} ({token!r}), but the encoder's vocabulary has "
            f"{vocab_size} rows. Take the tokenizer that belongs to these weights, or weights whose table was resized"
        )


def _special_tokens(tokenizer: Tokenizer, kind: str) -> dict[str, str]:
    named = {
        role: next((token for token in names if tokenizer.token_to_id(token) is not None), None)
        for role, names in SPECIAL_TOKENS[kind].items()
    }
    return {role: token for role, token in named.items() if token is not None}

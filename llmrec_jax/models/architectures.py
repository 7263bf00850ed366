"""The encoders, and the Hugging Face names of their tensors and configuration keys.

Every encoder is an entry of `ENCODERS`; `hf` reads its tables in both directions. No input or output here. The names
are those of transformers' `BertModel` and `GPT2Model`.
"""

from typing import Any, NamedTuple

from flax import nnx

from llmrec_jax.models.bert import Bert, BertConfig
from llmrec_jax.models.gpt2 import Gpt2, Gpt2Config
from llmrec_jax.models.layers import ACTIVATIONS


class Source(NamedTuple):
    """Where one of our arrays is in a checkpoint."""

    name: str  # contains {layer} if our array is stacked over the layers
    transposed: bool = False  # torch's Linear is [out, in]
    third: int | None = None  # which part of a fused query-key-value tensor


class Architecture(NamedTuple):
    """An encoder and how Hugging Face stores it."""

    encoder: type[Bert] | type[Gpt2]
    config: type[BertConfig] | type[Gpt2Config]
    hf_class: str
    prefix: str  # of the body's tensor names in a model with a head
    tensors: dict[str, Source]  # ours -> theirs
    ignored: tuple[str, ...]  # patterns of their tensors that are not loaded: heads and buffers
    fields: dict[str, str]  # our config field -> their key
    repeated: dict[str, str]  # further keys of theirs, written but never read -> our config field
    special_ids: dict[str, int]  # ids of special tokens in the vocabulary of the original model
    supported: dict[str, tuple[Any, ...]]  # their key -> the values we implement, the default first


# transformers' other names for the activations in `ACTIVATIONS`.
ACTIVATION_ALIASES = {
    "gelu_python": "gelu",
    "gelu_pytorch_tanh": "gelu_new",
    "gelu_python_tanh": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_accurate": "gelu_new",
}


def _norm(ours: str, theirs: str) -> dict[str, Source]:
    return {f"{ours}.scale": Source(f"{theirs}.weight"), f"{ours}.bias": Source(f"{theirs}.bias")}


def _linear(ours: str, theirs: str) -> dict[str, Source]:
    return {f"{ours}.kernel": Source(f"{theirs}.weight", transposed=True), f"{ours}.bias": Source(f"{theirs}.bias")}


def _conv1d(ours: str, theirs: str, third: int | None = None) -> dict[str, Source]:
    return {
        f"{ours}.kernel": Source(f"{theirs}.weight", third=third),
        f"{ours}.bias": Source(f"{theirs}.bias", third=third),
    }


def _default_first(activation: str) -> tuple[str, ...]:
    return (activation, *(other for other in ACTIVATIONS if other != activation))


_BERT_LAYER, _GPT2_LAYER = "encoder.layer.{layer}", "h.{layer}"

ENCODERS: dict[str, Architecture] = {
    "bert": Architecture(
        encoder=Bert,
        config=BertConfig,
        hf_class="BertModel",
        prefix="bert.",
        tensors={
            "tokens.embedding": Source("embeddings.word_embeddings.weight"),
            "positions.embedding": Source("embeddings.position_embeddings.weight"),
            "token_types.embedding": Source("embeddings.token_type_embeddings.weight"),
            **_norm("norm", "embeddings.LayerNorm"),
            **_linear("stack.layers.attention.query", f"{_BERT_LAYER}.attention.self.query"),
            **_linear("stack.layers.attention.key", f"{_BERT_LAYER}.attention.self.key"),
            **_linear("stack.layers.attention.value", f"{_BERT_LAYER}.attention.self.value"),
            **_linear("stack.layers.attention.out", f"{_BERT_LAYER}.attention.output.dense"),
            **_norm("stack.layers.attention_norm", f"{_BERT_LAYER}.attention.output.LayerNorm"),
            **_linear("stack.layers.mlp.up", f"{_BERT_LAYER}.intermediate.dense"),
            **_linear("stack.layers.mlp.down", f"{_BERT_LAYER}.output.dense"),
            **_norm("stack.layers.mlp_norm", f"{_BERT_LAYER}.output.LayerNorm"),
            **_linear("pooler", "pooler.dense"),
        },
        ignored=("embeddings.position_ids", "cls.*", "classifier.*", "qa_outputs.*"),
        fields={
            "vocab_size": "vocab_size",
            "max_positions": "max_position_embeddings",
            "num_token_types": "type_vocab_size",
            "width": "hidden_size",
            "num_layers": "num_hidden_layers",
            "num_heads": "num_attention_heads",
            "mlp_width": "intermediate_size",
            "activation": "hidden_act",
            "norm_eps": "layer_norm_eps",
            "dropout": "hidden_dropout_prob",
        },
        repeated={},
        special_ids={"pad_token_id": 0},
        supported={
            "hidden_act": _default_first("gelu"),
            "position_embedding_type": ("absolute",),
            "is_decoder": (False,),
            "add_cross_attention": (False,),
        },
    ),
    "gpt2": Architecture(
        encoder=Gpt2,
        config=Gpt2Config,
        hf_class="GPT2Model",
        prefix="transformer.",
        tensors={
            "tokens.embedding": Source("wte.weight"),
            "positions.embedding": Source("wpe.weight"),
            **_norm("stack.layers.attention_norm", f"{_GPT2_LAYER}.ln_1"),
            **_conv1d("stack.layers.attention.query", f"{_GPT2_LAYER}.attn.c_attn", third=0),
            **_conv1d("stack.layers.attention.key", f"{_GPT2_LAYER}.attn.c_attn", third=1),
            **_conv1d("stack.layers.attention.value", f"{_GPT2_LAYER}.attn.c_attn", third=2),
            **_conv1d("stack.layers.attention.out", f"{_GPT2_LAYER}.attn.c_proj"),
            **_norm("stack.layers.mlp_norm", f"{_GPT2_LAYER}.ln_2"),
            **_conv1d("stack.layers.mlp.up", f"{_GPT2_LAYER}.mlp.c_fc"),
            **_conv1d("stack.layers.mlp.down", f"{_GPT2_LAYER}.mlp.c_proj"),
            **_norm("norm", "ln_f"),
        },
        ignored=("lm_head.weight", "score.weight", "multiple_choice_head.*", "h.*.attn.bias", "h.*.attn.masked_bias"),
        fields={
            "vocab_size": "vocab_size",
            "max_positions": "n_positions",
            "width": "n_embd",
            "num_layers": "n_layer",
            "num_heads": "n_head",
            "mlp_width": "n_inner",
            "activation": "activation_function",
            "norm_eps": "layer_norm_epsilon",
            "dropout": "resid_pdrop",
        },
        repeated={"embd_pdrop": "dropout"},
        special_ids={"bos_token_id": 50256, "eos_token_id": 50256},
        supported={
            "activation_function": _default_first("gelu_new"),
            "scale_attn_weights": (True,),
            "scale_attn_by_inverse_layer_idx": (False,),
            "add_cross_attention": (False,),
        },
    ),
}


def new_encoder(config: BertConfig | Gpt2Config, rngs: nnx.Rngs) -> Bert | Gpt2:
    """A randomly initialized encoder of the config's architecture."""
    return architecture_of(config)[1].encoder(config, rngs=rngs)  # type: ignore[arg-type]


def architecture_of(config: BertConfig | Gpt2Config) -> tuple[str, Architecture]:
    """The key and value in `ENCODERS` for a config."""
    return next((kind, arch) for kind, arch in ENCODERS.items() if type(config) is arch.config)

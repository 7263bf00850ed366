"""Integrated gradients (Sundararajan, Taly and Yan 2017) of a score with respect to the token embeddings of a text.

The path goes from the text in which every token but the special ones is replaced by the mask token to the text itself.
The attributions of the tokens sum to the difference of the two scores, up to the error of the numerical integration.

Shape letters besides those of `types.py`: P points of the path.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from tokenizers import Tokenizer

from llmrec_jax.models import Bert, Gpt2
from llmrec_jax.models.encode import ON_CPU, Pooling, padded_length
from llmrec_jax.models.layers import pool

POINTS = 32  # of the path
BASELINES = ("[MASK]", "<mask>", "[PAD]", "<pad>", "<|endoftext|>")  # the first that the tokenizer has


class Span(NamedTuple):
    """A token that is not special."""

    start: int  # place in the text
    end: int
    share: float  # of the score


def token_shares(
    encoder: Bert | Gpt2,
    tokenizer: Tokenizer,
    text: str,
    max_tokens: int,
    pooling: Pooling,
    head: dict[str, Any],
    head_graphdef: Any = None,
) -> list[Span]:
    """The attribution of each token.

    The score is the product of `head["direction"]` and the pooled features of the text after these steps: whitening
    with `head["mean"]` and `head["transform"]`, L2-normalized, if they are there; the item tower of the model of
    `head_graphdef` and `head["params"]`, if it is given.

    Args:
      encoder: of the text.
      tokenizer: of the encoder.
      text: it is truncated to `max_tokens`.
      max_tokens: special ones included.
      pooling: of the hidden states.
      head: arrays of the score.
      head_graphdef: of a `RecModel` without encoder.
    """
    tokenizer = Tokenizer.from_str(tokenizer.to_str())  # a copy: does not change the caller's tokenizer
    tokenizer.enable_truncation(min(max_tokens, encoder.config.max_positions))
    found = tokenizer.encode(text)
    is_special_L = np.array(found.special_tokens_mask, bool)
    length = min(padded_length(len(found), ON_CPU.lengths), encoder.config.max_positions)
    pair_2L = np.zeros((2, length), np.int32)
    pair_2L[:, : len(found)] = np.where(is_special_L, found.ids, _baseline_token(tokenizer)), found.ids
    mask_1L = np.arange(length)[None] < len(found)
    graphdef, params = nnx.split(encoder)
    static = {"graphdef": graphdef, "head_graphdef": head_graphdef, "pooling": pooling}
    share_L = np.asarray(_attributions(params, head, pair_2L, mask_1L, **static))
    places = zip(found.offsets, share_L, is_special_L, strict=False)
    return [Span(*span, float(share)) for span, share, is_special in places if not is_special]


def _baseline_token(tokenizer: Tokenizer) -> int:
    known = (tokenizer.token_to_id(name) for name in BASELINES)
    return next((token_id for token_id in known if token_id is not None), 0)


@functools.partial(jax.jit, static_argnames=("graphdef", "head_graphdef", "pooling"))
def _attributions(
    params: Any,
    head: dict[str, Any],
    pair_2L: jax.Array,
    mask_1L: jax.Array,
    *,
    graphdef: Any,
    head_graphdef: Any,
    pooling: Pooling,
) -> jax.Array:
    encoder = nnx.merge(graphdef, params)
    baseline_LD, text_LD = encoder.embed(pair_2L, jnp.broadcast_to(mask_1L, pair_2L.shape))
    share_P = (jnp.arange(POINTS) + 0.5) / POINTS
    path_PLD = baseline_LD[None] + share_P[:, None, None] * (text_LD - baseline_LD)[None]
    mask_PL = jnp.broadcast_to(mask_1L, path_PLD.shape[:2])

    def total(path_PLD: jax.Array) -> jax.Array:
        features_PF = pool(encoder.upper(path_PLD, mask_PL), mask_PL, pooling)
        return _scores(head, features_PF, head_graphdef).sum()

    gradient_LD = jax.grad(total)(path_PLD).mean(axis=0)
    return (gradient_LD * (text_LD - baseline_LD)).sum(axis=-1)


def _scores(head: dict[str, Any], x_PF: jax.Array, head_graphdef: Any) -> jax.Array:
    if "mean" in head:
        x_PF = (x_PF - head["mean"][None]) @ head["transform"]
        x_PF = x_PF * jax.lax.rsqrt(jnp.maximum((x_PF**2).sum(axis=-1, keepdims=True), 1e-24))
    if head_graphdef is not None:
        x_PF = nnx.merge(head_graphdef, head["params"]).encode_new_items(x_PF)
    return x_PF @ head["direction"]

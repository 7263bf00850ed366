"""The loss of a language model: cross entropy of predicted tokens over the vocabulary."""

import jax
import jax.numpy as jnp

from llmrec_jax.losses import ranking
from llmrec_jax.types import Array, Mean, TokenOutputs

BLOCK = 4096  # tokens of the vocabulary that are scored at a time


def cross_entropy(hidden_ND: Array, target_N: Array, embedding_VD: Array, bias_V: Array | None) -> jax.Array:
    """`logsumexp_v (h . e_v + b_v) - (h . e_target + b_target)` of each row, float32 [N].

    Args:
      hidden_ND: the vector that each prediction is made from.
      target_N: int, the token to predict.
      embedding_VD: the embeddings of the vocabulary, which are the weights of the output too.
      bias_V: None for none.
    """
    if bias_V is not None:  # as one more dimension
        hidden_ND = jnp.concatenate([hidden_ND, jnp.ones((len(hidden_ND), 1), hidden_ND.dtype)], axis=1)
        embedding_VD = jnp.concatenate([embedding_VD, bias_V[:, None]], axis=1)
    return ranking.softmax(
        hidden_ND,
        embedding_VD,
        embedding_VD[target_N],
        is_candidate_I=jnp.ones(len(embedding_VD), bool),
        temperature=1.0,
        block_size=BLOCK,
    )


def token_loss(outputs: TokenOutputs, progress: jax.Array) -> dict[str, Mean]:
    """The mean over the predicted tokens, as the parts of a term (see `term.Term`)."""
    loss_N = cross_entropy(outputs.hidden_ND, outputs.target_N, outputs.embedding_VD, outputs.bias_V)
    weight_N = outputs.is_predicted_N.astype(jnp.float32)
    return {"tokens": Mean(jnp.sum(loss_N * weight_N), jnp.sum(weight_N))}

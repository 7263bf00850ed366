"""Losses of knowledge graph embedding: is a triple (head, relation, tail) more plausible than one with another tail?

The head vectors are those of the recommender's items; relations and tails have embeddings of their own. A model gives a
score, and the loss is a softmax cross entropy over the true tail and sampled ones of the same relation:

    loss = -log(exp(s(h, r, t)) / (exp(s(h, r, t)) + sum_k exp(s(h, r, t_k) - log q_k)))

where each score also has a bias of its tail, which takes up how common the tail is, as in ConvE (arXiv:1707.01476), and
with `q_k` the expected number of times that tail k is sampled, so that it estimates the softmax over all tails of the
relation. This loss serves both models better than margins (Ruffinelli, Broscheit and Gemulla, "You CAN teach an old dog
new tricks! On training knowledge graph embeddings", ICLR 2020; Lacroix, Usunier and Obozinski, arXiv:1806.07297).

Shape letters besides those of `types`, which in this file differ for K: N triples, K tails of a triple.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llmrec_jax.types import Array

Score = Callable[[Array, Array, Array], jax.Array]  # head [N, D], relation [N, D], tails [N, K, D] -> [N, K]


def transe(head_ND: Array, relation_ND: Array, tail_NKD: Array) -> jax.Array:
    """The score of TransE, `-||h + r - t||^2`, float32 [N, K]: a relation is a translation from heads to tails.

    Source: Bordes et al., "Translating embeddings for modeling multi-relational data", NeurIPS 2013, with the squared
    Euclidean distance.

    >>> transe(jnp.array([[1.0, 0.0]]), jnp.array([[0.0, 1.0]]), jnp.array([[[1.0, 1.0], [0.0, 1.0]]]))
    Array([[-0., -1.]], dtype=float32)
    """
    query_N1D = (head_ND + relation_ND)[:, None]
    return -jnp.sum((query_N1D - tail_NKD) ** 2, axis=-1)


def complex_(head_ND: Array, relation_ND: Array, tail_NKD: Array) -> jax.Array:
    """The score of ComplEx, `Re(sum_d h_d r_d conj(t_d))`, float32 [N, K]. D is even.

    The first half of a vector holds the real parts of D / 2 complex numbers, the second half the imaginary parts.
    Because of the conjugate, a relation need not be symmetric.

    Source: Trouillon et al., "Complex embeddings for simple link prediction", arXiv:1606.06357.

    >>> head, relation = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 1.0]])  # (1 + 2i) * i = -2 + i
    >>> complex_(head, relation, jnp.array([[[-2.0, 1.0], [1.0, 0.0]]]))
    Array([[ 5., -2.]], dtype=float32)
    """
    (head_real, head_imag), (relation_real, relation_imag) = (jnp.split(x, 2, axis=-1) for x in (head_ND, relation_ND))
    real = head_real * relation_real - head_imag * relation_imag
    imag = head_real * relation_imag + head_imag * relation_real
    return jnp.einsum("nd,nkd->nk", jnp.concatenate([real, imag], axis=-1), tail_NKD)


SCORES: dict[str, Score] = {"transe": transe, "complex": complex_}  # by `tasks.knowledge_graph`


def heads(items_ND: Array, width: int) -> Array:
    """Item vectors as they are scored (without the bias, which is last) as heads: with entries of size 1."""
    return items_ND[:, :width] * width**0.5


def sampled_softmax(
    score: Score,
    head_ND: Array,
    relation_ND: Array,
    tail_NKD: Array,
    *,
    bias_NK: Array,
    is_negative_NK: Array,
    log_q_N: Array,
) -> jax.Array:
    """The loss of each triple, float32 [N]; the formula is at the top of the file.

    Args:
      score: `transe` or `complex_`.
      head_ND: item vectors.
      relation_ND: embeddings of the relations.
      tail_NKD: embeddings of the tails: the true one first, then the sampled ones, [N, 1 + K, D].
      bias_NK: added to the scores of the tails, [N, 1 + K].
      is_negative_NK: False where a sampled tail is true.
      log_q_N: log of the expected number of times that each tail of the relation is sampled.

    >>> one = jnp.ones((1, 2))
    >>> more = {"bias_NK": 0 * one, "is_negative_NK": one[:, :1] > 0, "log_q_N": jnp.zeros(1)}
    >>> sampled_softmax(transe, one, 0 * one, jnp.ones((1, 2, 2)), **more)
    Array([0.6931472], dtype=float32)
    """
    scores_NK = score(head_ND, relation_ND, tail_NKD).astype(jnp.float32) + bias_NK
    negative_NK = jnp.where(is_negative_NK, scores_NK[:, 1:] - log_q_N[:, None], -jnp.inf)
    logits_NK = jnp.concatenate([scores_NK[:, :1], negative_NK], axis=1)
    return jax.nn.logsumexp(logits_NK, axis=1) - scores_NK[:, 0]

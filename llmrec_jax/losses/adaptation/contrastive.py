"""Contrastive losses over several domains: UniSRec's sequence-item contrast, and LLM-RecG's alignment of items.

Both take rows of any number of domains and compare them by their cosines.

Shape letters besides those of the package: J items, the candidates of a softmax.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def multi_domain_contrastive(
    anchors_ND: Array,
    items_JD: Array,
    positive_N: Array,
    mask_N: Array,
    is_item_J: Array,
    *,
    temperature: float = 0.07,
) -> jax.Array:
    """InfoNCE with the batch's items of every domain as negatives (sequence-item task of UniSRec, arXiv:2206.05941).

    The mean over the rows of `-log(exp(a_i x_p(i) / t) / sum_j exp(a_i x_j / t))` with cosines `a_i x_j`, where `p(i)`
    is the item that belongs to row i. Negatives from other domains are what aligns the domains, so pass items of all
    of them. Each distinct item counts once; in the paper an item is as often a negative as it is a row's positive.
    About `log(items)` for random directions at a temperature of 1, more at lower ones.

    >>> anchors_ND, items_JD = jnp.array([[1.0, 0], [0, 1], [-1, 0]]), jnp.array([[2.0, 0], [0, 2], [1, 1]])
    >>> masks = jnp.arange(3) < 2, jnp.arange(3) < 2
    >>> print(f"{multi_domain_contrastive(anchors_ND, items_JD, jnp.arange(3), *masks, temperature=1.0):.4f}")
    0.3133

    Args:
      anchors_ND: user vectors.
      items_JD: vectors of distinct items.
      positive_N: int, the item that belongs to each row, as an index into the items.
      mask_N: bool, False on rows to ignore; 0 is returned without any.
      is_item_J: bool, False on padding, which is no negative.
      temperature: divides the cosines; 0.07 in the paper.
    """
    anchors_ND, items_JD = (rows.unit(rows.masked(x, m)[0]) for x, m in ((anchors_ND, mask_N), (items_JD, is_item_J)))
    score_NJ = rows.product(anchors_ND, items_JD.T) / temperature
    is_own_NJ = jax.nn.one_hot(positive_N, len(items_JD), dtype=bool)
    log_sum_N = jax.nn.logsumexp(score_NJ, axis=1, where=is_item_J[None] | is_own_NJ)
    loss = rows.mean(log_sum_N - jnp.sum(jnp.where(is_own_NJ, score_NJ, 0.0), axis=1), mask_N)
    return rows.if_enough(loss, mask_N, rows=1)


def llm_recg(
    items_ND: Array,
    domain_N: Array,
    mask_N: Array,
    *,
    num_domains: int,
    inter_weight: float | None = None,
    sharpness: float = 1.0,
) -> jax.Array:
    """The item alignment of LLM-RecG (arXiv:2501.19232): `-intra + inter_weight * inter`, both entropies in nats.

    `intra` is the mean over the domains of the mean over their items of `H(softmax_j(sharpness cos(x_i, x_j)))`, `j`
    over the items of the same domain, itself included. `inter` is the mean over all items of `H(softmax_g(sharpness
    cos(x_i, c_g)))`, `g` over the centers (means) of the *other* domains. This is what the authors' program minimizes.

    Three facts about it: with two domains there is one other center, so `inter` is 0 and so is its gradient; `intra`
    is at most `log n` of the domain's n items, which equal items reach too; at a sharpness of 1 it is always near that,
    so the value, about `-log n`, hardly moves.

    >>> items_ND = jnp.array([[1.0, 0], [0, 1], [1, 1], [1, -1], [0, 2], [2, 1]])
    >>> domain_N = jnp.array([0, 0, 1, 1, 2, 2])
    >>> print(f"{llm_recg(items_ND, domain_N, jnp.ones(6, bool), num_domains=3):.4f}")
    -0.4591

    Args:
      items_ND: item vectors.
      domain_N: int, the domain of each row.
      mask_N: bool, False on rows to ignore.
      num_domains: G; 0 is returned if fewer than two have rows.
      inter_weight: None for the authors' `rows / G^3`.
      sharpness: multiplies the cosines (the authors' `temperature`).
    """
    is_used_N = mask_N & (domain_N >= 0) & (domain_N < num_domains)
    items_ND, _ = rows.masked(items_ND, is_used_N)
    one_hot_NG = jax.nn.one_hot(domain_N, num_domains) * is_used_N[:, None]
    size_G = one_hot_NG.sum(axis=0)
    unit_ND = rows.unit(items_ND)

    is_same_NN = is_used_N[None] & (domain_N[:, None] == domain_N[None])
    entropy_N = _entropy(sharpness * rows.product(unit_ND, unit_ND.T), is_same_NN)
    intra = jnp.sum(rows.product(entropy_N * is_used_N, one_hot_NG) / jnp.maximum(size_G, 1)) / num_domains

    center_GD = rows.product(one_hot_NG.T, items_ND) / jnp.maximum(size_G, 1)[:, None]
    is_other_NG = (size_G > 0)[None] & (jnp.arange(num_domains)[None] != domain_N[:, None])
    inter_N = _entropy(sharpness * rows.product(unit_ND, rows.unit(center_GD).T), is_other_NG)
    weight = is_used_N.sum() / num_domains**3 if inter_weight is None else inter_weight
    return jnp.where((size_G > 0).sum() >= 2, weight * rows.mean(inter_N, is_used_N) - intra, 0.0)


def _entropy(score_NJ: jax.Array, is_candidate_NJ: jax.Array) -> jax.Array:
    """Entropy of the softmax of each row's candidates; 0 for a row without any."""
    score_NJ = jnp.where(is_candidate_NJ, score_NJ, -1e9)
    log_p_NJ = jnp.where(is_candidate_NJ, jax.nn.log_softmax(score_NJ, axis=1), 0.0)
    return -jnp.sum(jnp.where(is_candidate_NJ, jnp.exp(log_p_NJ), 0.0) * log_p_NJ, axis=1)

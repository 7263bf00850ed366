"""Losses of a critic or of a second classifier, which the features maximize: WDGRL and MDD.

As in `adversarial`, the network is a module of the model, and the caller reverses the gradient of the features. The
loss returned is what the critic minimizes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.types import Array


def wdgrl(
    critic: Callable[[jax.Array], jax.Array],
    rows_ND: Array,
    is_source_N: Array,
    is_target_N: Array,
    key: jax.Array,
    *,
    penalty: float = 10.0,
) -> jax.Array:
    """Wasserstein distance guided representation learning (arXiv:1707.01217): `-W + penalty * G`.

    `W = mean_s f(x) - mean_t f(x)` is the critic's estimate of the Wasserstein-1 distance, in units of the features
    (the distance of the means, if the sides differ by a shift), and `G` its `gradient_penalty`, by which only the
    critic is trained, not the features. The loss goes from about `penalty` down to `-W`.

    Args:
      critic: features `[N, D]` -> scores `[N]`, each row for itself: no statistics over the batch.
      rows_ND: features with reversed gradients.
      is_source_N: the source rows; 0 is returned without any.
      is_target_N: the target rows, likewise.
      key: for the pairs of rows, see `random_pairs`.
      penalty: 10 in the paper.

    >>> rows_ND, is_source_N = jnp.array([[1.0, 0], [3, 0], [0, 0], [1, 1]]), jnp.arange(4) < 2
    >>> critic = lambda rows_ND: rows_ND @ jnp.array([0.6, 0.8])
    >>> print(f"{wdgrl(critic, rows_ND, is_source_N, ~is_source_N, jax.random.key(0)):.4f}")
    -0.5000
    """
    distance = wdgrl_distance(critic(rows.masked(rows_ND, is_source_N | is_target_N)[0]), is_source_N, is_target_N)
    return penalty * gradient_penalty(critic, rows_ND, is_source_N, is_target_N, key) - distance


def wdgrl_distance(scores_N: Array, is_source_N: Array, is_target_N: Array) -> jax.Array:
    """`W` of `wdgrl`, from the critic's scores: the mean of the source rows minus that of the target rows.

    >>> float(wdgrl_distance(jnp.array([1.0, 3, 0]), jnp.array([True, True, False]), jnp.array([False, False, True])))
    2.0
    """
    scores_N, _ = rows.masked(scores_N, is_source_N | is_target_N)
    distance = rows.mean(scores_N, is_source_N) - rows.mean(scores_N, is_target_N)
    return rows.if_enough(distance, is_source_N, is_target_N, rows=1)


def gradient_penalty(
    critic: Callable[[jax.Array], jax.Array], rows_ND: Array, is_source_N: Array, is_target_N: Array, key: jax.Array
) -> jax.Array:
    """`G` of `wdgrl`: `mean (|grad f(x)| - 1)^2` over the rows of both sides and as many random points between them.

    The mean of three means: of the source rows, the target rows, and one point between each row and a random row of the
    other side. The rows get no gradient. 1 for a constant critic.

    >>> rows_ND, is_source_N = jnp.array([[1.0, 0], [3, 0], [0, 0], [1, 1]]), jnp.arange(4) < 2
    >>> critic = lambda rows_ND: rows_ND @ jnp.array([3.0, 0])
    >>> print(f"{gradient_penalty(critic, rows_ND, is_source_N, ~is_source_N, jax.random.key(0)):.4f}")
    4.0000
    """
    mask_N = is_source_N | is_target_N
    rows_ND = jax.lax.stop_gradient(rows.masked(rows_ND, mask_N)[0])
    partner_N, share_N = random_pairs(key, is_source_N, is_target_N)
    between_ND = share_N[:, None] * rows_ND + (1 - share_N[:, None]) * rows_ND[partner_N]
    slope = jax.grad(lambda points_ND: critic(points_ND).astype(jnp.float32).sum())
    at_rows_N, between_N = ((rows.norm(slope(points_ND)) - 1) ** 2 for points_ND in (rows_ND, between_ND))
    means = rows.mean(at_rows_N, is_source_N) + rows.mean(at_rows_N, is_target_N) + rows.mean(between_N, mask_N)
    return rows.if_enough(means / 3, is_source_N, is_target_N, rows=1)


def random_pairs(key: jax.Array, is_source_N: Array, is_target_N: Array) -> tuple[jax.Array, jax.Array]:
    """For each row a random row of the other side, int `[N]`, and its own share of their mixture, uniform in [0, 1).

    The same for any number of devices. Rows of neither side, and rows without another side, get any partner.

    >>> partner_N, share_N = random_pairs(jax.random.key(0), jnp.array([True, False]), jnp.array([False, True]))
    >>> partner_N.tolist()
    [1, 0]
    """
    pair_key, share_key = jax.random.split(key)
    draw_N = jax.random.uniform(pair_key, is_source_N.shape)

    def draw(side_N: Array) -> jax.Array:
        members_N = jnp.argsort(~jnp.asarray(side_N), stable=True)  # the rows of the side first
        place_N = (draw_N * side_N.sum()).astype(jnp.int32)
        return members_N[jnp.minimum(place_N, jnp.maximum(side_N.sum() - 1, 0))]

    return jnp.where(is_source_N, draw(is_target_N), draw(is_source_N)), jax.random.uniform(share_key, draw_N.shape)


def mdd(
    logits_NI: Array, adversary_NI: Array, is_source_N: Array, is_target_N: Array, *, margin: float = 4.0
) -> jax.Array:
    """Margin disparity discrepancy (arXiv:1904.05801), as the loss of the adversary.

    `-margin mean_s log p'(y) - mean_t log(1 - p'(y))`, where `y` is the item that the main head ranks first and `p'`
    the adversary's softmax: it should agree with the main head on the source and disagree on the target. Minus this
    loss is the paper's `gamma E_s log sigma_h(f') + E_t log(1 - sigma_h(f'))`. `margin log I` for a uniform adversary.

    >>> logits_NI, is_source_N = jnp.array([[2.0, 0, 0], [0, 2, 0]]), jnp.array([True, False])
    >>> print(f"{mdd(logits_NI, jnp.zeros((2, 3)), is_source_N, ~is_source_N):.4f}")
    4.7999

    Args:
      logits_NI: the main head's scores of the probe of items, I at least 2; no gradient.
      adversary_NI: the second head's scores of the same items, from features with reversed gradients.
      is_source_N: the source rows; 0 is returned without any.
      is_target_N: the target rows, likewise.
      margin: gamma; 2, 3 or 4 in the paper.
    """
    mask_N = is_source_N | is_target_N
    adversary_NI, _ = rows.masked(adversary_NI, mask_N)
    label_N = jnp.argmax(rows.masked(logits_NI, mask_N)[0], axis=1)
    is_label_NI = jax.nn.one_hot(label_N, logits_NI.shape[1], dtype=bool)
    log_sum_N = jax.nn.logsumexp(adversary_NI, axis=1)
    agree_N = log_sum_N - jnp.sum(jnp.where(is_label_NI, adversary_NI, 0.0), axis=1)
    disagree_N = log_sum_N - jax.nn.logsumexp(adversary_NI, axis=1, where=~is_label_NI)
    loss = margin * rows.mean(agree_N, is_source_N) + rows.mean(disagree_N, is_target_N)
    return rows.if_enough(loss, is_source_N, is_target_N, rows=1)

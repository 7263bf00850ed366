"""Losses of a domain discriminator, which the features maximize: DANN and CDAN; and the reversal of gradients.

The discriminator is a module of the model: the caller reverses the gradient of the features, computes the logits and
passes them on. Source is class 0 and target class 1; a logit is that of the target.

    logits_N = discriminator(gradient_reversal(features_ND, dann_schedule(progress)))
    loss = dann(logits_N, logits_N, is_source_N, is_target_N)

Losses are in nats: log 2 = 0.69 for a discriminator that cannot tell the sides apart (logits of 0), near 0 for one
that can.

Shape letters besides those of the package: E width of a random projection.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation import rows
from llmrec_jax.losses.adaptation.predictions import entropy
from llmrec_jax.types import Array


@jax.custom_vjp
def gradient_reversal(x: Array, scale: Array | float) -> Array:
    """The identity; its gradient is multiplied by `-scale` (arXiv:1505.07818). `scale` gets no gradient.

    >>> float(gradient_reversal(3.0, 0.5)), float(jax.grad(gradient_reversal)(3.0, 0.5))
    (3.0, -0.5)
    """
    return x


def _reversal_forward(x: Array, scale: Array | float) -> tuple[Array, Array | float]:
    return x, scale


def _reversal_backward(scale: Array | float, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    return (-scale * gradient).astype(gradient.dtype), jnp.zeros_like(scale)


gradient_reversal.defvjp(_reversal_forward, _reversal_backward)


def dann_schedule(progress: Array | float) -> jax.Array:
    """Scale of the reversal (arXiv:1505.07818): `2 / (1 + exp(-10 p)) - 1`, from 0 at progress 0 to 1 at progress 1.

    >>> print(f"{dann_schedule(0.1):.4f}")
    0.4621
    """
    return 2 / (1 + jnp.exp(-10 * jnp.asarray(progress, jnp.float32))) - 1


def dann(
    source_logits_B: Array,
    target_logits_B: Array,
    source_mask_B: Array | None = None,
    target_mask_B: Array | None = None,
) -> jax.Array:
    """Domain classification loss (arXiv:1505.07818): binary cross entropy of logits, source = 0, target = 1.

    `(mean_s softplus(l_s) + mean_t softplus(-l_t)) / 2`: both sides have equal weight, whatever their sizes.

    >>> print(f"{dann(jnp.array([-2.0, 0]), jnp.array([2.0])):.4f}")
    0.2685
    """
    source_B, source_mask_B = rows.masked(source_logits_B, source_mask_B)
    target_B, target_mask_B = rows.masked(target_logits_B, target_mask_B)
    return rows.balanced_mean(jax.nn.softplus(source_B), jax.nn.softplus(-target_B), source_mask_B, target_mask_B)


def domain_accuracy(
    source_logits_B: Array,
    target_logits_B: Array,
    source_mask_B: Array | None = None,
    target_mask_B: Array | None = None,
) -> jax.Array:
    """Accuracy of the discriminator, averaged over the two sides; a logit of 0 counts half.

    >>> float(domain_accuracy(jnp.array([-2.0, 0]), jnp.array([2.0])))
    0.875
    """
    source_B, source_mask_B = rows.masked(source_logits_B, source_mask_B)
    target_B, target_mask_B = rows.masked(target_logits_B, target_mask_B)
    return rows.balanced_mean((1 - jnp.sign(source_B)) / 2, (1 + jnp.sign(target_B)) / 2, source_mask_B, target_mask_B)


def cdan(logits_N: Array, is_source_N: Array, is_target_N: Array, *, predictions_NI: Array | None = None) -> jax.Array:
    """The loss of a discriminator that sees features and predictions together (CDAN, arXiv:1705.10667).

    `dann` of its logits, whose inputs are `cdan_features`. With `predictions_NI` it is CDAN+E: rows with certain
    predictions count more, `w = 1 + exp(-H)`, and the means are weighted, `sum(w l) / sum(w)` within each side with
    the sum of the weights as a constant, as the authors' program has it.

    >>> logits_N, predictions_NI = jnp.array([-2.0, 0, 2]), jnp.array([[9.0, 0], [0, 0], [0, 9]])
    >>> is_source_N = jnp.array([True, True, False])
    >>> print(f"{cdan(logits_N, is_source_N, ~is_source_N):.4f}")
    0.2685
    >>> print(f"{cdan(logits_N, is_source_N, ~is_source_N, predictions_NI=predictions_NI):.4f}")
    0.2483

    Args:
      logits_N: of the discriminator, computed from features and probabilities with reversed gradients.
      is_source_N: the source rows; 0 is returned without any.
      is_target_N: the target rows, likewise.
      predictions_NI: logits of the predictions, of which `H` is the entropy. They get the gradient of this loss: pass
        them with reversed gradients too, or stop their gradient.
    """
    mask_N = is_source_N | is_target_N
    logits_N, _ = rows.masked(logits_N, mask_N)
    source_N, target_N = jax.nn.softplus(logits_N), jax.nn.softplus(-logits_N)
    if predictions_NI is not None:
        weight_N = 1 + jnp.exp(-entropy(rows.masked(predictions_NI, mask_N)[0]))
        constant_N = jax.lax.stop_gradient(weight_N)
        source_N = source_N * weight_N / jnp.maximum(rows.mean(constant_N, is_source_N), 1)
        target_N = target_N * weight_N / jnp.maximum(rows.mean(constant_N, is_target_N), 1)
    return rows.balanced_mean(source_N, target_N, is_source_N, is_target_N)


def cdan_features(
    features_ND: Array, probabilities_NI: Array, projections: tuple[Array, Array] | None = None
) -> jax.Array:
    """What CDAN's discriminator sees (arXiv:1705.10667): the outer product of features and probabilities.

    `[N, D * I]`; with projections `(R_f [D, E], R_p [I, E])`, the paper's choice where `D * I` is too wide (over 4096),
    `(f R_f) * (p R_p) / sqrt(E)`, `[N, E]`, whose inner products are in expectation those of the outer products. Masked
    rows must be finite, because the discriminator reads them.

    >>> print(cdan_features(jnp.array([[1.0, 2]]), jnp.array([[0.25, 0.75]])).tolist())
    [[0.25, 0.75, 0.5, 1.5]]

    Args:
      features_ND: with reversed gradients.
      probabilities_NI: over the probe of items, or over few categories, with reversed gradients.
      projections: see `random_projections`; the same ones throughout a run.
    """
    features_ND, probabilities_NI = jnp.asarray(features_ND, jnp.float32), jnp.asarray(probabilities_NI, jnp.float32)
    if projections is None:
        return (features_ND[:, :, None] * probabilities_NI[:, None]).reshape(len(features_ND), -1)
    features_DE, predictions_IE = projections
    product_NE = rows.product(features_ND, features_DE) * rows.product(probabilities_NI, predictions_IE)
    return product_NE / features_DE.shape[1] ** 0.5


def random_projections(key: jax.Array, widths: tuple[int, int], width: int) -> tuple[jax.Array, jax.Array]:
    """Standard normal matrices `[D, E]` and `[I, E]` for `cdan_features`, with `widths` D and I and `width` E.

    >>> [matrix.shape for matrix in random_projections(jax.random.key(0), (2, 3), 8)]
    [(2, 8), (3, 8)]
    """
    features_key, predictions_key = jax.random.split(key)
    return (
        jax.random.normal(features_key, (widths[0], width)),
        jax.random.normal(predictions_key, (widths[1], width)),
    )

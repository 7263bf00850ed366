"""What the ranking losses do against imbalance: between popular and rare items, easy and hard predictions, domains.

Shape letters: those of `types`.
"""

import jax
import jax.numpy as jnp

from llmrec_jax.types import Array, Outputs


def with_prior(outputs: Outputs, strength: float, temperature: float) -> Outputs:
    """Outputs whose scores are `s(u, i) + strength * log prior_i`, for a softmax loss (logit adjustment).

    Trained with them, `s(u, i)` itself estimates `log p(i | u) - strength * log prior_i`, up to a constant: at strength
    1, how much more likely the item is for this user than on average. Recommendations rank by `s` alone.

    The prior is one more dimension of the vectors, 1 in those of the users, so the losses need not know it.

    Source: Menon et al., "Long-tail learning via logit adjustment", arXiv:2007.07314.

    Args:
      outputs: with `log_prior_I`.
      strength: tau in the paper; 0 changes no score.
      temperature: by which the loss divides the dot products.
    """
    assert outputs.log_prior_I is not None, "the catalogue holds no prior"
    bias_I = strength * temperature * jnp.asarray(outputs.log_prior_I)

    def biased(items_ND: Array, ids_N: Array) -> jax.Array:
        # The ids of padding may lie beyond the catalogue.
        return jnp.concatenate([items_ND, bias_I.at[ids_N].get(mode="clip")[:, None]], axis=1)

    def widened(user_ND: Array) -> jax.Array:
        return jnp.concatenate([user_ND, jnp.ones((len(user_ND), 1), jnp.float32)], axis=1)

    candidates = outputs.candidates
    if candidates is not None:
        candidates = tuple(part._replace(vectors_ND=biased(part.vectors_ND, part.ids_N)) for part in candidates)
    return outputs._replace(
        user_PD=tuple(map(widened, outputs.user_PD)),
        items_UD=biased(outputs.items_UD, outputs.item_ids_U),
        candidates=candidates,
    )


def focal(loss_P: jax.Array, gamma: float) -> jax.Array:
    """Focal loss: `(1 - p)^gamma * -log p`, where `-log p` is the cross entropy `loss_P`.

    Predictions that the model is already sure of count less. `gamma` 0 is the cross entropy itself.

    Source: Lin et al., "Focal loss for dense object detection", arXiv:1708.02002.
    """
    wrong_P = jnp.maximum(-jnp.expm1(-loss_P), 1e-6)  # rounding may make it 0 or less, where a power has no gradient
    return wrong_P**gamma * loss_P


def weight_of_target(outputs: Outputs, domain: int) -> jax.Array:
    """How much each prediction of a domain counts, float32 [P], by the item that it predicts; `outputs` has `weight_I`.

    The loss is then a weighted mean, the self-normalized estimate of Swaminathan and Joachims, "The self-normalized
    estimator for counterfactual learning", NeurIPS 2015.
    """
    assert outputs.weight_I is not None, "the catalogue holds no weights"
    return jnp.asarray(outputs.weight_I)[outputs.item_ids_U[outputs.predictions[domain].target_P]]

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

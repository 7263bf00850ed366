"""Reweighting of the ranking losses against imbalance of item popularity, of difficulty, and of domains.

Shape letters: those of `types`; G groups, which are domains.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from llmrec_jax.config import LossConfig
from llmrec_jax.types import Array, Outputs


class GroupDro(NamedTuple):
    """Weights of the domains in the ranking loss that follow their losses; see `group_weights`."""

    parts: tuple[str, ...]  # names of the G parts of the objective that are weighted
    step_size: float  # eta in the paper


def parts(config: LossConfig, num_domains: int) -> dict[str, range]:
    """The parts of the ranking loss, each the mean over the predictions of some domains; the target is the last."""
    *sources, target = (range(domain, domain + 1) for domain in range(num_domains))
    if config.domain_weights == "rows":
        return {"source": range(num_domains - 1), "target": target}
    return {f"source_{number}": domain for number, domain in enumerate(sources)} | {"target": target}


def group_dro(config: LossConfig, num_domains: int) -> GroupDro | None:
    """How a run weighs its domains; None: each part of the ranking loss has weight 1."""
    if config.domain_weights == "rows":
        return None
    return GroupDro(tuple(f"ranking/{part}" for part in parts(config, num_domains)), config.domain_step_size)


def group_weights(
    log_weight_G: jax.Array, loss_G: jax.Array, has_rows_G: jax.Array, step_size: float
) -> tuple[jax.Array, jax.Array]:
    """One step of group DRO: `q_g <- q_g exp(step_size * loss_g)`, normalized; minimizes the loss of the worst domain.

    Exponentiated-gradient ascent on the weights in turn with descent on the parameters, as in algorithm 1 of Sagawa et
    al., "Distributionally robust neural networks for group shifts", arXiv:1911.08731, without its adjustment for the
    size of a group.

    Args:
      log_weight_G: log q.
      loss_G: mean losses over the global batch; 0 for a domain without rows.
      has_rows_G: bool, False for a domain without rows, which has weight 0.
      step_size: eta.

    Returns:
      The next `log_weight_G`, to be kept, and the weights of this step, which sum to 1; float32, without gradient.
    """
    log_weight_G = jax.nn.log_softmax(log_weight_G + step_size * jax.lax.stop_gradient(loss_G))
    return log_weight_G, jax.nn.softmax(log_weight_G, where=has_rows_G)


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

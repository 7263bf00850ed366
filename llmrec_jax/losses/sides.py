"""The inputs of an adaptation loss: the vectors of all domains at one level, with masks of source and target.

Shape letters: those of `types`.
"""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from llmrec_jax.losses.adaptation.rows import masked, mean
from llmrec_jax.types import Array, Outputs

LEVELS = ("item", "user")


@dataclasses.dataclass(frozen=True)
class Sides:
    """The arguments of an adaptation loss. All arrays are of the global batch."""

    level: str  # "item": the batch's distinct items; "user": its users, after their last event
    features_ND: Array  # with entries of about size one
    raw_ND: Array | None  # the same before L2-normalization, as the towers give them
    id_N: Array  # int32: the item's number in the catalogue, or the user's in the batch
    domain_N: Array  # int32; the target is the last
    is_source_N: Array  # bool; rows that are neither source nor target are padding
    is_target_N: Array
    num_domains: int
    items_UD: Array  # vectors of the batch's distinct items, as they are scored
    is_target_item_U: Array
    temperature: float  # of the ranking loss
    key: jax.Array  # the same on every device
    head: Callable[..., jax.Array] | None  # of this level
    outputs: Outputs  # everything else that a step has

    @functools.cached_property
    def first_half_N(self) -> jax.Array:
        """A random half of the rows, bool. It does not depend on their order, so a batch may have any layout."""
        draw = jax.vmap(lambda number: jax.random.bernoulli(jax.random.fold_in(self.key, number)))
        return draw(jnp.asarray(self.id_N))

    @functools.cached_property
    def standardized_ND(self) -> jax.Array:
        """The features, `standardized` over both sides."""
        return self.standardize(self.features_ND)

    def standardize(self, features_ND: Array) -> jax.Array:
        """Other features of this level, in the same way."""
        return standardized(features_ND, self.features_ND, self.is_source_N | self.is_target_N)


def standardized(features_ND: Array, of_MD: Array, mask_M: Array) -> jax.Array:
    """Subtract the mean of the used rows `of_MD`, and divide by the root mean square of what is left of them.

    The mean is a vector, the root mean square one number for all components. A new encoder gives vectors with cosines
    of .98: without this, a discriminator sees little but their common part, and all vectors can move or shrink together
    to confuse it, or to lower a distance. Both statistics pass gradients, so that doing so changes no loss.
    """
    rows_MD, _ = masked(of_MD, mask_M)
    mean_D = jnp.sum(rows_MD, axis=0) / jnp.maximum(mask_M.sum(), 1)
    variance = mean(jnp.mean(jnp.square(rows_MD - mean_D[None]), axis=1), mask_M)
    return (jnp.asarray(features_ND) - mean_D[None]) * jax.lax.rsqrt(variance + 1e-6)


def sides_of(outputs: Outputs, level: str, target: int, temperature: float) -> Sides:
    """The arguments of an adaptation loss at a level; `target` is the number of the target domain."""
    if level == "item":
        features_ND, raw_ND = without_bias(outputs, outputs.items_UD), outputs.raw_items_UD
        id_N, domain_N, mask_N = outputs.item_ids_U, outputs.item_domain_U, outputs.item_mask_U
    else:
        features_ND, raw_ND, domain_N = outputs.users_ND, outputs.raw_users_ND, outputs.user_domain_N
        id_N, mask_N = jnp.arange(len(features_ND)), jnp.ones(len(features_ND), bool)
    key = jax.random.key(0) if outputs.key is None else outputs.key
    return Sides(
        level=level,
        features_ND=scaled(features_ND),
        raw_ND=raw_ND,
        id_N=id_N,
        domain_N=domain_N,
        is_source_N=mask_N & (domain_N != target),
        is_target_N=mask_N & (domain_N == target),
        num_domains=target + 1,
        items_UD=outputs.items_UD,
        is_target_item_U=outputs.item_mask_U & (outputs.item_domain_U == target),
        temperature=temperature,
        key=jax.random.fold_in(key, LEVELS.index(level)),
        head=outputs.heads.get(level),
        outputs=outputs,
    )


def features_of_predictions(outputs: Outputs, level: str, domain: int) -> jax.Array:
    """Features [P, D] of a domain's predictions: of the items that follow, or of the users who choose them."""
    if level == "item":
        return scaled(without_bias(outputs, outputs.items_UD[outputs.predictions[domain].target_P]))
    return scaled(without_bias(outputs, outputs.user_PD[domain]))


def without_bias(outputs: Outputs, vectors_ND: Array) -> Array:
    """Vectors as they are scored, without the component of the item bias, which is last if there is one."""
    return vectors_ND[:, : outputs.users_ND.shape[1]]


def scaled(unit_ND: Array) -> jax.Array:
    """Unit vectors have entries of size D^-1/2; the losses expect entries of size one."""
    return jnp.asarray(unit_ND * unit_ND.shape[1] ** 0.5)

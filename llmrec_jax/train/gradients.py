"""Adds the gradients of several tasks, unchanged or after projecting out conflicting components (PCGrad).

The gradients are of the global batch. Heads belong to one task each, so they take no part in a conflict: their
gradients are added as they are.

Shape letters besides those of `types`: J tasks.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from llmrec_jax.train.state import Params


def dot_products(gradients: Mapping[str, Params]) -> jax.Array:
    """The dot products of the gradients of all tasks, without heads, float32 [J, J]."""
    shared = [_without_heads(gradient) for gradient in gradients.values()]
    return jnp.stack([jnp.stack([optax.tree.vdot(one, other) for other in shared]) for one in shared])


def conflicts(gradients: Mapping[str, Params], dots_JJ: jax.Array) -> dict[str, jax.Array]:
    """The cosine between the gradient of each task and that of the first one; below 0 they conflict."""
    norm_J = jnp.sqrt(jnp.maximum(jnp.diagonal(dots_JJ), 0.0))
    cosine_J = dots_JJ[0] / jnp.maximum(norm_J[0] * norm_J, jnp.finfo(jnp.float32).tiny)
    return {f"conflict/{name}": cosine_J[at] for at, name in enumerate(gradients) if at}


def without_conflicts(dots_JJ: jax.Array, key: jax.Array) -> jax.Array:
    """PCGrad: the coefficients [J] of the gradients in their sum after projection.

    Every gradient is projected, in turn and in random order, onto the normal plane of each other gradient that it
    conflicts with. What is left of it stays a linear combination of the gradients, so their dot products decide.

    Source: Yu et al., "Gradient surgery for multi-task learning", arXiv:2001.06782, algorithm 1.
    """
    number = len(dots_JJ)

    def project(at: int, part_J: jax.Array, other: jax.Array) -> jax.Array:
        dot = part_J @ dots_JJ[:, other]
        is_conflict = (dot < 0) & (other != at)
        return part_J.at[other].add(jnp.where(is_conflict, -dot / jnp.maximum(dots_JJ[other, other], 1e-30), 0.0))

    parts = []
    for at, order_key in enumerate(jax.random.split(key, number)):
        order_J = jax.random.permutation(order_key, number)
        part_J = jnp.zeros(number).at[at].set(1.0)
        for place in range(number):
            part_J = project(at, part_J, order_J[place])
        parts.append(part_J)
    return jnp.stack(parts).sum(axis=0)


def weighted_sum(gradients: Mapping[str, Params], coefficient_J: jax.Array | None = None) -> Params:
    """The sum of the gradients, each times its coefficient; those of heads as they are."""
    scaled = []
    for at, gradient in enumerate(gradients.values()):
        parts = dict(gradient)
        if coefficient_J is not None:
            parts |= optax.tree.scale(coefficient_J[at], _without_heads(gradient))
        scaled.append(parts)
    return jax.tree.map(lambda *leaves: sum(leaves), *scaled)


def _without_heads(gradient: Params) -> dict[str, Any]:
    return {name: part for name, part in gradient.items() if name != "heads"}

"""The adaptation methods by name: which losses of `adaptation` each adds to the objective, and the head it trains.

A method of your own is an entry of `METHODS`, made before the configuration is read:

    METHODS["mine"] = Method({"adapt": (my_loss, 1.0)})

Shape letters: those of `types`.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from llmrec_jax.losses import adaptation
from llmrec_jax.losses.adaptation.rows import product
from llmrec_jax.losses.ranking import EXCLUDED
from llmrec_jax.types import Array

DIRECTIONS = 128  # of the sliced Wasserstein distance, drawn anew in every step


@dataclasses.dataclass(frozen=True)
class Sides:
    """What an adaptation loss reads of a step: features of all domains in one array, at one level."""

    level: str  # "item" or "user"
    features_ND: Array  # of the global batch, with entries of about size one
    domain_N: Array  # int32; the target is the last
    is_source_N: Array  # bool; rows that are neither source nor target are padding
    is_target_N: Array
    num_domains: int
    items_UD: Array  # vectors of the batch's distinct items, as they are scored
    is_target_item_U: Array
    temperature: float  # of the ranking loss
    key: jax.Array  # the same on every device
    head: Callable[[Array], jax.Array] | None  # of this level: features [N, D] -> [N]


Adaptation = Callable[[Sides, jax.Array], jax.Array]  # (sides, progress) -> scalar


class Method(NamedTuple):
    """An adaptation method."""

    terms: dict[str, tuple[Adaptation, float]]  # by name: the loss, and its weight relative to `adapt.weight`
    head: str | None = None  # the kind of the module that it trains at each level, see `models.heads`
    is_scheduled: bool = False  # whether it depends on the progress, that is on the number of steps
    levels: tuple[str, ...] = ("item", "user")  # that it can align


def _coral(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.coral(sides.features_ND, sides.features_ND, sides.is_source_N, sides.is_target_N)


def _mmd(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.mk_mmd_within(sides.features_ND, sides.is_source_N, sides.is_target_N)


def _sinkhorn(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.sinkhorn(sides.features_ND, sides.is_source_N, sides.is_target_N)


def _sliced_wasserstein(sides: Sides, progress: jax.Array) -> jax.Array:
    directions_QD = adaptation.random_directions(sides.key, DIRECTIONS, sides.features_ND.shape[1])
    return adaptation.sliced_wasserstein(sides.features_ND, sides.is_source_N, sides.is_target_N, directions_QD)


def _dann(sides: Sides, progress: jax.Array) -> jax.Array:
    logits_N = _head(sides)(_reversed(sides, progress))
    return adaptation.dann(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _domain_accuracy(sides: Sides, progress: jax.Array) -> jax.Array:
    logits_N = _head(sides)(sides.features_ND)
    return adaptation.domain_accuracy(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _wdgrl(sides: Sides, progress: jax.Array) -> jax.Array:
    features_ND = _reversed(sides, progress)
    return adaptation.wdgrl(_head(sides), features_ND, sides.is_source_N, sides.is_target_N, sides.key)


def _wasserstein(sides: Sides, progress: jax.Array) -> jax.Array:
    scores_N = _head(sides)(sides.features_ND)
    return adaptation.wdgrl_distance(scores_N, sides.is_source_N, sides.is_target_N)


def _llm_recg(sides: Sides, progress: jax.Array) -> jax.Array:
    mask_N = sides.is_source_N | sides.is_target_N
    return adaptation.llm_recg(sides.features_ND, sides.domain_N, mask_N, num_domains=sides.num_domains)


def _information_maximization(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.information_maximization(_logits(sides), sides.is_target_N)


def _mcc(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.mcc(_logits(sides), sides.is_target_N)


def _bnm(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.bnm(_logits(sides), sides.is_target_N)


def _reversed(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.gradient_reversal(sides.features_ND, adaptation.dann_schedule(progress))


def _head(sides: Sides) -> Callable[[Array], jax.Array]:
    assert sides.head is not None, f"the model has no head for {sides.level} vectors"
    return sides.head


def _logits(sides: Sides) -> jax.Array:
    """Logits of the users [N, U] over the batch's items of the target, which are the probe; the others are excluded."""
    width = sides.features_ND.shape[1]
    users_ND = sides.features_ND * width**-0.5
    logits_NU = product(users_ND, sides.items_UD[:, :width].T) / sides.temperature
    return jnp.where(sides.is_target_item_U[None], logits_NU, EXCLUDED)


METHODS: dict[str, Method] = {
    "none": Method({}),
    "coral": Method({"adapt": (_coral, 1.0)}),
    "mmd": Method({"adapt": (_mmd, 1.0)}),
    "sliced_wasserstein": Method({"adapt": (_sliced_wasserstein, 1.0)}),
    "sinkhorn": Method({"adapt": (_sinkhorn, 1.0)}),
    "dann": Method(
        {"adapt": (_dann, 1.0), "domain_accuracy": (_domain_accuracy, 0.0)}, head="discriminator", is_scheduled=True
    ),
    "wdgrl": Method(
        {"adapt": (_wdgrl, 1.0), "wasserstein": (_wasserstein, 0.0)}, head="discriminator", is_scheduled=True
    ),
    "llm_recg": Method({"adapt": (_llm_recg, 1.0)}, levels=("item",)),
    "im": Method({"adapt": (_information_maximization, 1.0)}, levels=("user",)),
    "mcc": Method({"adapt": (_mcc, 1.0)}, levels=("user",)),
    "bnm": Method({"adapt": (_bnm, 1.0)}, levels=("user",)),
}

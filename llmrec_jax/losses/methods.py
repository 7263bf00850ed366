"""The adaptation methods by name: which losses of `adaptation` each adds to the objective, and the head it trains.

A method of your own is an entry of `METHODS`, made before the configuration is read:

    METHODS["mine"] = Method({"adapt": (my_loss, 1.0)})

Shape letters: those of `types`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax

from llmrec_jax.losses import adaptation
from llmrec_jax.types import Array, Outputs


class Sides(NamedTuple):
    """Features of all domains in one array, with masks of the source rows and the target rows."""

    features_ND: Array
    is_source_N: Array
    is_target_N: Array
    level: str  # "item" or "user"


Adaptation = Callable[[Sides, Outputs, jax.Array], jax.Array]  # (sides, outputs, progress) -> scalar


class Method(NamedTuple):
    """An adaptation method."""

    terms: dict[str, tuple[Adaptation, float]]  # by name: the loss, and its weight relative to `adapt.weight`
    head: str | None = None  # the kind of the module that it trains at each level, see `models.heads`
    is_scheduled: bool = False  # whether it depends on the progress, that is on the number of steps


def _coral(sides: Sides, outputs: Outputs, progress: jax.Array) -> jax.Array:
    return adaptation.coral(sides.features_ND, sides.features_ND, sides.is_source_N, sides.is_target_N)


def _mmd(sides: Sides, outputs: Outputs, progress: jax.Array) -> jax.Array:
    return adaptation.mk_mmd_within(sides.features_ND, sides.is_source_N, sides.is_target_N)


def _dann(sides: Sides, outputs: Outputs, progress: jax.Array) -> jax.Array:
    features_ND = adaptation.gradient_reversal(sides.features_ND, adaptation.dann_schedule(progress))
    logits_N = _head(outputs, sides)(features_ND)
    return adaptation.dann(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _domain_accuracy(sides: Sides, outputs: Outputs, progress: jax.Array) -> jax.Array:
    logits_N = _head(outputs, sides)(sides.features_ND)
    return adaptation.domain_accuracy(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _head(outputs: Outputs, sides: Sides) -> Callable[[Array], jax.Array]:
    assert sides.level in outputs.heads, f"the model has no head for {sides.level} vectors"
    return outputs.heads[sides.level]


METHODS: dict[str, Method] = {
    "none": Method({}),
    "coral": Method({"adapt": (_coral, 1.0)}),
    "mmd": Method({"adapt": (_mmd, 1.0)}),
    "dann": Method(
        {"adapt": (_dann, 1.0), "domain_accuracy": (_domain_accuracy, 0.0)}, head="discriminator", is_scheduled=True
    ),
}

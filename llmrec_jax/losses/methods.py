"""The adaptation methods by name: which losses of `adaptation` each adds to the objective, and the head it trains.

A method of your own is an entry of `METHODS`, made before the configuration is read:

    METHODS["mine"] = Method({"adapt": (my_loss, 1.0)})

where `my_loss(sides, progress)` returns a scalar; see `sides.Sides`. Shape letters: those of `types`.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from llmrec_jax.losses import adaptation
from llmrec_jax.losses.adaptation.rows import masked, product, unit
from llmrec_jax.losses.ranking import EXCLUDED
from llmrec_jax.losses.sides import Sides, scaled, standardized, without_bias
from llmrec_jax.types import Array, Head

DIRECTIONS = 128  # of the sliced Wasserstein distance, drawn anew in every step
PROJECTED = 4  # width of CDAN's random projections, as a multiple of that of the vectors
DISCRIMINATOR = Head("discriminator")

Adaptation = Callable[[Sides, jax.Array], jax.Array]  # (sides, progress) -> scalar


class Method(NamedTuple):
    """An adaptation method."""

    terms: dict[str, tuple[Adaptation, float]]  # by name: the loss, and its weight relative to `adapt.weight`
    head: Head | None = None  # the module that it trains at each level
    is_scheduled: bool = False  # whether it depends on the progress, that is on the number of steps
    levels: tuple[str, ...] = ("item", "user")  # that it can align
    # (sides, features [P, D] of source predictions at their level) -> weights [P] of their ranking losses
    weights: Callable[[Sides, Array], jax.Array] | None = None


def _coral(sides: Sides, progress: jax.Array) -> jax.Array:
    rows_ND = sides.standardized_ND
    return _less_noise(sides, lambda s_N, t_N: adaptation.coral(rows_ND, rows_ND, s_N, t_N))


def _mmd(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.mk_mmd_within(sides.features_ND, sides.is_source_N, sides.is_target_N)


def _sinkhorn(sides: Sides, progress: jax.Array) -> jax.Array:
    """Divided by the width, so that it is a mean over the components, as the sliced Wasserstein distance is."""
    rows_ND = sides.standardized_ND
    return _less_noise(sides, lambda s_N, t_N: adaptation.sinkhorn(rows_ND, s_N, t_N) / rows_ND.shape[1])


def _sliced_wasserstein(sides: Sides, progress: jax.Array) -> jax.Array:
    rows_ND = sides.standardized_ND
    directions_QD = adaptation.random_directions(sides.key, DIRECTIONS, rows_ND.shape[1])
    return _less_noise(sides, lambda s_N, t_N: adaptation.sliced_wasserstein(rows_ND, s_N, t_N, directions_QD))


def _less_noise(sides: Sides, distance: Callable[[Array, Array], jax.Array]) -> jax.Array:
    """Without this, these distances make all vectors equal once the domains are alike; see `adaptation.noise`."""
    return adaptation.less_noise(distance, sides.is_source_N, sides.is_target_N, sides.first_half_N)


def _dann(sides: Sides, progress: jax.Array) -> jax.Array:
    logits_N = _head(sides)(_reversed(sides, progress))
    return adaptation.dann(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _domain_accuracy(sides: Sides, progress: jax.Array) -> jax.Array:
    logits_N = _head(sides)(sides.standardized_ND)
    return adaptation.domain_accuracy(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _wdgrl(sides: Sides, progress: jax.Array) -> jax.Array:
    features_ND = _reversed(sides, progress)
    return adaptation.wdgrl(_head(sides), features_ND, sides.is_source_N, sides.is_target_N, sides.key)


def _wasserstein(sides: Sides, progress: jax.Array) -> jax.Array:
    scores_N = _head(sides)(sides.standardized_ND)
    return adaptation.wdgrl_distance(scores_N, sides.is_source_N, sides.is_target_N)


def _conditional_logits(sides: Sides, progress: jax.Array) -> jax.Array:
    """Logits [N] of CDAN's discriminator, which sees the user and the mean item that the user's predictions expect.

    The probe of items is another in every batch. The mean of its vectors, weighted by the predictions, has the same
    meaning in all of them, and its width does not depend on the number of items.
    """
    items_UD, _ = masked(without_bias(sides.outputs, sides.items_UD), sides.is_target_item_U)
    expected_ND = product(jax.nn.softmax(_logits(sides), axis=1), items_UD)
    expected_ND = standardized(expected_ND, expected_ND, sides.is_source_N | sides.is_target_N)
    width = expected_ND.shape[1]
    projections = adaptation.random_projections(jax.random.key(0), (width, width), PROJECTED * width)
    scale = adaptation.dann_schedule(progress)
    features_ND, expected_ND = (
        adaptation.gradient_reversal(x_ND, scale) for x_ND in (sides.standardized_ND, expected_ND)
    )
    return _head(sides)(adaptation.cdan_features(features_ND, expected_ND, projections))


def _cdan(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.cdan(_conditional_logits(sides, progress), sides.is_source_N, sides.is_target_N)


def _cdan_e(sides: Sides, progress: jax.Array) -> jax.Array:
    predictions_NU = jax.lax.stop_gradient(_logits(sides))
    logits_N = _conditional_logits(sides, progress)
    return adaptation.cdan(logits_N, sides.is_source_N, sides.is_target_N, predictions_NI=predictions_NU)


def _conditional_accuracy(sides: Sides, progress: jax.Array) -> jax.Array:
    logits_N = _conditional_logits(sides, progress)
    return adaptation.domain_accuracy(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _mdd(sides: Sides, progress: jax.Array) -> jax.Array:
    """The adversary is a second user tower on top of the first; both rank the target's items of the batch."""
    adversary_ND = scaled(unit(_head(sides)(_reversed(sides, progress))))
    adversary_NU = _logits(sides, adversary_ND, jax.lax.stop_gradient(sides.items_UD))
    return adaptation.mdd(_logits(sides), adversary_NU, sides.is_source_N, sides.is_target_N)


def _joint_mmd(sides: Sides, progress: jax.Array) -> jax.Array:
    layers = (sides.features_ND, jax.nn.softmax(_logits(sides), axis=1))
    return adaptation.joint_mmd(layers, sides.is_source_N, sides.is_target_N)


def _afn(sides: Sides, progress: jax.Array) -> jax.Array:
    assert sides.raw_ND is not None, "the forward pass gives no raw vectors"
    return adaptation.afn(sides.raw_ND, sides.is_source_N, sides.is_target_N)


def _contrastive(sides: Sides, progress: jax.Array) -> jax.Array:
    """The predictions of all domains, each among the batch's items of all domains."""
    outputs = sides.outputs
    users, predictions = outputs.user_PD, outputs.predictions
    if outputs.candidates is None:  # they are one device's shard
        users, predictions = outputs.collectives.all_gather((users, predictions))
    return adaptation.multi_domain_contrastive(
        without_bias(outputs, jnp.concatenate(users)),
        without_bias(outputs, outputs.items_UD),
        jnp.concatenate([part.target_P for part in predictions]),
        jnp.concatenate([part.mask_P for part in predictions]),
        outputs.item_mask_U,
        temperature=sides.temperature,
    )


def _separation(sides: Sides, progress: jax.Array) -> jax.Array:
    """The loss of a discriminator that only watches: the vectors get no gradient from it."""
    logits_N = _head(sides)(jax.lax.stop_gradient(sides.standardized_ND))
    return adaptation.dann(logits_N, logits_N, sides.is_source_N, sides.is_target_N)


def _density_ratio(sides: Sides, features_PD: Array) -> jax.Array:
    return adaptation.density_ratio(_head(sides)(jax.lax.stop_gradient(sides.standardize(features_PD))))


def _llm_recg(sides: Sides, progress: jax.Array) -> jax.Array:
    mask_N = sides.is_source_N | sides.is_target_N
    return adaptation.llm_recg(sides.features_ND, sides.domain_N, mask_N, num_domains=sides.num_domains)


def _information_maximization(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.information_maximization(_logits(sides), sides.is_target_N)


def _mcc(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.mcc(_logits(sides), sides.is_target_N, is_item_I=sides.is_target_item_U)


def _bnm(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.bnm(_logits(sides), sides.is_target_N)


def _reversed(sides: Sides, progress: jax.Array) -> jax.Array:
    return adaptation.gradient_reversal(sides.standardized_ND, adaptation.dann_schedule(progress))


def _head(sides: Sides) -> Callable[..., jax.Array]:
    assert sides.head is not None, f"the model has no head for {sides.level} vectors"
    return sides.head


def _logits(sides: Sides, users_ND: Array | None = None, items_UD: Array | None = None) -> jax.Array:
    """Logits of the users [N, U] over the batch's items of the target, which are the probe; the others are excluded.

    Other vectors of the users (with entries of about size one) or of the items may be given.
    """
    users_ND = sides.features_ND if users_ND is None else users_ND
    items_UD = without_bias(sides.outputs, sides.items_UD if items_UD is None else items_UD)
    logits_NU = product(users_ND * users_ND.shape[1] ** -0.5, items_UD.T) / sides.temperature
    return jnp.where(sides.is_target_item_U[None], logits_NU, EXCLUDED)


_ACCURACY = {"domain_accuracy": (_domain_accuracy, 0.0)}
_CONDITIONAL_ACCURACY = {"domain_accuracy": (_conditional_accuracy, 0.0)}

METHODS: dict[str, Method] = {
    "none": Method({}),
    "coral": Method({"adapt": (_coral, 1.0)}),
    "mmd": Method({"adapt": (_mmd, 1.0)}),
    "joint_mmd": Method({"adapt": (_joint_mmd, 1.0)}, levels=("user",)),
    "sliced_wasserstein": Method({"adapt": (_sliced_wasserstein, 1.0)}),
    "sinkhorn": Method({"adapt": (_sinkhorn, 1.0)}),
    "dann": Method({"adapt": (_dann, 1.0), **_ACCURACY}, head=DISCRIMINATOR, is_scheduled=True),
    "cdan": Method(
        {"adapt": (_cdan, 1.0), **_CONDITIONAL_ACCURACY},
        head=Head("discriminator", {"factor": PROJECTED}), is_scheduled=True, levels=("user",),
    ),
    "cdan_e": Method(
        {"adapt": (_cdan_e, 1.0), **_CONDITIONAL_ACCURACY},
        head=Head("discriminator", {"factor": PROJECTED}), is_scheduled=True, levels=("user",),
    ),
    "wdgrl": Method(
        {"adapt": (_wdgrl, 1.0), "wasserstein": (_wasserstein, 0.0)}, head=DISCRIMINATOR, is_scheduled=True
    ),
    "mdd": Method({"adapt": (_mdd, 1.0)}, head=Head("adversary"), is_scheduled=True, levels=("user",)),
    "afn": Method({"adapt": (_afn, 1.0)}),
    "contrastive": Method({"adapt": (_contrastive, 1.0)}, levels=("item",)),
    "density_ratio": Method(
        {"adapt": (_separation, 1.0), **_ACCURACY}, head=DISCRIMINATOR, weights=_density_ratio
    ),
    "llm_recg": Method({"adapt": (_llm_recg, 1.0)}, levels=("item",)),
    "im": Method({"adapt": (_information_maximization, 1.0)}, levels=("user",)),
    "mcc": Method({"adapt": (_mcc, 1.0)}, levels=("user",)),
    "bnm": Method({"adapt": (_bnm, 1.0)}, levels=("user",)),
}  # fmt: skip

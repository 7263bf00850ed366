"""The objective of a training step: named, weighted terms over the outputs of a forward pass.

A term may have several parts (the ranking loss of source rows and of target rows). The step sums the parts' unfinished
means over the devices, divides, and takes the weighted sum:

    means = evaluate(terms, outputs, progress)     # {"ranking/source": Mean, "ranking/target": Mean, "adapt/item": ...}
    values = finish(means summed over the devices)
    loss = total(terms, values, progress)

The ranking losses are listed in `RANKING` below, the adaptation methods in `methods`; the terms of `tasks` are added to
those built here. A loss of your own is an entry of one of these dicts, made before the configuration is read.

Shape letters: those of `types`.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from llmrec_jax.config import AdaptConfig, LossConfig
from llmrec_jax.errors import UserError
from llmrec_jax.losses import balance, ranking, sampled
from llmrec_jax.losses.adaptation import dann_schedule
from llmrec_jax.losses.methods import METHODS, Adaptation, Method
from llmrec_jax.losses.sides import features_of_predictions, sides_of
from llmrec_jax.losses.term import Schedule, Term
from llmrec_jax.types import Array, Mean, Outputs


def _softmax(outputs: Outputs, domain: int, config: LossConfig) -> jax.Array:
    assert outputs.candidates is not None, "the forward pass computed no candidates"
    return ranking.softmax(
        outputs.user_PD[domain],
        outputs.candidates[domain].vectors_ND,
        outputs.items_UD[outputs.predictions[domain].target_P],
        is_candidate_I=outputs.candidates[domain].mask_N,
        ids_I=outputs.candidates[domain].ids_N,
        excluded_NS=_without_target(outputs, domain) if config.mask_history else None,
        temperature=config.temperature,
        block_size=config.block_size,
        collectives=outputs.collectives,
    )


def _without_target(outputs: Outputs, domain: int) -> jax.Array:
    """The history of each prediction without its target, which may be in it; -1 in its place."""
    target_P = outputs.item_ids_U[outputs.predictions[domain].target_P]
    seen_PS = outputs.seen_PS[domain]
    return jnp.where(seen_PS == target_P[:, None], -1, seen_PS)


def _in_batch(outputs: Outputs, domain: int, config: LossConfig) -> jax.Array:
    return ranking.in_batch(
        outputs.user_PD[domain],
        outputs.items_UD,
        outputs.predictions[domain].target_P,
        temperature=config.temperature,
        item_ids_U=outputs.item_ids_U,
        item_mask_U=outputs.item_mask_U & (outputs.item_domain_U == domain),
        log_q_U=outputs.log_q_U,
    )


def _sampled_softmax(outputs: Outputs, domain: int, config: LossConfig) -> jax.Array:
    return sampled.sampled_softmax(
        outputs.user_PD[domain],
        outputs.items_UD[outputs.predictions[domain].target_P],
        **_negatives(outputs, domain),
        temperature=config.temperature,
    )


def _gbce(outputs: Outputs, domain: int, config: LossConfig) -> jax.Array:
    return sampled.gbce(
        outputs.user_PD[domain],
        outputs.items_UD[outputs.predictions[domain].target_P],
        **_negatives(outputs, domain),
        temperature=config.temperature,
        calibration=config.calibration,
    )


def _negatives(outputs: Outputs, domain: int) -> dict[str, Array]:
    """The arguments for the negatives of a domain, without each prediction's own target."""
    assert outputs.negatives, "the batch holds no negatives"
    item_K, mask_K, log_q_K = outputs.negatives[domain]
    is_negative_PK = mask_K[None] & (item_K[None] != outputs.predictions[domain].target_P[:, None])
    return {"negatives_KD": outputs.items_UD[item_K], "is_negative_NK": is_negative_PK, "log_q_K": log_q_K}


class Ranking(NamedTuple):
    """A ranking loss."""

    fn: Callable[[Outputs, int, LossConfig], jax.Array]  # (outputs, domain, config) -> loss of each prediction [P]
    needs: tuple[str, ...] = ()  # see `Term`


Weights = Callable[[Outputs, int], jax.Array]  # (outputs, domain) -> weight of each prediction [P]

RANKING: dict[str, Ranking] = {
    "in_batch": Ranking(_in_batch),
    "softmax": Ranking(_softmax, ("catalogue",)),
    "sampled_softmax": Ranking(_sampled_softmax, ("negatives",)),
    "gbce": Ranking(_gbce, ("negatives",)),
}
# The vectors that each `adapt.level` aligns. Each has a head of its own.
LEVELS = {"item": ("item",), "user": ("user",), "both": ("item", "user")}


def build(loss: LossConfig, adapt: AdaptConfig, num_domains: int) -> dict[str, Term]:
    """The terms of the ranking loss and the adaptation. The last domain is the target; the others are sources.

    Parts: `ranking/source` and `ranking/target` (see `balance.parts`); `adapt/item` and `adapt/user`, depending on
    `adapt.level`; with `dann` also `domain_accuracy/...`, which is only logged.

    Raises:
      ValueError: an unknown loss, a temperature that is not positive, or adaptation without a source.
    """
    ranking_loss, method = ranking_of(loss), method_of(adapt)
    if not loss.temperature > 0:
        raise UserError(f"loss.temperature must be above 0, got {loss.temperature}")
    if adapt.method != "none" and num_domains < 2:
        raise UserError(f"adapt.method {adapt.method!r} needs a source and a target, got {num_domains} domain")
    target = num_domains - 1
    weights = _source_weights(method, adapt.level, target, loss.temperature)
    ranking_term = _ranking_term(ranking_loss, loss, target, weights)
    terms = {"ranking": Term(ranking_term, 1.0, needs=ranking_loss.needs)}
    heads = dict.fromkeys(LEVELS[adapt.level], method.head) if method.head else {}
    for name, (fn, scale) in method.terms.items():
        terms[name] = Term(_adaptation_term(fn, adapt.level, target, loss.temperature), scale * adapt.weight, heads)
    return terms


def ranking_of(loss: LossConfig) -> Ranking:
    """The ranking loss of a run. Raises ValueError if there is none of this name."""
    if loss.ranking not in RANKING:
        raise UserError(f"loss.ranking must be one of {', '.join(RANKING)}; got {loss.ranking!r}")
    return RANKING[loss.ranking]


def method_of(adapt: AdaptConfig) -> Method:
    """The adaptation method of a run. Raises ValueError if there is none of this name, or it has no such level."""
    if adapt.method not in METHODS:
        raise UserError(f"adapt.method must be one of {', '.join(METHODS)}; got {adapt.method!r}")
    method = METHODS[adapt.method]
    if not_its := [level for level in LEVELS[adapt.level] if level not in method.levels]:
        raise UserError(
            f"adapt.method={adapt.method} reads no {not_its[0]} vectors: set adapt.level={method.levels[0]}, "
            f"not {adapt.level}"
        )
    return method


def gradient_share(adapt: AdaptConfig) -> Schedule | None:
    """The norm of the adaptation's gradient relative to that of the ranking loss; None: the losses are weighted."""
    if adapt.balance == "loss" or adapt.method == "none":
        return None
    if method_of(adapt).is_scheduled:
        return lambda progress: adapt.weight * dann_schedule(progress)
    return lambda progress: jnp.float32(adapt.weight)


def evaluate(terms: Mapping[str, Term], outputs: Any, progress: Array | float) -> dict[str, Mean]:
    """Every part of every term as `TERM/PART`, unweighted: sum over the devices, then call `finish`."""
    progress = jnp.asarray(progress, jnp.float32)
    parts = {name: term.fn(outputs, progress) for name, term in terms.items()}
    return {f"{name}/{part}": mean for name, means in parts.items() for part, mean in means.items()}


def finish(means: Mapping[str, Mean]) -> dict[str, jax.Array]:
    """`total / size` of each; 0 for a part without rows. A NaN in the total stays NaN."""
    return {name: mean.total / jnp.where(mean.size > 0, mean.size, 1.0) for name, mean in means.items()}


def total(terms: Mapping[str, Term], values: Mapping[str, jax.Array], progress: Array | float) -> jax.Array:
    """The loss: the weighted sum of the finished values, a float32 scalar. `values` are named as in `evaluate`."""
    progress = jnp.asarray(progress, jnp.float32)
    loss = jnp.zeros((), jnp.float32)
    for name, value in values.items():
        weight = terms[name.split("/")[0]].weight
        if weight != 0.0:  # 0 * NaN is NaN, and a term that is only logged must not reach the loss
            loss += (weight(progress) if callable(weight) else weight) * value
    return loss


def _ranking_term(
    loss: Ranking, config: LossConfig, target: int, weights: Weights | None
) -> Callable[[Outputs, jax.Array], dict[str, Mean]]:
    parts = balance.parts(config, target + 1)

    def mean(outputs: Outputs, domains: range) -> Mean:
        total, size = jnp.zeros(()), jnp.zeros(())
        for domain in domains:
            predictions = outputs.predictions[domain]
            weight_P = predictions.mask_P.astype(jnp.float32) if predictions.weight_P is None else predictions.weight_P
            if config.propensity:
                weight_P = weight_P * balance.weight_of_target(outputs, domain)
            if weights is not None and domain != target:
                weight_P = weight_P * weights(outputs, domain)
            if len(weight_P):
                loss_P = loss.fn(outputs, domain, config)
                if config.focal:
                    loss_P = balance.focal(loss_P, config.focal)
                total, size = total + jnp.sum(loss_P * weight_P), size + jnp.sum(weight_P)
        return Mean(total, size)

    def term(outputs: Outputs, progress: jax.Array) -> dict[str, Mean]:
        if config.logit_adjustment:
            outputs = balance.with_prior(outputs, config.logit_adjustment, config.temperature)
        return {part: mean(outputs, domains) for part, domains in parts.items()}

    return term


def _source_weights(method: Method, level: str, target: int, temperature: float) -> Weights | None:
    """The weights that a method gives to the predictions of a source: the product over the levels."""
    of_level = method.weights
    if of_level is None:
        return None

    def weights(outputs: Outputs, domain: int) -> jax.Array:
        weight_P = jnp.ones(())
        for name in LEVELS[level]:
            sides = sides_of(outputs, name, target, temperature)
            weight_P = weight_P * of_level(sides, features_of_predictions(outputs, name, domain))
        return weight_P

    return weights


def _adaptation_term(
    fn: Adaptation, level: str, target: int, temperature: float
) -> Callable[[Outputs, jax.Array], dict[str, Mean]]:
    def term(outputs: Outputs, progress: jax.Array) -> dict[str, Mean]:
        # The arrays are global, so all devices compute the same value. A size of 1 each makes that value the mean.
        return {
            name: Mean(fn(sides_of(outputs, name, target, temperature), progress), jnp.ones(()))
            for name in LEVELS[level]
        }

    return term

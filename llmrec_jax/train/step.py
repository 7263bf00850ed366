"""One training step: a pure function of state and batch. Does no I/O and does not depend on the mesh."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from llmrec_jax.losses import balance, objective, uncertainty
from llmrec_jax.losses.term import Schedule, Term
from llmrec_jax.train import gradients as surgery
from llmrec_jax.train.state import Params, Trains, TrainState, join, partition
from llmrec_jax.types import SINGLE_DEVICE, Batch, Catalog, Collectives, Mean, TextBatch

# (parameters, batch, catalogue, key of the step, the same on every device, collectives) -> what the terms read
Forward = Callable[[Params, Any, Catalog, jax.Array, Collectives], Any]
# Folded into the step's key for the order of projections; the forward pass folds in other numbers.
ORDER = 2**31 - 2
# Parts of the objective and weights of the domains, by name, and the state of the weights; see `_group_weights`.
Logged = tuple[dict[str, jax.Array], dict[str, jax.Array], jax.Array | None]


class StepSpec(NamedTuple):
    """The constants of a run's steps."""

    forward: Forward
    terms: Mapping[str, Term]
    tx: optax.GradientTransformation
    num_steps: int
    trains: Trains = lambda _: True  # fixed parameters have no gradient, optimizer state or update
    group_dro: balance.GroupDro | None = None  # trains weights of the domains
    gradient_share: Schedule | None = None  # see `_scaled`; None: the terms are added with their weights
    logs_share: bool = False  # logs the share of the adaptation in the gradient
    tasks: tuple[str, ...] = ()  # the terms that are auxiliary tasks
    weighting: str = "fixed"  # see `config.TasksConfig`
    logs_conflicts: bool = False  # between the gradients of the tasks and that of the ranking loss

    @property
    def separates_gradients(self) -> bool:
        """Whether the step needs the gradients of the groups of terms (`_group`), not only that of their sum, at the
        cost of a backward pass for each group."""
        return self.compares_adaptation or self.compares_tasks

    @property
    def compares_adaptation(self) -> bool:
        """Whether the step compares the gradient of the adaptation with that of the ranking loss."""
        return self.gradient_share is not None or self.logs_share

    @property
    def compares_tasks(self) -> bool:
        """Whether the step compares the gradients of the tasks with that of the ranking loss."""
        return self.weighting == "pcgrad" or self.logs_conflicts


def train_step(
    state: TrainState,
    batch: Batch | TextBatch,
    catalog: Catalog,
    *,
    spec: StepSpec,
    collectives: Collectives = SINGLE_DEVICE,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Take one step; return the next state and the step's metrics (float32 scalars, the same on every device).

    Under `pmap` each device sees its shard of the batch. Its loss is its sums divided by the global counts, so the
    losses and gradients of all devices add up to those of one device with the whole batch.
    """
    progress = state.step / spec.num_steps
    key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    params, fixed = partition(state.params, spec.trains)

    def values_fn(params: Params) -> tuple[dict[str, jax.Array], Logged]:
        gathered = collectives.gather_params(join(params, fixed))
        outputs = spec.forward(gathered, batch, catalog, key, collectives)
        means = objective.evaluate(spec.terms, outputs, progress)
        counts = collectives.psum({name: mean.size for name, mean in means.items()})
        values = objective.finish({name: Mean(mean.total, counts[name]) for name, mean in means.items()})
        weights, log_weight_G = _group_weights(spec, state, values, counts, collectives)
        weighted = values | {name: weight * values[name] for name, weight in weights.items()}
        if spec.weighting == "uncertainty":
            log_variances = {name: outputs.heads[uncertainty.HEAD + name]() for name in ("ranking", *spec.tasks)}
            weighted = uncertainty.weighted(weighted, counts, log_variances, collectives.psum(jnp.ones(())))
            weights |= {f"uncertainty/{name}": jnp.exp(-value) for name, value in log_variances.items()}
        return weighted, (values, weights, log_weight_G)

    def losses_fn(params: Params) -> tuple[dict[str, jax.Array], Logged]:
        weighted, logged = values_fn(params)
        groups: dict[str, dict[str, jax.Array]] = {}
        for name, value in weighted.items():
            groups.setdefault(_group(spec, name), {})[name] = value
        return {name: objective.total(spec.terms, group, progress) for name, group in groups.items()}, logged

    losses, pull_back, (values, weights, log_weight_G) = jax.vjp(losses_fn, params, has_aux=True)
    nothing = {name: jnp.zeros(()) for name in losses}
    gradients = {name: pull_back(nothing | {name: jnp.ones(())})[0] for name in losses}
    losses, values, gradients = collectives.psum((losses, values, gradients))
    loss, (grads, compared) = sum(losses.values()), _combined(spec, gradients, progress, key)
    updates, opt_state = spec.tx.update(grads, state.opt_state, params)
    params = join(optax.apply_updates(params, updates), fixed)
    metrics = {"loss": loss, **{f"loss/{name}": value for name, value in values.items()}}
    metrics |= {
        "grad_norm": optax.tree.norm(grads),
        "items": collectives.psum(sum(jnp.sum(items.mask_U, dtype=jnp.float32) for items in batch.items)),
    }
    metrics |= {f"weight/{name}": value for name, value in weights.items()} | compared
    return TrainState(state.step + 1, params, opt_state, state.rng, log_weight_G), metrics


def _group_weights(
    spec: StepSpec,
    state: TrainState,
    values: Mapping[str, jax.Array],
    counts: Mapping[str, jax.Array],
    collectives: Collectives,
) -> tuple[dict[str, jax.Array], jax.Array | None]:
    """The weights of the domains in this step, by part of the objective, and the state for the next step."""
    if spec.group_dro is None:
        return {}, state.log_weight_G
    assert state.log_weight_G is not None
    parts, step_size = spec.group_dro
    loss_G = collectives.psum(jax.lax.stop_gradient(jnp.stack([values[part] for part in parts])))
    has_rows_G = jnp.stack([counts[part] for part in parts]) > 0
    log_weight_G, weight_G = balance.group_weights(state.log_weight_G, loss_G, has_rows_G, step_size)
    return dict(zip(parts, weight_G, strict=True)), log_weight_G


def _group(spec: StepSpec, name: str) -> str:
    """The group of terms whose gradient a part of the objective belongs to: "ranking", "adapt" or a task."""
    term = name.split("/")[0]
    if not spec.separates_gradients:
        return "all"
    return term if term == "ranking" or term in spec.tasks else "adapt"


def _combined(
    spec: StepSpec, gradients: dict[str, Params], progress: jax.Array, key: jax.Array
) -> tuple[Params, dict[str, jax.Array]]:
    """The gradient of the step from those of the groups; their shares and the conflicts between them, to be logged."""
    logged: dict[str, jax.Array] = {}
    if spec.compares_adaptation and "adapt" in gradients:
        share = None if spec.gradient_share is None else spec.gradient_share(progress)
        scaled, logged = _scaled(gradients["adapt"], gradients["ranking"], share)
        gradients = gradients | {"adapt": scaled}
    if not spec.compares_tasks:
        return surgery.weighted_sum(gradients), logged
    gradients = {"ranking": gradients["ranking"]} | gradients  # the first, with which the others are compared
    dots_JJ = surgery.dot_products(gradients)
    coefficient_J = None
    if spec.weighting == "pcgrad":
        coefficient_J = surgery.without_conflicts(dots_JJ, jax.random.fold_in(key, ORDER))
    return surgery.weighted_sum(gradients, coefficient_J), logged | surgery.conflicts(gradients, dots_JJ)


def _scaled(adaptation: Params, ranking: Params, share: jax.Array | None) -> tuple[Params, dict[str, jax.Array]]:
    """The gradient of the adaptation, scaled so that its norm is `share` times that of the ranking loss.

    With `share=None` it is not scaled. Heads have a gradient from the adaptation only; they are neither scaled nor part
    of the norms. The metrics are the norm of the adaptation's gradient relative to that of the ranking loss, as added,
    and the factor by which it was scaled.
    """
    norms = [optax.tree.norm({name: part for name, part in grads.items() if name != "heads"})
             for grads in (ranking, adaptation)]  # fmt: skip
    ratio = norms[1] / jnp.where(norms[0] > 0, norms[0], 1.0)
    scale = jnp.ones(()) if share is None else jnp.where(ratio > 0, share / jnp.where(ratio > 0, ratio, 1.0), 0.0)
    scaled = {name: part if name == "heads" else optax.tree.scale(scale, part) for name, part in adaptation.items()}
    return scaled, {"gradient_share/adapt": scale * ratio, "gradient_scale/adapt": scale}

"""The losses of the tasks and their weights."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.config import TasksConfig
from llmrec_jax.errors import UserError
from llmrec_jax.losses import objective, task_losses, tasks, uncertainty
from llmrec_jax.losses.term import Term, check
from llmrec_jax.models.heads import HEADS
from llmrec_jax.types import Batch, Head, Impressions, Mean, Outputs, Ratings

LEVELS = (1.0, 2.0, 3.0, 4.0, 5.0)
N, D, F = 12, 4, 3


def test_docstrings():
    assert doctest.testmod(task_losses).failed == 0


def test_ordinal_is_the_cross_entropy_of_each_threshold():
    rng = np.random.default_rng(0)
    logits_NG, rating_N = rng.normal(0, 3, (N, 4)).astype(np.float32), rng.integers(1, 6, N)
    is_above_NG = rating_N[:, None] > np.array([1.5, 2.5, 3.5, 4.5])
    probability_NG = 1 / (1 + np.exp(-logits_NG.astype(np.float64)))
    expected = -np.where(is_above_NG, np.log(probability_NG), np.log1p(-probability_NG)).mean(axis=1)
    np.testing.assert_allclose(task_losses.ordinal(jnp.asarray(logits_NG), is_above_NG), expected, 1e-5)


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(1)
    return Ratings(
        step_N=rng.integers(0, 8, N).astype(np.int32),
        item_N=rng.integers(0, 6, N).astype(np.int32),
        rating_N=rng.integers(1, 6, N).astype(np.float32),
        prior_N=rng.uniform(1, 5, N).astype(np.float32),
        scale_N=np.full(N, 1.1, np.float32),
        features_NF=rng.normal(size=(N, F)).astype(np.float32),
        mask_N=np.arange(N) < 9,
    )


def outputs_of(ratings, head, items_UD, states_ND):
    nothing = dict.fromkeys(Batch._fields)
    values = dict.fromkeys(Outputs._fields) | {"heads": {"rating": head}, "items_UD": items_UD, "states_ND": states_ND}
    return Outputs(**values)._replace(batch=Batch(**nothing)._replace(ratings=ratings))


@pytest.mark.parametrize("kind", ["mse", "ordinal"])
def test_the_rating_task_starts_at_its_prior_reaches_the_vectors_and_ignores_padding(ratings, kind):
    terms = tasks.terms(TasksConfig(rating=kind, rating_weight=0.3), tasks.TaskFacts(LEVELS, F))
    (term,) = terms.values()
    spec = term.heads["rating"]
    head = HEADS[spec.kind](D, **spec.options, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(2)
    arrays = [jnp.asarray(rng.normal(size=shape).astype(np.float32)) for shape in ((6, D + 1), (8, D + 1))]

    def loss(arrays, ratings=ratings):
        return objective.finish(objective.evaluate(terms, outputs_of(ratings, head, *arrays), 0.0))["rating/events"]

    error_N = ((ratings.prior_N - ratings.rating_N) / ratings.scale_N)[:9]
    if kind == "mse":
        np.testing.assert_allclose(loss(arrays), np.mean(error_N**2), 1e-5)
    head.down.kernel[...] = jnp.ones((D, 1))
    other = ratings._replace(
        rating_N=np.where(ratings.mask_N, ratings.rating_N, 7), item_N=ratings.item_N * ratings.mask_N
    )
    values = [jax.jit(jax.value_and_grad(loss))(arrays, found) for found in (ratings, other)]
    assert all(np.abs(gradient[:, :D]).max() > 1e-4 for gradient in values[0][1])
    jax.tree.map(np.testing.assert_array_equal, *values)


def test_a_distribution_over_levels_has_about_the_prior_as_its_mean():
    head = HEADS["rating"](D, num_features=F, levels=LEVELS, rngs=nnx.Rngs(0))
    prior_N = jnp.linspace(1.0, 5.0, 9)
    rows = jnp.ones((9, D)), jnp.ones((9, D)), prior_N, jnp.ones(9), jnp.zeros((9, F))
    predicted_N = np.asarray(head.predict(*rows))
    assert (np.diff(predicted_N) > 0).all()
    np.testing.assert_allclose(predicted_N[2:7], prior_N[2:7], atol=0.15)
    assert predicted_N[0] > 1  # at the ends of the scale the mean is drawn inwards
    assert predicted_N[-1] < 5


def test_uncertainty_weighs_each_task_by_its_own_variance():
    values = {"ranking/source": jnp.float32(3), "ranking/target": jnp.float32(1), "rating/events": jnp.float32(0.5),
              "adapt/item": jnp.float32(7)}  # fmt: skip
    log_variances = {"ranking": jnp.float32(np.log(8)), "rating": jnp.float32(0)}
    counts = {name: jnp.float32(3) for name in values}
    found = uncertainty.weighted(values, counts, log_variances, 4)
    expected = {"ranking/source": 3 / 8, "ranking/target": 1 / 8, "rating/events": 0.5, "adapt/item": 7,
                "ranking/log_variance": np.log(8) / 8, "rating/log_variance": 0}  # fmt: skip
    assert {name: pytest.approx(float(value)) for name, value in found.items()} == expected

    def slope(loss, count, s):
        total = jax.grad(lambda s: sum(uncertainty.weighted({"a/b": loss}, {"a/b": count}, {"a": s}, 1).values()))
        return float(total(jnp.float32(s)))

    assert slope(4.0, 3, np.log(8)) == pytest.approx(0, abs=1e-6)  # at twice the loss
    assert slope(0.0, 0, 1.0) == 0  # a batch without rows of the task


def test_what_a_run_does_not_have_is_refused_by_name():
    terms = {"mine": Term(lambda outputs, progress: {"rows": Mean(jnp.ones(()), jnp.ones(()))}, 1.0, {}, ("ratings",))}
    check(terms, {"catalogue": "it is too large"})
    with pytest.raises(UserError, match="the loss 'mine' needs ratings: nobody gave any"):
        check(terms, {"ratings": "nobody gave any"})


def test_a_task_of_ones_own_is_an_entry_of_the_table(monkeypatch):
    mine = Term(lambda outputs, progress: {}, 2.0, {"mine": Head("discriminator")})
    monkeypatch.setitem(tasks.TASKS, "mine", lambda config, facts: mine)
    assert tasks.terms(TasksConfig(), tasks.TaskFacts()) == {"mine": mine}


def test_clicks_are_compared_with_their_list_alone():
    rng = np.random.default_rng(0)
    states_ND, items_UD = rng.normal(size=(8, D)).astype(np.float32), rng.normal(size=(6, D)).astype(np.float32)
    shown = Impressions(
        step_N=np.array([3, 5, 0], np.int32),
        item_NJ=np.array([[4, 1, 2, 5], [0, 3, 0, 0], [0, 0, 0, 0]], np.int32),
        is_shown_NJ=np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 0, 0, 0]], bool),
        is_clicked_NJ=np.array([[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool),
        mask_N=np.array([True, True, False]),
    )
    terms = tasks.terms(TasksConfig(click_weight=2.0), tasks.TaskFacts(temperature=0.5))
    assert (terms["click"].weight, terms["click"].needs) == (2.0, ("impressions",))
    outputs = outputs_of(None, None, jnp.asarray(items_UD), jnp.asarray(states_ND))
    outputs = outputs._replace(batch=outputs.batch._replace(impressions=shown))
    losses = []
    for row, (items, clicked) in enumerate((([4, 1, 2, 5], [0, 2]), ([0, 3], [1]))):
        logits = items_UD[items].astype(np.float64) @ states_ND[shown.step_N[row]] / 0.5
        losses.append(np.mean(np.log(np.exp(logits).sum()) - logits[clicked]))
    (found,) = objective.finish(objective.evaluate(terms, outputs, 0.0)).values()
    np.testing.assert_allclose(found, np.mean(losses), 1e-5)

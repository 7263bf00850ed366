"""The objective: its terms, the outputs that each uses, and their weighted sum."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.config import AdaptConfig, LossConfig
from llmrec_jax.losses import adaptation, objective, ranking, sampled, sides
from llmrec_jax.losses.methods import METHODS, Method
from llmrec_jax.losses.term import Term, heads
from llmrec_jax.types import SINGLE_DEVICE, Candidates, Head, Mean, Negatives, Outputs, Predictions

U, D, NUM_DOMAINS = 9, 5, 3
STARTS = (0, 5, 9, 14)  # the items of each domain
REAL, PADDED = (6, 3, 7), (7, 4, 9)  # predictions of each domain
TARGET = NUM_DOMAINS - 1
TEMPERATURE = 0.5
RANKINGS = ["in_batch", "softmax", "sampled_softmax", "gbce"]


@pytest.fixture(scope="module")
def outputs():
    rng = np.random.default_rng(0)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    item_domain_U = np.array([0, 0, 0, 1, 1, 2, 2, 2, 0], np.int32)
    predictions = []
    for domain, (real, padded) in enumerate(zip(REAL, PADDED, strict=True)):
        target_P = rng.choice(np.flatnonzero(item_domain_U[:8] == domain), padded).astype(np.int32)
        is_real_P = np.arange(padded) < real
        predictions.append(Predictions(np.zeros(padded, np.int32), np.where(is_real_P, target_P, 0), is_real_P))
    return Outputs(
        predictions=tuple(predictions),
        user_PD=tuple(normal(padded, D) for padded in PADDED),
        items_UD=normal(U, D),
        item_ids_U=np.array([0, 2, 4, 6, 7, 9, 11, 13, 0], np.int32),
        item_mask_U=np.arange(U) < 8,
        item_domain_U=item_domain_U,
        log_q_U=np.log(rng.random(U)).astype(np.float32),
        candidates=tuple(
            Candidates(normal(end - start, D), np.ones(end - start, bool), np.arange(start, end, dtype=np.int32))
            for start, end in itertools.pairwise(STARTS)
        ),
        users_ND=normal(10, D),
        user_domain_N=np.array([0, 2, 1, 2, 0, 2, 2, 1, 0, 2], np.int32),
        heads={
            "item": lambda features_ND: features_ND @ jnp.arange(-2.0, 3.0),
            "user": lambda features_ND: features_ND @ jnp.array([1.0, 3, 0, -2, 5]),
        },
        collectives=SINGLE_DEVICE,
        negatives=tuple(
            Negatives(
                np.array([*items, 0], np.int32),
                np.array([*(True for _ in items), False]),
                np.array([*(np.log(len(items) / 5) for _ in items), 0], np.float32),
            )
            for items in ([0, 2], [3, 4], [5, 6, 7])
        ),
    )


def build(ranking="in_batch", **adapt):
    loss = LossConfig(ranking=ranking, temperature=TEMPERATURE, block_size=4)
    return objective.build(loss, AdaptConfig(**adapt), NUM_DOMAINS)


def values(terms, outputs, progress=0.5):
    return jax.jit(lambda progress: objective.finish(objective.evaluate(terms, outputs, progress)))(progress)


def loss_of(outputs, domain, p, name):
    """The ranking loss of one prediction, alone, among the items of its domain alone."""
    user_1D, target = outputs.user_PD[domain][p][None], outputs.predictions[domain].target_P[p]
    if name == "softmax":
        vectors_ND, mask_N, _ = outputs.candidates[domain]
        return ranking.softmax(
            user_1D,
            vectors_ND,
            outputs.items_UD[target][None],
            is_candidate_I=mask_N,
            temperature=TEMPERATURE,
            block_size=len(mask_N),
        )[0]
    if "negatives" in objective.RANKING[name].needs:
        negatives = outputs.negatives[domain]
        others = [int(item) for item in negatives.item_K[:-1] if item != target]
        arguments = (user_1D, outputs.items_UD[target][None])
        sample = {
            "negatives_KD": outputs.items_UD[np.array(others, int)],
            "is_negative_NK": np.ones((1, len(others)), bool),
            "log_q_K": negatives.log_q_K[: len(others)],
            "temperature": TEMPERATURE,
        }
        if name == "sampled_softmax":
            return sampled.sampled_softmax(*arguments, **sample)[0]
        return sampled.gbce(*arguments, **sample, calibration=0.75)[0]
    return ranking.in_batch(
        user_1D,
        outputs.items_UD,
        target[None],
        temperature=TEMPERATURE,
        item_ids_U=outputs.item_ids_U,
        item_mask_U=outputs.item_mask_U & (outputs.item_domain_U == domain),
        log_q_U=outputs.log_q_U,
    )[0]


@pytest.mark.parametrize("name", RANKINGS)
def test_ranking_is_the_mean_over_the_predictions_of_each_role(outputs, name):
    terms = build(name)
    means = jax.jit(lambda progress: objective.evaluate(terms, outputs, progress))(0.0)
    assert set(means) == {"ranking/source", "ranking/target"}
    arrays = jax.tree.map(jnp.asarray, outputs._replace(heads={}, collectives=None))
    for role, domains in [("source", (0, 1)), ("target", (2,))]:
        assert means[f"ranking/{role}"].size == sum(REAL[domain] for domain in domains)
        expected = sum(loss_of(arrays, domain, p, name) for domain in domains for p in range(REAL[domain]))
        np.testing.assert_allclose(means[f"ranking/{role}"].total, expected, 1e-5)


def weighted(outputs, weights):
    """The outputs with a weight for each real prediction (a list per domain)."""
    predictions = [
        part._replace(weight_P=np.pad(np.array(weights_P, np.float32), (0, padded - len(weights_P))))
        for part, weights_P, padded in zip(outputs.predictions, weights, PADDED, strict=True)
    ]
    return outputs._replace(predictions=tuple(predictions))


@pytest.mark.parametrize("name", RANKINGS)
def test_weights_give_a_weighted_mean_over_all_predictions_of_a_role(outputs, name):
    terms = build(name)
    weights = [np.random.default_rng(domain).exponential(size=real) for domain, real in enumerate(REAL)]
    weights[0][2] = 0
    arrays = jax.tree.map(jnp.asarray, outputs._replace(heads={}, collectives=None))
    losses = [[loss_of(arrays, domain, p, name) for p in range(real)] for domain, real in enumerate(REAL)]
    source = np.average(np.concatenate(losses[:2]), weights=np.concatenate(weights[:2]))
    expected = {"ranking/source": source, "ranking/target": np.average(losses[2], weights=weights[2])}

    def gradients(outputs):
        return jax.grad(lambda user_PD: objective.total(terms, values(terms, outputs._replace(user_PD=user_PD)), 0.5))(
            outputs.user_PD
        )

    for scale in (1, 10):
        scaled = weighted(outputs, [scale * weights_P for weights_P in weights])
        got = values(terms, scaled)
        assert got.keys() == expected.keys()
        for part, value in expected.items():
            np.testing.assert_allclose(got[part], value, 1e-5)
        assert not gradients(scaled)[0][2].any()
        assert gradients(scaled)[0][1].any()
    ones = weighted(outputs, [np.ones(real) for real in REAL])
    assert values(terms, ones) == values(terms, outputs)
    assert values(terms, weighted(outputs, [np.zeros(real) for real in REAL])) == dict.fromkeys(expected, 0)


@pytest.mark.parametrize("name", RANKINGS)
def test_padding_counts_for_nothing(outputs, name):
    terms = build(name)
    is_padding = [~predictions.mask_P for predictions in outputs.predictions]
    other = outputs._replace(
        predictions=tuple(
            predictions._replace(target_P=np.where(is_padding_P, U - 1, predictions.target_P))
            for predictions, is_padding_P in zip(outputs.predictions, is_padding, strict=True)
        ),
        user_PD=tuple(
            np.where(is_padding_P[:, None], 1e3, user_PD).astype(np.float32)
            for user_PD, is_padding_P in zip(outputs.user_PD, is_padding, strict=True)
        ),
    )

    def loss(user_PD, outputs):
        return objective.total(terms, values(terms, outputs._replace(user_PD=user_PD)), 0.5)

    expected, expected_gradients = jax.value_and_grad(loss)(outputs.user_PD, outputs)
    value, gradients = jax.value_and_grad(loss)(other.user_PD, other)
    np.testing.assert_array_equal(value, expected)
    for gradient_PD, expected_PD, is_padding_P in zip(gradients, expected_gradients, is_padding, strict=True):
        np.testing.assert_array_equal(gradient_PD, expected_PD)
        np.testing.assert_array_equal(gradient_PD[is_padding_P], 0)
        assert (gradient_PD[~is_padding_P] != 0).any(axis=1).all()


def first(outputs, sizes):
    """Only the first predictions of each domain."""
    predictions = [
        Predictions(*(None if x is None else x[:n] for x in part))
        for part, n in zip(outputs.predictions, sizes, strict=True)
    ]
    user_PD = [x_PD[:n] for x_PD, n in zip(outputs.user_PD, sizes, strict=True)]
    return outputs._replace(predictions=tuple(predictions), user_PD=tuple(user_PD))


@pytest.mark.parametrize("name", RANKINGS)
def test_a_role_without_rows_is_zero_and_a_nan_is_not_hidden(outputs, name):
    terms = build(name, method="coral", level="user")
    sources_only = first(outputs, (7, 4, 0))._replace(user_domain_N=np.zeros(10, np.int32))
    got = values(terms, sources_only)
    assert got["ranking/target"] == 0
    assert got["adapt/user"] == 0
    assert got["ranking/source"] > 0
    gradients = jax.grad(lambda x: values(terms, sources_only._replace(user_PD=x))["ranking/target"])(
        sources_only.user_PD
    )
    for gradient_PD in gradients:
        np.testing.assert_array_equal(gradient_PD, 0)
    assert np.isnan(objective.finish({"ranking/target": Mean(jnp.nan, jnp.float32(2))})["ranking/target"])


def standardized(rows_ND):
    """With a mean of 0, and a mean square of 1 over all entries."""
    rows_ND = rows_ND - rows_ND.mean(axis=0)
    return rows_ND / (rows_ND**2).mean() ** 0.5


def test_a_distance_compares_the_sources_with_the_target(outputs):
    got = values(build(method="mmd", level="both"), outputs)
    items_UD, users_ND = outputs.items_UD[:8] * D**0.5, outputs.users_ND * D**0.5
    is_target_U, is_target_N = outputs.item_domain_U[:8] == TARGET, outputs.user_domain_N == TARGET
    distance = jax.jit(adaptation.mk_mmd)
    np.testing.assert_allclose(got["adapt/item"], distance(items_UD[~is_target_U], items_UD[is_target_U]), 1e-4)
    np.testing.assert_allclose(got["adapt/user"], distance(users_ND[~is_target_N], users_ND[is_target_N]), 1e-4)


def test_a_distance_that_samples_bias_is_of_standardized_vectors_and_less_its_noise(outputs):
    got = values(build(method="coral", level="user"), outputs)["adapt/user"]
    users_ND, is_target_N = standardized(outputs.users_ND * D**0.5), outputs.user_domain_N == TARGET
    key = jax.random.fold_in(jax.random.key(0), 1)  # of the level
    is_first_N = jnp.stack([jax.random.bernoulli(jax.random.fold_in(key, user)) for user in range(10)])
    coral = functools.partial(adaptation.coral, users_ND, users_ND)
    np.testing.assert_allclose(got, adaptation.less_noise(coral, ~is_target_N, is_target_N, is_first_N), rtol=1e-4)
    moved = outputs._replace(users_ND=0.1 * outputs.users_ND + 1)  # what all vectors have in common changes nothing
    np.testing.assert_allclose(values(build(method="coral", level="user"), moved)["adapt/user"], got, rtol=1e-3)


@pytest.mark.parametrize(
    ("method", "level", "names"),
    [
        ("none", "both", set()),
        ("mmd", "item", {"adapt/item"}),
        ("mmd", "user", {"adapt/user"}),
        ("dann", "item", {"adapt/item", "domain_accuracy/item"}),
    ],
)
def test_the_method_and_level_name_the_parts(outputs, method, level, names):
    terms = build(method=method, level=level)
    means = jax.eval_shape(lambda progress: objective.evaluate(terms, outputs, progress), 0.0)
    assert set(means) == names | {"ranking/source", "ranking/target"}


def test_dann_turns_the_gradient_of_the_features_by_its_schedule(outputs):
    terms = build(method="dann", level="item")
    is_target_U = outputs.item_domain_U == TARGET

    def reversed_loss(items_UD, progress):
        return values(terms, outputs._replace(items_UD=items_UD), progress)["adapt/item"]

    def plain_loss(items_UD):
        used_U = outputs.item_mask_U
        logits_U = outputs.heads["item"](sides.standardized(items_UD, items_UD, used_U))
        source_U, target_U = outputs.item_mask_U & ~is_target_U, outputs.item_mask_U & is_target_U
        return adaptation.dann(logits_U, logits_U, source_U, target_U)

    np.testing.assert_allclose(reversed_loss(outputs.items_UD, 0.2), plain_loss(outputs.items_UD), 1e-6)
    got, plain = jax.grad(reversed_loss)(outputs.items_UD, 0.2), jax.grad(plain_loss)(outputs.items_UD)
    np.testing.assert_allclose(got, -adaptation.dann_schedule(0.2) * plain, rtol=1e-5, atol=1e-6)


def test_each_level_has_a_discriminator_of_its_own(outputs):
    got = values(build(method="dann", level="both"), outputs)
    is_target_U, is_target_N = outputs.item_domain_U[:8] == TARGET, outputs.user_domain_N == TARGET
    for level, features_ND, is_target in (
        ("item", outputs.items_UD[:8], is_target_U),
        ("user", outputs.users_ND, is_target_N),
    ):
        logits = outputs.heads[level](standardized(features_ND * D**0.5))
        sides = (logits, logits, ~is_target, is_target)
        np.testing.assert_allclose(got[f"adapt/{level}"], adaptation.dann(*sides), 1e-5)
        np.testing.assert_allclose(got[f"domain_accuracy/{level}"], adaptation.domain_accuracy(*sides), 1e-6)
    discriminator = Head("discriminator")
    assert heads(build(method="dann", level="both")) == dict.fromkeys(["item", "user"], discriminator)
    assert heads(build(method="dann", level="user")) == {"user": discriminator}
    assert heads(build(method="coral", level="both")) == {}


def test_total_is_the_weighted_sum(outputs):
    terms = build(method="dann", weight=0.3, level="both")
    got = values(terms, outputs)
    expected = got["ranking/source"] + got["ranking/target"] + 0.3 * (got["adapt/item"] + got["adapt/user"])
    np.testing.assert_allclose(objective.total(terms, got, 0.5), expected, 1e-6)


def test_a_weight_may_follow_progress_and_zero_only_logs():
    terms = {
        "rising": Term(lambda outputs, progress: {}, lambda progress: 2 * progress),
        "logged": Term(lambda outputs, progress: {}, 0.0),
    }
    finished = {"rising/a": jnp.float32(3), "rising/b": jnp.float32(5), "logged/a": jnp.float32(jnp.nan)}
    total = jax.jit(lambda progress: objective.total(terms, finished, progress))
    assert [float(total(progress)) for progress in (0.0, 0.25, 1.0)] == [0, 4, 16]


def test_shares_of_the_predictions_add_up_to_the_whole(outputs):
    """What several devices do: each has some predictions and all of the rest; means are added, then finished."""
    terms = build(method="mmd", level="both")

    def share(part):
        local = {name: jax.tree.map(lambda x: x[part], getattr(outputs, name)) for name in ("predictions", "user_PD")}
        return jax.jit(lambda progress: objective.evaluate(terms, outputs._replace(**local), progress))(0.5)

    added = jax.tree.map(jnp.add, share(slice(0, 3)), share(slice(3, None)))
    whole = values(terms, outputs)
    for name, value in objective.finish(added).items():
        np.testing.assert_allclose(value, whole[name], 1e-5)


def test_refusals(outputs):
    with pytest.raises(ValueError, match="one of in_batch, softmax, sampled_softmax, gbce; got 'hinge'"):
        build("hinge")
    with pytest.raises(ValueError, match="got 'wish'"):
        build(method="wish")
    with pytest.raises(ValueError, match=r"got -1\.0"):
        objective.build(LossConfig(temperature=-1.0), AdaptConfig(), NUM_DOMAINS)
    with pytest.raises(ValueError, match="got 1 domain"):
        objective.build(LossConfig(), AdaptConfig(method="mmd"), 1)
    with pytest.raises(AssertionError, match="no candidates"):
        objective.evaluate(build("softmax"), outputs._replace(candidates=None), 0.0)
    with pytest.raises(AssertionError, match="no negatives"):
        objective.evaluate(build("gbce"), outputs._replace(negatives=()), 0.0)
    with pytest.raises(AssertionError, match="no head for item vectors"):
        objective.evaluate(build(method="dann"), outputs._replace(heads={}), 0.0)


def test_a_method_of_ones_own_is_an_entry_of_the_table(outputs, monkeypatch):
    def gap(sides, progress):
        is_source_N, is_target_N = sides.is_source_N, sides.is_target_N
        means = (sides.features_ND[is_N].mean() for is_N in (is_source_N, is_target_N))
        return jnp.abs(next(means) - next(means))

    monkeypatch.setitem(METHODS, "gap", Method({"gap": (gap, 2.0)}))
    terms = build(method="gap", weight=0.5)
    assert terms["gap"].weight == 1.0
    found = objective.finish(objective.evaluate(terms, outputs, 0.5))
    assert found["gap/item"] > 0
    assert heads(terms) == {}


def test_levels_that_a_method_does_not_read_are_refused():
    with pytest.raises(ValueError, match=r"adapt\.method=mcc reads no item vectors: set adapt\.level=user, not both"):
        build(method="mcc", level="both")
    with pytest.raises(ValueError, match=r"adapt\.method=llm_recg reads no user vectors: set adapt\.level=item"):
        build(method="llm_recg", level="user")

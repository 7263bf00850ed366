"""What the ranking losses do against imbalance: each equals its formula in NumPy, and does what it is for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.config import AdaptConfig, LossConfig
from llmrec_jax.data.batches.log_q import inverse_propensity
from llmrec_jax.losses import balance, objective
from llmrec_jax.types import SINGLE_DEVICE, Candidates, Negatives, Outputs, Predictions

D, TEMPERATURE = 4, 0.5
STARTS = (0, 6, 11)  # two domains
PADDED = (7, 5)  # predictions of each, the last of which is padding
SOFTMAXES = ["in_batch", "softmax", "sampled_softmax"]


@pytest.fixture(scope="module")
def outputs():
    """The batch holds every item, in another order than the catalogue, and two rows of padding."""
    rng = np.random.default_rng(0)
    items_ID, ids_U = rng.normal(size=(11, D)).astype(np.float32), np.append(rng.permutation(11), [0, 0])
    place_I = np.argsort(ids_U[:11])
    predictions, candidates, negatives = [], [], []
    for start, end, size in zip(STARTS, STARTS[1:], PADDED, strict=False):
        ids_N, is_real_P = np.arange(start, end + 2), np.arange(size) < size - 1
        target_P = np.where(is_real_P, place_I[rng.integers(start, end, size)], 0)
        weight_P = np.where(is_real_P, rng.uniform(0.5, 2, size), 0).astype(np.float32)
        predictions.append(Predictions(np.zeros(size, np.int32), target_P, is_real_P, weight_P))
        vectors_ND = np.concatenate([items_ID[start:end], np.ones((2, D), np.float32)])
        candidates.append(Candidates(vectors_ND, ids_N < end, ids_N))
        log_q_K = np.log(rng.uniform(0.2, 1, end - start)).astype(np.float32)
        negatives.append(Negatives(place_I[start:end], np.ones(end - start, bool), log_q_K))
    return Outputs(
        predictions=tuple(predictions),
        user_PD=tuple(rng.normal(size=(size, D)).astype(np.float32) for size in PADDED),
        items_UD=items_ID[ids_U],
        item_ids_U=ids_U,
        item_mask_U=np.arange(13) < 11,
        item_domain_U=(ids_U >= STARTS[1]).astype(np.int32),
        log_q_U=np.log(rng.uniform(0.1, 1, 11)).astype(np.float32)[ids_U],
        candidates=tuple(candidates),
        users_ND=np.ones((3, D), np.float32),
        user_domain_N=np.array([0, 1, 1]),
        heads={},
        collectives=SINGLE_DEVICE,
        negatives=tuple(negatives),
        log_prior_I=np.log(rng.dirichlet(np.ones(11))).astype(np.float32),
        weight_I=rng.uniform(0.1, 3, 11).astype(np.float32),
    )


def terms_of(name, **loss):
    return objective.build(LossConfig(ranking=name, temperature=TEMPERATURE, block_size=4, **loss), AdaptConfig(), 2)


def evaluated(outputs, name, **loss):
    return jax.jit(lambda: objective.evaluate(terms_of(name, **loss), outputs, 0.0))()


def losses_of(outputs, domain, name, adjustment=0.0):
    """The loss of each real prediction of a domain, and its target's number, in float64."""
    user_PD, predictions = np.float64(outputs.user_PD[domain]), outputs.predictions[domain]
    place_I, items = np.argsort(outputs.item_ids_U[:11]), np.arange(STARTS[domain], STARTS[domain + 1])
    target_P = outputs.item_ids_U[predictions.target_P]
    score_PI = user_PD @ np.float64(outputs.items_UD[place_I]).T / TEMPERATURE
    score_PI += adjustment * outputs.log_prior_I[None]
    if name == "in_batch":
        score_PI -= outputs.log_q_U[place_I][None]
    found = []
    for p in np.flatnonzero(predictions.mask_P):
        odds = np.exp(score_PI[p, items] - score_PI[p, target_P[p]])
        if name == "sampled_softmax":
            odds /= np.where(items == target_P[p], 1, np.exp(outputs.negatives[domain].log_q_K))
        found.append(np.log(odds.sum()))
    return np.array(found), target_P[predictions.mask_P]


def assert_means(found, expected):
    """Totals and sizes of the parts, given as the losses and weights of each prediction."""
    assert found.keys() == expected.keys()
    for name, (loss_P, weight_P) in expected.items():
        np.testing.assert_allclose(found[name].total, np.sum(loss_P * weight_P), 1e-5)
        np.testing.assert_allclose(found[name].size, np.sum(weight_P), 1e-6)


def weights_of(outputs, domain):
    return np.float64(outputs.predictions[domain].weight_P[:-1])


def assert_finite_gradients(outputs, name, **loss):
    terms = terms_of(name, **loss)

    def total(vectors):
        user_PD, items_UD, candidates = vectors
        changed = outputs._replace(user_PD=user_PD, items_UD=items_UD, candidates=candidates)
        return objective.total(terms, objective.finish(objective.evaluate(terms, changed, 0.0)), 0.0)

    vectors = (outputs.user_PD, outputs.items_UD, outputs.candidates)
    gradients = jax.jit(jax.grad(total, allow_int=True))(jax.tree.map(jnp.asarray, vectors))
    floats = [x for x in jax.tree.leaves(gradients) if x.dtype == jnp.float32]
    assert all(np.isfinite(x).all() for x in floats)
    assert all(np.abs(x).max() > 0 for x in gradients[0])


ROLES = {"ranking/source": 0, "ranking/target": 1}


@pytest.mark.parametrize("name", SOFTMAXES)
def test_logit_adjustment_adds_the_log_prior_to_every_score(outputs, name):
    found = evaluated(outputs, name, logit_adjustment=0.7)
    expected = {
        part: (losses_of(outputs, domain, name, 0.7)[0], weights_of(outputs, domain)) for part, domain in ROLES.items()
    }
    assert_means(found, expected)
    assert_finite_gradients(outputs, name, logit_adjustment=0.7)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
@pytest.mark.parametrize("name", SOFTMAXES)
def test_focal_weighs_a_loss_by_what_is_missing_to_certainty(outputs, name, gamma):
    expected = {}
    for part, domain in ROLES.items():
        loss_P, _ = losses_of(outputs, domain, name)
        expected[part] = ((1 - np.exp(-loss_P)) ** gamma * loss_P, weights_of(outputs, domain))
    assert_means(evaluated(outputs, name, focal=gamma), expected)
    assert_finite_gradients(outputs, name, focal=gamma)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_is_finite_where_the_model_is_certain(gamma):
    loss_P = jnp.array([0.0, -1e-7, 1e-7, 1e-30, 50.0, 1e4])
    value_P, gradient_P = balance.focal(loss_P, gamma), jax.grad(lambda x: balance.focal(x, gamma).sum())(loss_P)
    assert np.isfinite(value_P).all()
    assert np.isfinite(gradient_P).all()
    np.testing.assert_allclose(value_P[4:], loss_P[4:], 1e-6)


@pytest.mark.parametrize("name", [*SOFTMAXES, "gbce"])
def test_propensity_weighs_a_prediction_by_its_target(outputs, name):
    unweighted = evaluated(
        outputs._replace(predictions=tuple(part._replace(weight_P=None) for part in outputs.predictions)), name
    )
    found = evaluated(outputs, name, propensity=0.5)
    for part, domain in ROLES.items():
        target_P = outputs.item_ids_U[outputs.predictions[domain].target_P[:-1]]
        weight_P = weights_of(outputs, domain) * outputs.weight_I[target_P]
        np.testing.assert_allclose(found[part].size, weight_P.sum(), 1e-6)
        if name != "gbce":
            loss_P, _ = losses_of(outputs, domain, name)
            np.testing.assert_allclose(found[part].total, np.sum(loss_P * weight_P), 1e-5)
            np.testing.assert_allclose(unweighted[part].total, loss_P.sum(), 1e-5)
    assert_finite_gradients(outputs, name, propensity=0.5)


@pytest.mark.parametrize("name", [*SOFTMAXES, "gbce"])
def test_with_group_dro_each_domain_is_a_part(outputs, name):
    """`test_parallel` and `test_resume` have whole steps."""
    expected, found = evaluated(outputs, name), evaluated(outputs, name, domain_weights="group_dro")
    assert found == {"ranking/source_0": expected["ranking/source"], "ranking/target": expected["ranking/target"]}
    config = LossConfig(domain_weights="group_dro", domain_step_size=0.3)
    assert balance.group_dro(config, 3) == (("ranking/source_0", "ranking/source_1", "ranking/target"), 0.3)
    assert balance.group_dro(LossConfig(), 3) is None


def test_group_weights_are_multiplied_by_the_exponential_of_the_loss():
    weight_G, log_weight_G = np.full(3, 1 / 3), jax.nn.log_softmax(jnp.zeros(3))
    for loss_G in np.random.default_rng(0).uniform(0, 9, (50, 3)):
        weight_G = weight_G * np.exp(0.1 * loss_G)
        weight_G /= weight_G.sum()
        log_weight_G, found_G = balance.group_weights(log_weight_G, loss_G, np.ones(3, bool), 0.1)
        np.testing.assert_allclose(found_G, weight_G, 1e-4)
    _, found_G = balance.group_weights(log_weight_G, loss_G, np.array([True, False, True]), 0.1)
    assert found_G[1] == 0
    np.testing.assert_allclose(found_G.sum(), 1, 1e-6)
    gradient_G = jax.grad(lambda x: balance.group_weights(log_weight_G, x, np.ones(3, bool), 0.1)[1][0])(jnp.ones(3))
    np.testing.assert_array_equal(gradient_G, 0)


def test_group_dro_trains_for_the_worst_domain():
    """Of two domains with different optima, 1 and -1, nine tenths of the rows are of the first."""

    def losses(x):
        return jnp.stack([(x - 1) ** 2, (x + 1) ** 2])

    def step(_, carried):
        x, log_weight_G = carried
        log_weight_G, weight_G = balance.group_weights(log_weight_G, losses(x), np.ones(2, bool), 0.1)
        return x - 0.05 * jax.grad(lambda x: losses(x) @ weight_G)(x), log_weight_G

    x, log_weight_G = jax.jit(lambda: jax.lax.fori_loop(0, 500, step, (3.0, jax.nn.log_softmax(jnp.zeros(2)))))()
    np.testing.assert_allclose(losses(x), 1, atol=0.05)  # by rows: x = 0.8, where the second has 3.24
    np.testing.assert_allclose(jnp.exp(log_weight_G), 0.5, atol=0.05)


PRIOR = 1.0 / np.arange(1, 21) ** 1.5  # of 20 items, of which the last 10 are 7 percent of the events
PRIOR /= PRIOR.sum()


def recall_after_training(**loss):
    """Recall@1 on popular and on rare items of a softmax regression on skewed data, trained with `loss`.

    A user's features are those of the item that he takes, with noise.
    """
    rng = np.random.default_rng(0)
    centres_ID = rng.normal(size=(20, 8))

    def draw(prior_I, size):
        target_N = rng.choice(20, size, p=prior_I)
        users_ND = centres_ID[target_N] + 1.5 * rng.normal(size=(size, 8))
        return np.pad(users_ND, ((0, 0), (0, 1)), constant_values=1).astype(np.float32), target_N

    (users_ND, target_N), (test_ND, wanted_N) = draw(PRIOR, 1000), draw(np.full(20, 0.05), 2000)
    terms = objective.build(LossConfig(ranking="softmax", temperature=1.0, **loss), AdaptConfig(), 1)
    nothing = np.zeros(0, np.float32)

    def total(items_ID):
        outputs = Outputs(
            predictions=(Predictions(np.zeros(1000, np.int32), target_N, np.ones(1000, bool)),),
            user_PD=(users_ND,),
            items_UD=items_ID,
            item_ids_U=np.arange(20),
            item_mask_U=np.ones(20, bool),
            item_domain_U=np.zeros(20, np.int32),
            log_q_U=nothing,
            candidates=(Candidates(items_ID, np.ones(20, bool), np.arange(20)),),
            users_ND=nothing,
            user_domain_N=nothing,
            heads={},
            collectives=SINGLE_DEVICE,
            log_prior_I=np.log(PRIOR).astype(np.float32),
            weight_I=inverse_propensity(np.log(PRIOR), np.array([0, 20]), 1.0),
        )
        return objective.total(terms, objective.finish(objective.evaluate(terms, outputs, 0.0)), 0.0)

    @jax.jit
    def train(items_ID):
        return jax.lax.fori_loop(0, 200, lambda _, x: x - 0.3 * jax.grad(total)(x), items_ID)

    is_hit_N = (test_ND @ np.asarray(train(jnp.zeros((20, 9)))).T).argmax(axis=1) == wanted_N
    return is_hit_N[wanted_N < 5].mean(), is_hit_N[wanted_N >= 10].mean()


@pytest.fixture(scope="module")
def plain_recall():
    return recall_after_training()


def test_logit_adjustment_finds_more_rare_items(plain_recall):
    (plain_head, plain_tail), (head, tail) = plain_recall, recall_after_training(logit_adjustment=1.0)
    assert tail > plain_tail + 0.15
    assert plain_head > head > tail


def test_focal_finds_more_rare_items(plain_recall):
    """They are the hard ones. It is a weaker remedy than the others."""
    tails = [recall_after_training(focal=gamma)[1] for gamma in (2.0, 5.0)]
    assert 1.5 * plain_recall[1] < tails[1]
    assert plain_recall[1] < tails[0] < tails[1]


def test_propensity_finds_more_rare_items(plain_recall):
    (plain_head, plain_tail), (head, tail) = plain_recall, recall_after_training(propensity=1.0)
    assert tail > plain_tail + 0.15
    assert plain_head > head

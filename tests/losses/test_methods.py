"""The adaptation methods: where each can be used, what it reads of a step, and what it does to it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from llmrec_jax.config import AdaptConfig, Config, DataConfig, LossConfig, validate
from llmrec_jax.errors import UserError
from llmrec_jax.losses import adaptation, objective
from llmrec_jax.losses.methods import METHODS
from llmrec_jax.losses.term import heads
from tests.losses import test_objective
from tests.losses.test_objective import NUM_DOMAINS, TARGET, TEMPERATURE, D, build, standardized, values

outputs = test_objective.outputs

LEVELS = ("item", "user")
CASES = [(name, level) for name, method in METHODS.items() for level in method.levels if method.terms]
REGIMES = {"zero-shot": 0.0, "few-shot": 0.1, "full": 1.0}


@pytest.fixture(scope="module")
def complete(outputs):
    """The outputs with raw vectors, and with heads of every kind for a method."""
    raw = {"raw_items_UD": 3 * outputs.items_UD, "raw_users_ND": 3 * outputs.users_ND}

    def of(name, level):
        made = {key: head(spec) for key, spec in heads(build(method=name, level=level)).items()}
        return outputs._replace(heads=made, **raw)

    return of


def head(spec):
    """A linear head with fixed weights."""
    width_in, width_out = spec.options.get("factor", 1) * D, D if spec.kind == "adversary" else 1
    kernel = np.random.default_rng(3).normal(size=(width_in, width_out)).astype(np.float32)
    return lambda x_ND: jnp.squeeze(jnp.matmul(x_ND, kernel, precision="highest"), axis=1 if width_out == 1 else ())


@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("level", [*LEVELS, "both"])
@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if method.terms])
def test_what_a_method_or_regime_does_not_have_is_refused_by_name_before_any_data_is_read(name, level, regime):
    reads = LEVELS if level == "both" else (level,)
    config = Config(
        data=DataConfig(target_fraction=REGIMES[regime], unlabelled_items=8),
        adapt=AdaptConfig(method=name, level=level),
    )
    is_of_method = all(one in METHODS[name].levels for one in reads)
    is_of_regime = regime != "zero-shot" or reads == ("item",)
    if is_of_regime:
        validate(config)
    else:
        with pytest.raises(UserError, match=rf"adapt\.level={level} needs users of the target"):
            validate(config)
    if is_of_method:
        assert objective.method_of(config.adapt) is METHODS[name]
    else:
        missing = next(one for one in reads if one not in METHODS[name].levels)
        with pytest.raises(UserError, match=rf"adapt\.method={name} reads no {missing} vectors: set adapt\.level="):
            objective.method_of(config.adapt)


@pytest.mark.parametrize(("name", "level"), CASES)
def test_every_method_reaches_the_vectors_and_ignores_padding(complete, name, level):
    found = complete(name, level)
    terms = {"adapt": build(method=name, level=level)["adapt"]}

    def loss(arrays, fill):
        items_UD, users_ND, raw_UD, raw_ND = arrays
        items_UD, raw_UD = (jnp.where(found.item_mask_U[:, None], x_UD, fill) for x_UD in (items_UD, raw_UD))
        changed = {"items_UD": items_UD, "users_ND": users_ND, "raw_items_UD": raw_UD, "raw_users_ND": raw_ND}
        means = objective.evaluate(terms, found._replace(**changed), 0.5)
        return objective.total(terms, objective.finish(means), 0.5)

    arrays = [jnp.asarray(x) for x in (found.items_UD, found.users_ND, found.raw_items_UD, found.raw_users_ND)]
    loss_and_gradients = jax.jit(jax.value_and_grad(loss))
    value, gradients = loss_and_gradients(arrays, 0.0)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    largest = np.abs(gradients[LEVELS.index(level) + 2 * (name == "afn")]).max()
    assert largest == 0 if name == "density_ratio" else largest > 1e-6
    jax.tree.map(np.testing.assert_array_equal, loss_and_gradients(arrays, 7.0), (value, gradients))


def test_the_contrastive_loss_ranks_each_next_item_among_the_items_of_all_domains(outputs):
    got = values(build(method="contrastive"), outputs)["adapt/item"]
    items = outputs.items_UD[:8] / np.linalg.norm(outputs.items_UD[:8], axis=1, keepdims=True)
    losses = []
    for user_PD, predictions in zip(outputs.user_PD, outputs.predictions, strict=True):
        for user_D, target in zip(user_PD[predictions.mask_P], predictions.target_P[predictions.mask_P], strict=True):
            score_U = items @ (user_D / np.linalg.norm(user_D)) / TEMPERATURE
            losses.append(logsumexp(score_U) - score_U[target])
    np.testing.assert_allclose(got, np.mean(losses), rtol=1e-5)


def predictions_of(outputs):
    """The users' probabilities of the target's items, float32 [N, U]; 0 elsewhere."""
    is_target_U = outputs.item_mask_U & (outputs.item_domain_U == TARGET)
    logits_NU = outputs.users_ND @ outputs.items_UD.T / TEMPERATURE
    return softmax(np.where(is_target_U, logits_NU, -np.inf), axis=1)


def test_joint_mmd_compares_users_together_with_their_predictions(outputs):
    got = values(build(method="joint_mmd", level="user"), outputs)["adapt/user"]
    is_target_N = outputs.user_domain_N == TARGET
    layers = (outputs.users_ND * D**0.5, predictions_of(outputs))
    np.testing.assert_allclose(got, adaptation.joint_mmd(layers, ~is_target_N, is_target_N), rtol=1e-4)


def test_the_class_confusion_is_the_mean_over_the_items_of_the_target_alone(outputs):
    got = values(build(method="mcc", level="user"), outputs)["adapt/user"]
    is_probe_U = outputs.item_mask_U & (outputs.item_domain_U == TARGET)
    assert is_probe_U.sum() < len(is_probe_U)
    logits_NI = outputs.users_ND @ outputs.items_UD[is_probe_U].T / TEMPERATURE
    np.testing.assert_allclose(got, adaptation.mcc(logits_NI, outputs.user_domain_N == TARGET), rtol=1e-4)


def test_cdan_sees_the_user_and_the_item_that_its_predictions_expect(complete):
    found = complete("cdan_e", "user")
    got = values(build(method="cdan_e", level="user"), found)
    is_target_N = found.user_domain_N == TARGET
    expected_ND = standardized(predictions_of(found) @ found.items_UD)
    projections = adaptation.random_projections(jax.random.key(0), (D, D), 4 * D)
    inputs = adaptation.cdan_features(standardized(found.users_ND), expected_ND, projections)
    logits_N = found.heads["user"](inputs)
    log_p_NU = np.log(np.maximum(predictions_of(found), 1e-30))
    sides = (logits_N, ~is_target_N, is_target_N)
    expected = adaptation.cdan(*sides, predictions_NI=log_p_NU)
    np.testing.assert_allclose(got["adapt/user"], expected, rtol=1e-4)
    accuracy = adaptation.domain_accuracy(logits_N, logits_N, *sides[1:])
    np.testing.assert_allclose(got["domain_accuracy/user"], accuracy, rtol=1e-5)


def test_the_adversary_of_mdd_ranks_the_same_items_as_the_users(complete):
    found = complete("mdd", "user")
    got = values(build(method="mdd", level="user"), found)["adapt/user"]
    is_target_U, is_target_N = found.item_domain_U[:8] == TARGET, found.user_domain_N == TARGET
    items = found.items_UD[:8][is_target_U]
    adversary_ND = np.array(found.heads["user"](standardized(found.users_ND)))
    adversary_ND /= np.linalg.norm(adversary_ND, axis=1, keepdims=True)
    logits = (x_ND @ items.T / TEMPERATURE for x_ND in (found.users_ND, adversary_ND))
    np.testing.assert_allclose(got, adaptation.mdd(*logits, ~is_target_N, is_target_N), rtol=1e-4)


def test_a_density_ratio_weighs_the_predictions_of_the_sources_alone(complete):
    """By the item that follows, by the user, or by both; the ranking loss stays a weighted mean."""
    plain = values(build(), complete("coral", "item"))
    of_level = {}
    for level in (*LEVELS, "both"):
        found = complete("density_ratio", level)
        got = values(build(method="density_ratio", level=level), found)
        np.testing.assert_allclose(got["ranking/target"], plain["ranking/target"], rtol=1e-6)
        of_level[level] = got["ranking/source"]
        losses, weights = [], []
        for domain in range(TARGET):
            predictions = found.predictions[domain]
            weight_P = np.ones(int(predictions.mask_P.sum()))
            vectors = {"item": found.items_UD[predictions.target_P], "user": found.user_PD[domain]}
            batch = {"item": found.items_UD[:8], "user": found.users_ND}
            for one, module in found.heads.items():
                scale = np.sqrt(np.mean((batch[one] - batch[one].mean(axis=0)) ** 2))
                logits_P = module((vectors[one][predictions.mask_P] - batch[one].mean(axis=0)) / scale)
                weight_P *= adaptation.density_ratio(logits_P)
            weights += weight_P.tolist()
            losses += [
                float(test_objective.loss_of(as_arrays(found), domain, p, "in_batch")) for p in range(len(weight_P))
            ]
        np.testing.assert_allclose(got["ranking/source"], np.average(losses, weights=weights), rtol=1e-4)
        assert abs(got["ranking/source"] - plain["ranking/source"]) > 1e-3
    assert len({float(value) for value in of_level.values()}) == 3


def as_arrays(outputs):
    return jax.tree.map(jnp.asarray, outputs._replace(heads={}, collectives=None))


def test_the_ranking_loss_does_not_train_the_discriminator_of_the_density_ratio(complete):
    found = complete("density_ratio", "item")
    terms = objective.build(LossConfig(temperature=TEMPERATURE), AdaptConfig("density_ratio"), NUM_DOMAINS)

    def ranking(kernel_D):
        changed = found._replace(heads={"item": lambda x_ND: x_ND @ kernel_D})
        return values({"ranking": terms["ranking"]}, changed)["ranking/source"]

    value, gradient_D = jax.value_and_grad(ranking)(jnp.arange(1.0, D + 1))
    assert value > 0
    np.testing.assert_array_equal(gradient_D, 0)


def test_a_method_without_a_target_item_in_the_batch_is_finite(complete):
    """A user tower may be trained on a batch whose target rows are all padding."""
    for name, level in CASES:
        found = complete(name, level)
        found = found._replace(item_domain_U=np.zeros_like(found.item_domain_U), user_domain_N=np.zeros(10, np.int32))
        got = values({"adapt": build(method=name, level=level)["adapt"]}, found)
        assert all(np.isfinite(value) for value in got.values()), name

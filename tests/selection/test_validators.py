"""Each validator against an independent version written from its definition; known limits; what misleads it."""

import doctest
import importlib
import itertools
import math
import pkgutil

import numpy as np
import pytest
import scipy.stats

import llmrec_jax.selection
from llmrec_jax.selection import VALIDATORS, Evidence, distances, from_sources, from_target, scores
from llmrec_jax.selection.clusters import adjusted_mutual_information, k_means
from llmrec_jax.selection.domain_classifier import classify

RNG = np.random.default_rng(0)
SCORES = RNG.standard_normal((6, 4))
TEMPERATURE = 0.7


def softmax(row):
    return [math.exp(x) / sum(math.exp(y) for y in row) for x in row]


def h(probabilities):
    return -sum(p * math.log(p) for p in probabilities if p > 0)


P = np.array([softmax(row / TEMPERATURE) for row in SCORES])


@pytest.mark.parametrize("module", [m.name for m in pkgutil.iter_modules(llmrec_jax.selection.__path__)])
def test_the_examples_of_the_docstrings(module):
    result = doctest.testmod(importlib.import_module(f"llmrec_jax.selection.{module}"))
    assert result.failed == 0


def test_every_validator_has_an_example():
    without = {name for name, validator in VALIDATORS.items() if ">>>" not in (validator.function.__doc__ or "")}
    assert without == {"left_out_source"}  # the identity


def test_confidence_and_diversity():
    expected = -np.mean([h(row) for row in P])
    assert from_target.entropy(SCORES, TEMPERATURE) == pytest.approx(expected)
    assert from_target.diversity(SCORES, TEMPERATURE) == pytest.approx(h(P.mean(axis=0)))
    mutual = np.mean([sum(p * math.log(p / q) for p, q in zip(row, P.mean(axis=0), strict=True)) for row in P])
    assert from_target.information_maximization(SCORES, TEMPERATURE) == pytest.approx(mutual)


def test_nuclear_norm():
    root = np.sqrt(np.linalg.eigvalsh(P.T @ P).clip(0))
    assert from_target.nuclear_norm(SCORES, TEMPERATURE) == pytest.approx(root.sum() / math.sqrt(6 * 4))


def test_soft_neighborhood_density():
    entropies = []
    for i, mine in enumerate(P):
        cosines = [mine @ p / (np.linalg.norm(mine) * np.linalg.norm(p)) for j, p in enumerate(P) if j != i]
        entropies.append(h(softmax([cosine / 0.05 for cosine in cosines])))
    assert from_target.soft_neighborhood_density(SCORES, TEMPERATURE) == pytest.approx(np.mean(entropies))


@pytest.mark.parametrize(
    ("first", "second"), [([0, 0, 1, 1, 2, 2], [0, 0, 0, 1, 1, 2]), ([1, 0, 0, 0, 0], [3, 3, 4, 4, 3])]
)
def test_adjusted_mutual_information_over_all_permutations(first, second):
    def information(labels):
        pairs = [(a, b) for a, b in zip(first, labels, strict=True)]
        share = {pair: pairs.count(pair) / len(pairs) for pair in pairs}
        one = {a: first.count(a) / len(first) for a in first}
        two = {b: second.count(b) / len(second) for b in second}
        return sum(p * math.log(p / (one[a] * two[b])) for (a, b), p in share.items())

    expected = np.mean([information(labels) for labels in itertools.permutations(second)])
    entropies = [h([labels.count(x) / len(labels) for x in set(labels)]) for labels in (first, second)]
    adjusted = (information(second) - expected) / (np.mean(entropies) - expected)
    assert adjusted_mutual_information(np.array(first), np.array(second)) == pytest.approx(adjusted)


def test_independent_clusterings_agree_by_chance_only():
    values = [adjusted_mutual_information(*RNG.integers(0, 20, (2, 400))) for _ in range(20)]
    assert abs(np.mean(values)) < 0.02


def test_class_ami_is_the_agreement_of_clusters_and_predictions():
    centers = np.eye(5)
    truth = np.repeat(np.arange(5), 20)
    users = 3.0 * centers[truth] + 0.1 * RNG.standard_normal((100, 5))
    assert from_target.class_ami(users, centers[truth]) == pytest.approx(1)
    assert abs(from_target.class_ami(users, centers[RNG.permutation(truth)])) < 0.1
    half = np.where(np.arange(100) % 2, truth, RNG.permutation(truth))
    expected = adjusted_mutual_information(truth, half)
    assert from_target.class_ami(users, centers[half]) == pytest.approx(expected)


def test_k_means_of_equal_rows_and_of_more_clusters_than_rows():
    assert len(np.unique(k_means(np.ones((5, 2)), 3))) == 1
    assert len(np.unique(k_means(np.eye(4), 9))) <= 4


def test_text_agreement():
    text = np.round(SCORES + RNG.standard_normal(SCORES.shape))  # with ties
    items = RNG.standard_normal((9, 3))
    correlation = np.mean([scipy.stats.spearmanr(a, b).statistic for a, b in zip(SCORES, text, strict=True)])
    values = np.sqrt(np.linalg.eigvalsh(np.cov(items.T)))
    penalty = 1 - h(values / values.sum()) / math.log(3)
    assert from_target.text_agreement(SCORES, text, items) == pytest.approx(correlation - penalty)
    assert from_target.text_agreement(np.zeros_like(SCORES), text, items) == pytest.approx(-penalty)


def test_mmd():
    source, target = RNG.standard_normal((5, 3)), RNG.standard_normal((4, 3)) + 1
    both = [*source, *target]
    squared = sorted(np.sum((x - y) ** 2) for i, x in enumerate(both) for y in both[:i])
    median = squared[(len(squared) - 1) // 2]

    def kernel(x, y):
        return np.mean([math.exp(-np.sum((x - y) ** 2) / (scale * median)) for scale in (0.25, 0.5, 1, 2, 4)])

    def within(rows):
        return np.mean([kernel(x, y) for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j])

    expected = 2 * np.mean([kernel(x, y) for x in source for y in target]) - within(source) - within(target)
    assert distances.negative_mmd(source, target) == pytest.approx(expected)
    assert distances.negative_mmd(100 * source, 100 * target) == pytest.approx(expected)


def test_weighted_risks():
    source, target = RNG.standard_normal((40, 2)), RNG.standard_normal((30, 2)) + 0.5
    losses = RNG.uniform(size=40)
    w = classify(source, target).ratio_N
    iwv = -sum(a * b for a, b in zip(w, losses, strict=True)) / sum(w)
    assert from_sources.importance_weighted(source, losses, target) == pytest.approx(iwv)

    def risk(w):
        eta = -np.cov(w * losses, w)[0, 1] / np.var(w, ddof=1)
        return np.mean(w * losses) + eta * np.mean(w) - eta

    assert from_sources.dev(source, losses, target) == pytest.approx(-risk(w))
    assert from_sources.devn(source, losses, target) == pytest.approx(-risk(w / max(w)))


def test_equal_weights_give_the_source_risk():
    losses = RNG.uniform(size=40)
    same = np.ones((40, 3))
    for validator in (from_sources.importance_weighted, from_sources.dev, from_sources.devn):
        assert validator(same, losses, same) == pytest.approx(from_sources.source_risk(losses)), validator


def test_separable_domains_say_nothing_about_the_target():
    """All ratios are clipped to 1 / 20; DEV takes that for a small loss."""
    losses, users = RNG.uniform(size=200), RNG.standard_normal((200, 3))
    risk = from_sources.source_risk(losses)
    assert from_sources.importance_weighted(users, losses, users + 50) == pytest.approx(risk)
    assert from_sources.devn(users, losses, users + 50) == pytest.approx(risk)
    assert from_sources.dev(users, losses, users + 50) == pytest.approx(risk / 20)


UNIFORM, CONFIDENT, ONE_ITEM = np.zeros((8, 8)), 99 * np.eye(8), np.tile(99 * np.eye(8)[0], (8, 1))


@pytest.mark.parametrize(
    ("validator", "uniform", "confident", "one_item"),
    [
        (from_target.entropy, -math.log(8), 0, 0),
        (from_target.diversity, math.log(8), math.log(8), 0),
        (from_target.information_maximization, 0, math.log(8), 0),
        (from_target.nuclear_norm, 1 / 8, 1, math.sqrt(1 / 8)),
        (from_target.soft_neighborhood_density, math.log(7), math.log(7), math.log(7)),
    ],
)
def test_limits_of_predictions(validator, uniform, confident, one_item):
    """Entropy takes one item for all as right, diversity uniform predictions, and SND any collapse."""
    assert validator(UNIFORM) == pytest.approx(uniform, abs=1e-6)
    assert validator(CONFIDENT) == pytest.approx(confident, abs=1e-6)
    assert validator(ONE_ITEM) == pytest.approx(one_item, abs=1e-6)


def test_limits_of_distances():
    rows = RNG.standard_normal((400, 4))
    same, shifted, collapsed = rows[200:], rows[200:] + 20, np.ones((200, 4), np.float32)
    assert distances.negative_a_distance(rows[:200], same) > -0.4
    assert distances.negative_a_distance(rows[:200], shifted) == -2
    assert abs(distances.negative_mmd(rows[:200], same)) < 0.02
    assert distances.negative_mmd(rows[:200], shifted) < -0.5
    for distance in (distances.negative_mmd, distances.negative_a_distance):
        assert distance(collapsed, collapsed) == 0  # the best value: they cannot see a collapse


def test_limits_of_collapse():
    assert from_target.collapse(RNG.standard_normal((4000, 4))) < 0.01
    line = RNG.standard_normal((50, 1)) * np.ones((1, 4))
    assert from_target.collapse(line) == pytest.approx(1)
    almost_equal = np.float32(0.1) * np.ones((50, 4), np.float32) + np.float32(1e-9) * RNG.standard_normal((50, 4))
    assert from_target.collapse(almost_equal) == 1


def test_scores_says_why_a_validator_has_none():
    users = RNG.standard_normal((20, 3))
    diverged = np.where(np.arange(20) == 7, np.nan, RNG.standard_normal((5, 20)))
    found = scores(Evidence(source_users_ND=users, target_users_MD=users[:5], probe_scores_MK=diverged))
    assert set(found.values) == {"mmd", "a_distance"}
    assert found.left_out["left_out_source"] == "there is no left_out_ndcg"
    assert found.left_out["bnm"] == "NaN or infinite values in probe_scores_MK"
    assert found.left_out["text_agreement"] == "there is no text_scores_MK, target_items_ID"
    assert found.values.keys() | found.left_out.keys() == VALIDATORS.keys()
    alone = scores(Evidence(probe_scores_MK=np.ones((1, 3))))
    assert alone.left_out["snd"] == "a single row in probe_scores_MK"


def test_zero_shot_selection_leaves_out_what_needs_target_users():
    vectors = RNG.standard_normal((20, 3))
    found = scores(
        Evidence(
            source_users_ND=vectors,
            source_losses_N=RNG.uniform(size=20),
            source_items_JD=vectors,
            target_items_ID=vectors + 1,
            left_out_ndcg=0.1,
        )
    )
    assert set(found.values) == {"left_out_source", "source_risk", "mmd_items", "a_distance_items"}
    assert {found.left_out[name] for name in ("iwv", "dev", "devn", "mmd", "a_distance")} == {
        "there is no target_users_MD"
    }

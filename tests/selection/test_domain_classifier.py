"""The domain classifier: its optimum, its held-out error, its density ratios."""

import numpy as np
import pytest
import scipy.optimize

from llmrec_jax.selection import domain_classifier
from llmrec_jax.selection.domain_classifier import LARGEST_RATIO, RIDGE, classify

RNG = np.random.default_rng(0)


def test_the_fit_is_the_minimum_of_the_penalized_balanced_loss():
    source, target = RNG.standard_normal((30, 2)) * [1, 50], RNG.standard_normal((90, 2)) * [1, 50] + [1, 20]
    weights, bias = domain_classifier._fit(source, target)
    both = np.concatenate([source, target])
    mean, deviation = both.mean(axis=0), both.std(axis=0)

    def loss(parameters):
        logits = [(rows - mean) / deviation @ parameters[:2] + parameters[2] for rows in (source, target)]
        fit = np.mean(np.log(1 + np.exp(logits[0]))) / 2 + np.mean(np.log(1 + np.exp(-logits[1]))) / 2
        return fit + RIDGE * 2 / 120 / 2 * np.sum(parameters[:2] ** 2)

    best = scipy.optimize.minimize(loss, np.zeros(3), method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-12})
    np.testing.assert_allclose(weights * deviation, best.x[:2], atol=1e-3)
    assert bias + weights @ mean == pytest.approx(best.x[2], abs=1e-3)


def test_equal_domains_have_error_one_half_and_ratio_one():
    rows = RNG.standard_normal((2000, 4))
    domains = classify(rows[:1000], rows[1000:])
    assert domains.error == pytest.approx(0.5, abs=0.04)
    assert np.mean(domains.ratio_N) == pytest.approx(1, abs=0.1)
    constant = classify(np.ones((9, 3)), np.ones((7, 3)))
    assert constant.error == 0.5
    np.testing.assert_allclose(constant.ratio_N, 1)


def test_many_features_of_few_rows_do_not_fake_a_difference():
    rows = RNG.standard_normal((600, 64))
    assert classify(rows[:300], rows[300:]).error == pytest.approx(0.5, abs=0.06)


def test_separable_domains_have_no_error_and_clipped_ratios():
    rows = RNG.standard_normal((300, 3))
    domains = classify(rows, rows + 50)
    assert domains.error == 0
    np.testing.assert_allclose(domains.ratio_N, 1 / LARGEST_RATIO)


def test_ratios_are_those_of_the_densities():
    """Of N(1, 1) over N(0, 1) the log ratio is x - 1/2, whatever the numbers of rows."""
    source, target = RNG.standard_normal((4000, 1)), RNG.standard_normal((1000, 1)) + 1
    log_ratio = np.log(classify(source, target).ratio_N)
    inside = np.abs(source[:, 0]) < 1.5
    np.testing.assert_allclose(log_ratio[inside], source[inside, 0] - 0.5, atol=0.3)


def test_it_is_deterministic():
    source, target = RNG.standard_normal((50, 3)), RNG.standard_normal((50, 3)) + 0.5
    first, again, other = classify(source, target), classify(source, target), classify(source, target, seed=1)
    np.testing.assert_array_equal(first.source_logits_N, again.source_logits_N)
    np.testing.assert_array_equal(first.target_logits_M, again.target_logits_M)
    assert (first.source_logits_N != other.source_logits_N).any()

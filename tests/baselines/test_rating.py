"""Ratings predicted without training: the closed form of each prediction, and that the fit finds what is planted."""

import numpy as np
import pytest

from llmrec_jax.baselines import rating
from llmrec_jax.baselines.rating import FACTOR_SHRINKAGE, FACTORS, USER_SHRINKAGE


@pytest.fixture(scope="module")
def planted():
    """300 users who each rate 30 of 60 items: biases, two factors and noise of 0.3."""
    rng = np.random.default_rng(0)
    users_A, items_A = np.repeat(np.arange(300), 30), np.concatenate([rng.permutation(60)[:30] for _ in range(300)])
    taste, trait = rng.normal(size=(300, 2)), rng.normal(size=(60, 2))
    biases = rng.normal(0, 0.5, 300)[users_A] + rng.normal(0, 0.5, 60)[items_A]
    ratings_A = 3 + biases + 0.5 * (taste[users_A] * trait[items_A]).sum(axis=1) + rng.normal(0, 0.3, len(users_A))
    return users_A, items_A, ratings_A.astype(np.float32)


def test_every_rating_is_predicted_from_those_before_it(planted):
    users_A, items_A, ratings_A = planted
    model = rating.fit(users_A, items_A, ratings_A, 61)
    offsets = np.array([0, 0, 30, 31, 60])  # one user without ratings, one with a single one
    parts = rating.predict(model, items_A[:60], ratings_A[:60], offsets)
    for start, at in ((0, 0), (0, 7), (30, 30), (31, 59)):
        before = slice(start, at)
        left = ratings_A[before] - model.mean - model.bias_I[items_A[before]]
        bias = left.sum() / (len(left) + USER_SHRINKAGE)
        rows = model.factors_IK[items_A[before]]
        user = np.linalg.solve(rows.T @ rows + FACTOR_SHRINKAGE * np.eye(FACTORS), rows.T @ (left - bias))
        found = [part_A[at] for part_A in parts]
        item = items_A[at]
        expected = model.mean, model.bias_I[item], bias, user @ model.factors_IK[item], at - start, model.count_I[item]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    assert (model.bias_I[60], model.count_I[60]) == (0, 0)


def test_the_factors_are_found(planted):
    users_A, items_A, ratings_A = planted
    is_train_A = users_A < 250
    model = rating.fit(users_A[is_train_A], items_A[is_train_A], ratings_A[is_train_A], 60)
    offsets = np.arange(0, len(users_A) + 1, 30)
    parts = rating.predict(model, items_A, ratings_A, offsets)
    late = np.flatnonzero(~is_train_A & (parts.user_count_A >= 20))

    def error(predicted_A):
        return np.sqrt(np.mean((predicted_A - ratings_A)[late] ** 2))

    biases_A = parts.mean_A + parts.item_A + parts.user_A
    assert error(biases_A + parts.factors_A) < 0.75 * error(biases_A) < 0.75 * error(parts.mean_A + parts.item_A)
    assert error(biases_A + parts.factors_A) < 0.5  # the noise alone is 0.3

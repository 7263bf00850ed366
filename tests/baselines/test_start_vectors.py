"""Vectors and biases from counts: what they approximate, and shops with little to count."""

import numpy as np
import pytest

from llmrec_jax.baselines import start_vectors
from llmrec_jax.baselines.co_purchase import IN_ORDER, co_purchase_rows
from llmrec_jax.baselines.start_vectors import POPULARITY, SCALE, co_purchase_vectors, popularity_biases

NUM_ITEMS, WIDTH = 60, 8


@pytest.fixture(scope="module")
def events():
    rng = np.random.default_rng(0)
    users_E = np.repeat(np.arange(80), 6)
    items_E = (users_E % 5) * 10 + rng.integers(10, size=len(users_E))  # five groups of items; the last ten are unsold
    return items_E, users_E


def test_dot_products_are_the_best_approximation_of_the_symmetric_co_purchase(events):
    vectors_ID = co_purchase_vectors(*events, NUM_ITEMS, WIDTH)
    pairs_II = co_purchase_rows(*events, NUM_ITEMS, IN_ORDER).as_history_IV.toarray()
    values_J, leading_IJ = np.linalg.eigh((pairs_II + pairs_II.T) / 2)
    best_II = (leading_IJ[:, -WIDTH:] * values_J[-WIDTH:]) @ leading_IJ[:, -WIDTH:].T
    assert values_J[-WIDTH] > 0
    np.testing.assert_allclose(vectors_ID @ vectors_ID.T / SCALE**2, best_II, atol=1e-6)
    np.testing.assert_array_equal(vectors_ID[50:], 0)


def test_the_sparse_solver_finds_the_same_products(events, monkeypatch):
    dense_ID = co_purchase_vectors(*events, NUM_ITEMS, WIDTH)
    monkeypatch.setattr(start_vectors, "LARGEST_DENSE", 0)
    sparse_ID = co_purchase_vectors(*events, NUM_ITEMS, WIDTH)
    assert not np.array_equal(sparse_ID, dense_ID)
    np.testing.assert_allclose(sparse_ID @ sparse_ID.T, dense_ID @ dense_ID.T, atol=1e-3)
    np.testing.assert_array_equal(co_purchase_vectors(*events, NUM_ITEMS, WIDTH), sparse_ID)


def test_no_pairs_and_fewer_items_than_components_leave_zeros(events):
    assert not co_purchase_vectors(np.arange(4), np.arange(4), 5, WIDTH).any()
    assert not co_purchase_vectors(np.zeros(0, int), np.zeros(0, int), 5, WIDTH).any()
    few_ID = co_purchase_vectors(np.array([0, 1]), np.array([0, 0]), 3, WIDTH)
    assert few_ID.shape == (3, WIDTH)
    assert few_ID[0] @ few_ID[1] > 0


def test_biases_grow_with_the_logarithm_of_the_events():
    np.testing.assert_allclose(popularity_biases(np.array([2, 0, 2]), 4), POPULARITY * np.log([2, 1, 3, 1]), 1e-6)

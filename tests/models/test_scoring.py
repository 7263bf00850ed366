"""Scores of raw vectors: cosine or dot product, plus the bias of items that occur in training events."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.scoring import Scoring

WIDTH, NUM_ITEMS = 4, 6


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    return 3 * rng.normal(size=(NUM_ITEMS, WIDTH)), 3 * rng.normal(size=(5, WIDTH))


def scoring(**config):
    return Scoring(ModelConfig(width=WIDTH, **config), num_items=NUM_ITEMS)


def test_a_score_is_the_cosine_or_the_dot_product_and_the_bias(vectors):
    items_ID, users_ND = vectors
    trained_I, bias_I = np.array([1, 1, 0, 1, 1, 1], bool), np.arange(1.0, 7.0)
    dot_NI = users_ND @ items_ID.T
    cosine_NI = dot_NI / np.linalg.norm(items_ID, axis=1) / np.linalg.norm(users_ND, axis=1)[:, None]
    for score, plain_NI in {"cosine": cosine_NI, "dot": dot_NI}.items():
        for item_bias in (False, True):
            made = scoring(score=score, item_bias=item_bias)
            if item_bias:
                made.bias[...] = jnp.asarray(bias_I)
            scored_ID = made.items(jnp.asarray(items_ID), jnp.arange(NUM_ITEMS), trained_I)
            expected_NI = plain_NI + item_bias * bias_I * trained_I
            np.testing.assert_allclose(made.users(jnp.asarray(users_ND)) @ scored_ID.T, expected_NI, 1e-5)
            added_ID = made.items(jnp.asarray(items_ID))
            np.testing.assert_allclose(made.users(jnp.asarray(users_ND)) @ added_ID.T, plain_NI, 1e-5)


def test_without_the_bias_the_vectors_are_those_of_a_model_that_has_none(vectors):
    made = scoring(item_bias=True)
    for vectors_ND, add in zip(vectors, (made.items, made.users), strict=True):
        plain_ND = scoring().users(jnp.asarray(vectors_ND))
        np.testing.assert_array_equal(made.without_bias(add(jnp.asarray(vectors_ND))), plain_ND)
    assert not nnx.state(scoring()), "a model without bias has no parameter more"


def test_a_zero_vector_has_score_zero_and_a_finite_gradient():
    made = scoring()
    value, gradient = jax.value_and_grad(lambda x: made.users(x).sum())(jnp.zeros((1, WIDTH)))
    assert value == 0
    assert np.isfinite(gradient).all()

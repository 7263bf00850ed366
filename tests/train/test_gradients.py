"""The sum of the gradients of several tasks: projections, conflicts, heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.train import gradients


def trees_of(vectors_JN):
    """Each vector as a tree of two arrays, with a head that belongs to one task only."""
    return {
        name: {"a": {"kernel": jnp.asarray(row[:4]).reshape(2, 2)}, "b": jnp.asarray(row[4:]),
               "heads": {"one": jnp.full(3, float(at))}}
        for at, (name, row) in enumerate(zip(("ranking", "rating", "click"), vectors_JN, strict=False))
    }  # fmt: skip


def combined(trees, key):
    coefficient_J = gradients.without_conflicts(gradients.dot_products(trees), key)
    total = gradients.weighted_sum(trees, coefficient_J)
    return jnp.concatenate([total["a"]["kernel"].reshape(-1), total["b"]]), total["heads"]["one"]


@pytest.mark.parametrize("seed", range(4))
def test_conflicting_gradients_are_projected(seed):
    vectors_JN = np.random.default_rng(seed).normal(size=(3, 6)).astype(np.float32)
    key, expected = jax.random.key(seed), np.zeros(6)
    for at, order_key in enumerate(jax.random.split(key, 3)):
        part = vectors_JN[at].astype(np.float64)
        for other in np.asarray(jax.random.permutation(order_key, 3)):
            dot = part @ vectors_JN[other]
            if other != at and dot < 0:
                part = part - dot / (vectors_JN[other] @ vectors_JN[other]) * vectors_JN[other]
        expected += part
    got, heads = jax.jit(combined)(trees_of(vectors_JN), key)
    np.testing.assert_allclose(got, expected, 1e-4, 1e-5)
    np.testing.assert_array_equal(heads, np.full(3, 3.0))  # 0 + 1 + 2
    conflicts = any(vectors_JN[i] @ vectors_JN[j] < 0 for i in range(3) for j in range(i))
    assert conflicts == (not np.allclose(got, vectors_JN.sum(axis=0), 1e-4))


def test_a_task_without_gradient_changes_nothing():
    vectors_JN = np.array([[1, 2, 3, 4, 5, 6], np.zeros(6)], np.float32)
    np.testing.assert_allclose(combined(trees_of(vectors_JN), jax.random.key(0))[0], vectors_JN[0])
    dots_JJ = gradients.dot_products(trees_of(vectors_JN))
    assert gradients.conflicts(trees_of(vectors_JN), dots_JJ) == {"conflict/rating": 0}


def test_conflicts_are_cosines_with_the_first():
    vectors_JN = np.random.default_rng(1).normal(size=(3, 6)).astype(np.float32)
    trees = trees_of(vectors_JN)
    found = gradients.conflicts(trees, gradients.dot_products(trees))
    unit_JN = vectors_JN / np.linalg.norm(vectors_JN, axis=1, keepdims=True)
    np.testing.assert_allclose(list(found.values()), unit_JN[1:] @ unit_JN[0], 1e-5)
    assert list(found) == ["conflict/rating", "conflict/click"]

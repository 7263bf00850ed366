"""Methods on weights against NumPy."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np

from llmrec_jax.train import merging

RNG = np.random.default_rng(0)
START, *TRAINED = [{"a": {"w": RNG.standard_normal((3, 2))}, "b": RNG.standard_normal(4)} for _ in range(4)]


def same(found, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), found, expected)


def test_the_examples_of_the_docstrings():
    assert doctest.testmod(merging).failed == 0


def test_interpolation():
    for share in (0.0, 0.3, 1.0):
        expected = jax.tree.map(lambda a, b, share=share: a + share * (b - a), START, TRAINED[0])
        same(merging.interpolate(START, TRAINED[0], share), expected)


def test_average():
    same(merging.average(TRAINED), jax.tree.map(lambda *arrays: np.mean(arrays, axis=0), *TRAINED))


def test_task_vectors():
    weights = [0.2, 0.5, -1.0]
    expected = START
    for weight, trained in zip(weights, TRAINED, strict=True):
        expected = jax.tree.map(lambda e, a, b, weight=weight: e + weight * (b - a), expected, START, trained)
    same(merging.add_task_vectors(START, TRAINED, jnp.array(weights)), expected)
    same(merging.add_task_vectors(START, TRAINED, jnp.full(3, 1 / 3)), merging.average(TRAINED))

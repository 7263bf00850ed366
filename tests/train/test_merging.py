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


def test_distillation():
    scores, *teachers = RNG.standard_normal((3, 5, 5)) * 0.1

    def predictions(row, own):
        odds = [0 if item == own else np.exp(score / 0.05) for item, score in enumerate(row)]
        return np.array(odds) / sum(odds)

    divergences = []
    for teacher in teachers:
        for user in range(5):
            p, q = predictions(teacher[user], user), predictions(scores[user], user)
            others = np.arange(5) != user
            divergences.append(np.sum(p[others] * np.log(p[others] / q[others])))
    expected = 0.05**2 * np.mean(divergences)
    found = merging.distillation(jnp.float32(scores), [jnp.float32(teacher) for teacher in teachers])
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def scores_of(params, features_IF, items_N):
    vectors_ND = features_IF[items_N] @ params["w"]
    vectors_ND /= jnp.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return vectors_ND @ vectors_ND.T


def learn(start, trained):
    features_IF = jnp.float32(RNG.standard_normal((60, 6)))
    items_TN = np.stack([RNG.permutation(60)[:20] for _ in range(60)])
    return merging.learn_weights(scores_of, start, trained, features_IF, items_TN), features_IF


def test_the_learned_weights_make_the_merged_model_predict_as_the_models_do():
    start = {"w": jnp.eye(6)}
    trained = [{"w": start["w"] + jnp.float32(0.3 * RNG.standard_normal((6, 6)))} for _ in range(2)]
    (weight,), _ = learn(start, trained[:1])
    np.testing.assert_allclose(weight, 1, atol=0.05)  # of a single model: the model itself
    weights_S, features_IF = learn(start, trained)
    everything = np.arange(60)

    def loss(weights_S):
        teachers = [scores_of(params, features_IF, everything) for params in trained]
        merged = merging.add_task_vectors(start, trained, jnp.float32(weights_S))
        return float(merging.distillation(scores_of(merged, features_IF, everything), teachers))

    assert loss(weights_S) < min(loss(other) for other in ([0.2, 0.2], [1, 0], [0, 1], [1, 1]))

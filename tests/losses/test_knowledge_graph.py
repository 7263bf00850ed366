"""The losses of knowledge graph embedding: equal to NumPy, correct gradients, masked negatives, doctests."""

import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from llmrec_jax.losses import knowledge_graph
from llmrec_jax.losses.knowledge_graph import SCORES, complex_, sampled_softmax

NUM, NEGATIVES, WIDTH = 5, 4, 6


def numpy_score(name, head, relation, tail):
    if name == "transe":
        return -(np.linalg.norm(head + relation - tail) ** 2)
    h, r, t = (x[: WIDTH // 2] + 1j * x[WIDTH // 2 :] for x in (head, relation, tail))
    return np.real(np.sum(h * r * np.conj(t)))


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    shapes = [(NUM, WIDTH), (NUM, WIDTH), (NUM, 1 + NEGATIVES, WIDTH)]
    vectors = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    is_negative_NK = rng.random((NUM, NEGATIVES)) < 0.7
    is_negative_NK[0] = False
    bias_NK, log_q_N = rng.normal(size=(NUM, 1 + NEGATIVES)), rng.normal(size=NUM)
    more = {"bias_NK": bias_NK.astype(np.float32), "log_q_N": log_q_N.astype(np.float32)}
    return vectors, {"is_negative_NK": is_negative_NK, **more}


@pytest.mark.parametrize("name", SCORES)
def test_loss_equals_numpy(arrays, name):
    (head, relation, tails), more = arrays
    expected = []
    for n in range(NUM):
        true = np.exp(numpy_score(name, head[n], relation[n], tails[n, 0]) + more["bias_NK"][n, 0])
        others = [
            np.exp(
                numpy_score(name, head[n], relation[n], tails[n, 1 + k])
                + more["bias_NK"][n, 1 + k]
                - more["log_q_N"][n]
            )
            for k in range(NEGATIVES)
            if more["is_negative_NK"][n, k]
        ]
        expected.append(-np.log(true / (true + sum(others))))
    found = sampled_softmax(SCORES[name], head, relation, tails, **more)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    assert found[0] == 0  # no negative is left


@pytest.mark.parametrize("name", SCORES)
def test_gradients(arrays, name):
    vectors, more = arrays
    # The first triple has no negative: its gradient must be 0 and not NaN.
    check_grads(lambda *v: sampled_softmax(SCORES[name], *v, **more).sum(), vectors, 1, modes=["rev"], rtol=2e-2)
    gradient = jax.grad(lambda h: sampled_softmax(SCORES[name], h, *vectors[1:], **more).sum())(vectors[0])
    assert not np.any(gradient[0])
    assert np.all(np.any(gradient[1:], axis=1))


def test_complex_relations_need_not_be_symmetric(arrays):
    head, relation, tails = (jnp.asarray(x) for x in arrays[0])
    there, back = complex_(head, relation, tails[:, :1]), complex_(tails[:, 0], relation, head[:, None])
    assert np.abs(there - back).max() > 0.1


def test_doctests():
    assert doctest.testmod(knowledge_graph).failed == 0

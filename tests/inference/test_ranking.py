"""Top k and maximal marginal relevance, against direct computations."""

import numpy as np
import pytest

from llmrec_jax.inference.planar import planar
from llmrec_jax.inference.ranking import BLOCK, best, diverse, with_new


@pytest.mark.parametrize("k", [1, 7, 40, 1000])
@pytest.mark.parametrize("size", [60, 3 * BLOCK, 50 * BLOCK + 7])
@pytest.mark.parametrize("values", [9, 10**6])
def test_best_is_a_stable_sort(k, size, values):
    rng = np.random.default_rng(k)
    scores_J, allowed_J = rng.integers(0, values, size).astype(np.float32), rng.random(size) < 0.7
    expected = sorted(np.flatnonzero(allowed_J), key=lambda j: -scores_J[j])[:k]
    assert best(scores_J, allowed_J, k).tolist() == expected


def test_best_of_nothing():
    assert best(np.ones(3), np.zeros(3, bool), 2).tolist() == []


@pytest.mark.parametrize(
    ("new", "num_new", "expected"),
    [
        ([], 2, [9, 8, 7, 6]),  # there are none
        ([8], 1, [9, 8, 7, 6]),  # there is one already
        ([1], 1, [9, 8, 7, 1]),
        ([1, 8], 2, [9, 8, 7, 1]),
        ([1, 2, 3], 2, [9, 8, 3, 2]),
        ([0, 1, 2, 3, 4], 4, [4, 3, 2, 1]),
    ],
)
def test_a_list_with_new_items(new, num_new, expected):
    scores_J = np.arange(10.0)
    top = best(scores_J, np.ones(10, bool), 4)
    assert with_new(top, scores_J, np.isin(np.arange(10), new), 4, num_new).tolist() == expected


def greedy(scores_J, k, vectors_JD, diversity):
    """MMR as in its paper, one candidate at a time."""
    unit = vectors_JD / np.linalg.norm(vectors_JD, axis=1, keepdims=True)
    relevance = (scores_J - scores_J.min()) / np.ptp(scores_J)
    chosen = []
    while len(chosen) < k:
        rest = [j for j in range(len(scores_J)) if j not in chosen]
        near = {j: max([0, *(unit[j] @ unit[c] for c in chosen)]) for j in rest}
        value = {j: (1 - diversity) * relevance[j] - diversity * near[j] for j in rest}
        chosen.append(max(rest, key=lambda j: (value[j], relevance[j])))
    return chosen


@pytest.mark.parametrize("diversity", [0.0, 0.3, 0.8, 1.0])
def test_marginal_relevance(diversity):
    rng = np.random.default_rng(0)
    scores_J, vectors_JD = rng.standard_normal(30), rng.standard_normal((30, 4))
    found = diverse(scores_J, np.ones(30, bool), 8, vectors_JD, diversity)
    assert found.tolist() == greedy(scores_J, 8, vectors_JD, diversity)


def test_a_diverse_list_has_no_twins_before_others():
    vectors_JD = np.repeat(np.eye(5), 2, axis=0)  # pairs of equal items
    scores_J = -np.arange(10.0)
    everything = np.ones(10, bool)
    assert diverse(scores_J, everything, 5, vectors_JD, 0.0).tolist() == [0, 1, 2, 3, 4]
    assert sorted(j // 2 for j in diverse(scores_J, everything, 5, vectors_JD, 0.6)) == [0, 1, 2, 3, 4]
    assert diverse(scores_J, everything, 5, np.zeros((10, 5)), 0.6).tolist() == [0, 1, 2, 3, 4]  # no vectors


def test_the_map_keeps_the_directions_of_most_variance():
    rng = np.random.default_rng(0)
    points = np.zeros((50, 6), np.float32)
    points[:, 4], points[:, 1] = 5 * rng.standard_normal(50), rng.standard_normal(50)
    xy = planar(points + 3)
    assert xy.dtype == np.float32
    centred = points - points.mean(axis=0)
    np.testing.assert_allclose(np.linalg.norm(xy, axis=1), np.linalg.norm(centred, axis=1), atol=1e-4)
    assert xy[:, 0].std() > xy[:, 1].std()
    assert (xy[np.abs(xy).argmax(axis=0), [0, 1]] > 0).all()
    assert planar(points[:, :1]).shape == planar(points)[:50].shape
    assert planar(points[:0]).shape == (0, 2)

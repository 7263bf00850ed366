"""The best items: those of a stable sort, whatever the batches, blocks and devices."""

import functools

import numpy as np
import pytest

from llmrec_jax.config import MeshConfig
from llmrec_jax.evaluate import topk as topk_lib
from llmrec_jax.evaluate.topk import topk
from llmrec_jax.parallel import make_mesh

N, ITEMS, K = 50, 700, 20


@functools.cache
def mesh_of(num_devices):
    return make_mesh(MeshConfig(data=num_devices))


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(topk_lib, "TILE", 16)
    monkeypatch.setattr(topk_lib, "BLOCK", 128)
    monkeypatch.setattr(topk_lib, "GROUP", 2)


def case(integers):
    """Scores of small integers are exact and mostly tied, zeros of both signs among them."""
    rng = np.random.default_rng(0)
    seen = [rng.integers(ITEMS, size=rng.integers(0, 40)) for _ in range(N)]
    if integers:
        return rng.integers(-2, 3, (N, 2)).astype(np.float32), rng.integers(-2, 3, (ITEMS, 2)).astype(np.float32), seen
    return rng.normal(size=(N, 24)).astype(np.float32), rng.normal(size=(ITEMS, 24)).astype(np.float32), seen


def oracle(users_ND, items_ID, seen, k):
    scores_NI = users_ND.astype(np.float64) @ items_ID.T.astype(np.float64)
    for user, items in enumerate(seen):
        scores_NI[user, items] = -np.inf
    order_NK = np.argsort(-scores_NI, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores_NI, order_NK, axis=1), order_NK


@pytest.mark.parametrize("integers", [True, False], ids=["tied", "real"])
def test_the_best_are_those_of_a_stable_sort_for_every_batch_size_and_mesh(integers):
    users_ND, items_ID, seen = case(integers)
    score_NK, item_NK = oracle(users_ND, items_ID, seen, K)
    first = topk(users_ND, items_ID, K, mesh=mesh_of(1), seen=seen, batch_size=16)
    np.testing.assert_array_equal(first.item_NK, item_NK)
    np.testing.assert_allclose(first.score_NK, score_NK, rtol=1e-5, atol=1e-5)
    for num_devices, batch_size in ((1, 100), (2, 1), (8, 100)):
        got = topk(users_ND, items_ID, K, mesh=mesh_of(num_devices), seen=seen, batch_size=batch_size)
        np.testing.assert_array_equal(got.item_NK, first.item_NK)
        np.testing.assert_array_equal(got.score_NK, first.score_NK)


@pytest.mark.parametrize("k", [150, 300])
def test_more_items_may_be_asked_for_than_a_block_holds(k):
    users_ND, items_ID, _ = case(integers=True)
    nothing = [np.zeros(0, int)] * N
    got = topk(users_ND, items_ID[:300], k, mesh=mesh_of(2))
    np.testing.assert_array_equal(got.item_NK, oracle(users_ND, items_ID[:300], nothing, k)[1])


def test_a_user_who_has_seen_nearly_all_gets_the_rest():
    items_ID = np.arange(10, dtype=np.float32)[:, None]
    got = topk(np.ones((2, 1), np.float32), items_ID, 4, mesh=mesh_of(2), seen=[np.arange(8), np.arange(10)])
    assert got.item_NK.tolist() == [[9, 8, -1, -1], [-1] * 4]
    assert got.score_NK.tolist() == [[9, 8, -np.inf, -np.inf], [-np.inf] * 4]


def test_approximate_is_exact_where_there_is_no_tpu():
    users_ND, items_ID, seen = case(integers=False)
    exact = topk(users_ND, items_ID, K, mesh=mesh_of(2), seen=seen)
    got = topk(users_ND, items_ID, K, mesh=mesh_of(2), seen=seen, approximate=0.9)
    np.testing.assert_array_equal(got.item_NK, exact.item_NK)


def test_bad_input_is_an_error():
    users_ND, items_ID, _ = case(integers=False)
    with pytest.raises(ValueError, match="k=701: there are 700 items"):
        topk(users_ND, items_ID, ITEMS + 1, mesh=mesh_of(1))
    with pytest.raises(ValueError, match="items 3 to 700: there are only 0 to 699"):
        topk(users_ND, items_ID, K, mesh=mesh_of(1), seen=[np.array([3, ITEMS])] + [np.array([5])] * (N - 1))
    users_ND[7, 3] = np.nan
    with pytest.raises(FloatingPointError, match="700 of the scores of 1 users are NaN"):
        topk(users_ND, items_ID, K, mesh=mesh_of(2))

"""Exact ranks equal those of a simple oracle for any batch size, block size and number of devices."""

import functools
import math

import numpy as np
import pytest

from llmrec_jax.config import MeshConfig
from llmrec_jax.evaluate import blocks, ranking
from llmrec_jax.evaluate.ranking import ITEMS, Ranks, metrics, rank
from llmrec_jax.parallel import make_mesh

N = 150
DEVICES = (1, 2, 8)


@functools.cache
def mesh_of(num_devices):
    return make_mesh(MeshConfig(data=num_devices))


def oracle(users_ND, items_ID, target_N, seen, slack=0.0):
    """Counted in float64, one user at a time: items above the target by more than `slack`, and those within it."""
    higher, ties = [], []
    for user_D, target, seen_M in zip(users_ND.astype(np.float64), target_N, seen, strict=True):
        above_I = items_ID.astype(np.float64) @ user_D
        above_I -= above_I[target]
        rival_I = np.ones(len(items_ID), bool)
        rival_I[seen_M] = False
        rival_I[target] = False
        higher.append((above_I[rival_I] > slack).sum())
        ties.append((np.abs(above_I[rival_I]) <= slack).sum())
    return Ranks(np.array(higher), np.array(ties))


def case(num_items, integers, seed=0):
    """Users, items, targets (some among the seen) and seen items of all lengths, with repeats.

    Scores of small integers are exact and often tied; of real numbers only copies of the target are tied, one to three
    of them, anywhere in the catalogue.
    """
    rng = np.random.default_rng(seed)
    target_N = rng.choice(num_items, N, replace=False).astype(np.int32)
    seen = [rng.integers(num_items, size=rng.integers(0, 40)) for _ in range(N)]
    seen[0], seen[1], seen[2] = np.array([], int), np.array([target_N[1]]), np.full(100, (target_N[2] + 1) % num_items)
    if integers:
        users_ND, items_ID = rng.integers(-3, 4, (N, 4)), rng.integers(-3, 4, (num_items, 4))
    else:
        users_ND, items_ID = rng.normal(size=(N, 24)), rng.normal(size=(num_items, 24))
        free = np.setdiff1d(np.arange(num_items), target_N)
        copies = rng.choice(free, 2 * N, replace=False) if len(free) >= 2 * N else free[: len(free) // 2]
        items_ID[copies] = items_ID[rng.choice(target_N, len(copies))]
    return users_ND.astype(np.float32), items_ID.astype(np.float32), target_N, seen


def _small_blocks(monkeypatch):
    monkeypatch.setattr(ranking, "USERS", 64)
    monkeypatch.setattr(ranking, "ITEMS", 128)
    monkeypatch.setattr(ranking, "COUNTED", 32)


def assert_equal(got, expected):
    np.testing.assert_array_equal(got.higher_N, expected.higher_N)
    np.testing.assert_array_equal(got.ties_N, expected.ties_N)


@pytest.mark.parametrize("num_devices", DEVICES)
def test_ranks_equal_the_oracle_for_every_batch_size_and_mesh(num_devices, monkeypatch):
    _small_blocks(monkeypatch)
    users_ND, items_ID, target_N, seen = case(300, integers=True)  # two blocks and a part
    expected = oracle(users_ND, items_ID, target_N, seen)
    assert expected.ties_N.max() > 3
    for batch_size in (1, 64, 100, 4096):
        got = rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(num_devices), batch_size=batch_size)
        assert_equal(got, expected)
    np.testing.assert_array_equal(got.rank_N, 1 + expected.higher_N + expected.ties_N / 2)


@pytest.mark.parametrize("num_devices", [1, 2])
def test_tiles_scored_at_a_time_as_on_a_gpu_give_the_same_ranks(num_devices, monkeypatch):
    _small_blocks(monkeypatch)
    monkeypatch.setattr(blocks, "tiles_at_once", lambda mesh: 2)
    users_ND, items_ID, target_N, seen = case(301, integers=True)  # no other test has compiled this size
    got = rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(num_devices), batch_size=4096)  # three tiles
    assert_equal(got, oracle(users_ND, items_ID, target_N, seen))


@pytest.mark.parametrize("num_items", [90, ITEMS, ITEMS + 1, 2 * ITEMS + 300])
def test_ranks_equal_the_oracle_for_catalogues_below_at_and_beyond_a_block(num_items):
    users_ND, items_ID, target_N, seen = case(max(num_items, N), integers=True)
    keep = target_N < num_items
    items_ID, users_ND, target_N = items_ID[:num_items], users_ND[keep], target_N[keep]
    seen = [np.asarray(items)[np.asarray(items) < num_items] for items, kept in zip(seen, keep, strict=True) if kept]
    assert_equal(rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(1)), oracle(users_ND, items_ID, target_N, seen))


def test_real_vectors_give_the_same_counts_for_every_batch_size_and_mesh(monkeypatch):
    _small_blocks(monkeypatch)
    users_ND, items_ID, target_N, seen = case(700, integers=False)
    seen = [items[:16] for items in seen]  # one padded length, one compilation
    expected = rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(1), batch_size=64)
    for num_devices in DEVICES:
        for batch_size in (1, 64, 100, 4096):
            got = rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(num_devices), batch_size=batch_size)
            assert_equal(got, expected)


@pytest.mark.parametrize("num_items", [331, ITEMS + 700])
def test_copies_of_the_target_tie_exactly_wherever_they_stand(num_items):
    users_ND, items_ID, target_N, seen = case(num_items, integers=False)
    got = rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(1))
    exact, loose = (oracle(users_ND, items_ID, target_N, seen, slack) for slack in (1e-12, 1e-5))
    assert exact.ties_N.sum() > N / 4
    np.testing.assert_array_equal(got.ties_N, exact.ties_N)
    # Within rounding of the target an item may count as higher or not; there are few of these.
    assert (loose.higher_N <= got.higher_N).all()
    assert (got.higher_N <= loose.higher_N + loose.ties_N - exact.ties_N).all()
    assert (loose.ties_N - exact.ties_N).sum() < N / 10


def test_users_keep_their_order_and_have_nothing_to_do_with_each_other():
    users_ND, items_ID, target_N, seen = case(300, integers=True)
    whole = rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(2))
    some = np.random.default_rng(1).permutation(N)[:40]
    part = rank(users_ND[some], items_ID, target_N[some], [seen[user] for user in some], mesh=mesh_of(2))
    assert_equal(part, Ranks(whole.higher_N[some], whole.ties_N[some]))


def test_a_tie_counts_half_and_the_history_not_at_all():
    users_ND = np.ones((4, 1), np.float32)
    items_ID = np.array([[3], [2], [2], [2], [1]], np.float32)
    target_N = np.array([1, 1, 1, 4], np.int32)
    seen = [np.array([], int), np.array([0, 2]), np.array([1, 4]), np.array([0, 1, 2, 3])]
    ranks = rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(1))
    assert ranks.rank_N.tolist() == [3.0, 1.5, 3.0, 1.0]


@pytest.mark.parametrize("score", [2.0, 1.0, 0.0], ids=["higher", "ties", "lower"])
def test_a_user_may_have_seen_every_item_of_a_block(score):
    """All `ITEMS` of the first, with scores above, at or below that of the target, which is in the second."""
    users_ND, items_ID = np.ones((2, 1), np.float32), np.full((ITEMS + 8, 1), score, np.float32)
    items_ID[ITEMS:] = 1.0
    seen = [np.arange(ITEMS), np.arange(1)]
    ranks = rank(users_ND, items_ID, np.array([ITEMS, ITEMS], np.int32), seen, mesh=mesh_of(1))
    rest = ITEMS - 1  # what the second user has not seen of the block
    assert ranks.higher_N.tolist() == [0, rest * (score > 1)]
    assert ranks.ties_N.tolist() == [7, 7 + rest * (score == 1)]


def test_every_score_of_a_block_may_be_nan():
    items_ID = np.full((2 * ITEMS, 1), np.nan, np.float32)
    items_ID[0] = 1.0
    with pytest.raises(FloatingPointError, match=f"{2 * ITEMS - 1} of the scores of 1 users are NaN"):
        rank(np.ones((1, 1), np.float32), items_ID, np.zeros(1, np.int32), [np.arange(9)], mesh=mesh_of(1))


def test_a_nan_is_an_error():
    users_ND, items_ID = np.ones((3, 2), np.float32), np.ones((300, 2), np.float32)
    target_N, seen = np.arange(3, dtype=np.int32), [np.array([5])] * 3
    users_ND[1, 0] = np.nan
    with pytest.raises(FloatingPointError, match="300 of the scores of 1 users are NaN"):
        rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(2))
    users_ND[1, 0], items_ID[5, 0] = 1, np.nan  # of an item that everybody has seen
    with pytest.raises(FloatingPointError, match="3 of the scores of 3 users are NaN"):
        rank(users_ND, items_ID, target_N, seen, mesh=mesh_of(2))


def test_no_users():
    ranks = rank(np.zeros((0, 4), np.float32), np.ones((9, 4), np.float32), np.zeros(0, np.int32), [], mesh=mesh_of(1))
    assert ranks.rank_N.shape == (0,)
    values = metrics(ranks.rank_N)
    assert set(values) == {"recall@10", "ndcg@10", "recall@50", "ndcg@50", "mrr"}
    assert all(math.isnan(value) for value in values.values())


def test_metrics_by_hand():
    values = metrics(np.array([1.0, 2.5, 10.0, 10.5, 50.0, 51.0]))
    gains = [1.0, 1 / math.log2(3.5), 1 / math.log2(11), 1 / math.log2(11.5), 1 / math.log2(51)]
    assert values == pytest.approx(
        {
            "recall@10": 3 / 6,
            "ndcg@10": sum(gains[:3]) / 6,
            "recall@50": 5 / 6,
            "ndcg@50": sum(gains) / 6,
            "mrr": (1 + 1 / 2.5 + 1 / 10 + 1 / 10.5 + 1 / 50 + 1 / 51) / 6,
        },
        rel=1e-12,
    )

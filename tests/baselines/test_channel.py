"""Channels against the plain formula, sparse and dense, and after items were added."""

import numpy as np
import pytest
import scipy.sparse

from llmrec_jax.baselines.channel import FEW, Channel, few_products, sum_of_scores

ITEMS, WIDTH = 7, 5
HISTORIES = [np.array([0, 3, 3, 5]), np.array([6]), np.array([], np.int32), np.arange(7)]


def tables(seed=0):
    rng = np.random.default_rng(seed)
    return [(rng.random((ITEMS, WIDTH)) * (rng.random((ITEMS, WIDTH)) < 0.6)).astype(np.float32) for _ in range(2)]


def plain(as_history_IV, as_item_IV, history, *, decay=0.5, num_last=3, normalize="l2", scale=2.0):
    profile_V, total = np.zeros(as_history_IV.shape[1]), 0.0
    for age, item in enumerate(history[::-1][:num_last]):
        profile_V += decay**age * as_history_IV[item]
        total += decay**age
    size = np.linalg.norm(profile_V) if normalize == "l2" else total
    return scale * (as_item_IV @ profile_V) / (size or 1)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize("normalize", ["l2", "sum"])
def test_scores_follow_the_formula(make, normalize):
    as_history_IV, as_item_IV = tables()
    channel = Channel("c", make(as_history_IV), make(as_item_IV), 0.5, 3, normalize, 2.0)
    expected = [plain(as_history_IV, as_item_IV, history, normalize=normalize) for history in HISTORIES]
    found_NI = channel.scores(HISTORIES)
    assert found_NI.dtype == np.float32
    np.testing.assert_allclose(found_NI, expected, atol=1e-6)


def test_without_item_rows_the_profile_is_the_score():
    similarity_II = scipy.sparse.random(ITEMS, ITEMS, 0.4, "csr", np.float32, rng=np.random.default_rng(1))
    channel = Channel("c", similarity_II, None, 0.5, 3, "sum", 2.0)
    expected = [plain(similarity_II.toarray(), np.eye(ITEMS), history, normalize="sum") for history in HISTORIES]
    np.testing.assert_allclose(channel.scores(HISTORIES), expected, atol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix], ids=["dense", "sparse"])
def test_channels_that_share_rows_are_summed_before_the_product(make):
    as_history_IV, as_item_IV = map(make, tables())
    similarity_II = scipy.sparse.identity(ITEMS, np.float32, "csr")
    channels = [
        Channel("a", as_history_IV, as_item_IV, 0.5, 3, "l2", 2.0),
        Channel("b", as_history_IV, as_item_IV, 0.9, 5, "sum", 0.5),
        Channel("c", similarity_II, None, 0.5, 3, "sum"),
    ]
    expected_NI = sum(channel.scores(HISTORIES) for channel in channels)
    found_NI = sum_of_scores(channels, HISTORIES)
    assert found_NI.dtype == np.float32
    np.testing.assert_allclose(found_NI, expected_NI, atol=1e-6)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix], ids=["dense", "sparse"])
def test_added_items_score_as_if_they_had_been_there(make):
    as_history_IV, as_item_IV = tables()
    whole = Channel("c", make(as_history_IV), make(as_item_IV), 0.5, 3, "l2")
    first = Channel("c", make(as_history_IV[:4]), make(as_item_IV[:4]), 0.5, 3, "l2")
    grown = first.with_items(make(as_history_IV[4:]), make(as_item_IV[4:]))
    np.testing.assert_array_equal(grown.scores(HISTORIES), whole.scores(HISTORIES))


def test_added_items_were_never_bought_with_another():
    similarity_II = scipy.sparse.csr_matrix(np.eye(3, k=1, dtype=np.float32))
    grown = Channel("c", similarity_II, None, 0.5, 3, "sum").with_items(np.zeros((2, 0)), np.zeros((2, 0)))
    np.testing.assert_array_equal(grown.scores([np.array([0]), np.array([4])]), [[0, 1, 0, 0, 0], [0] * 5])
    assert similarity_II.shape == (3, 3)


@pytest.mark.parametrize("make", [np.asarray, scipy.sparse.csr_matrix], ids=["dense", "sparse"])
def test_few_histories_and_many_have_the_same_scores(make):
    channel = Channel("c", *map(make, tables()), 0.5, 3, "l2")
    many = channel.scores(HISTORIES * FEW)
    np.testing.assert_allclose(many[: len(HISTORIES)], channel.scores(HISTORIES), atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_a_product_of_few_rows_is_that_of_any_number(size):
    rng = np.random.default_rng(0)
    rows_NV, columns_VI = rng.random((size, WIDTH), np.float32), rng.random((WIDTH, ITEMS), np.float32)
    np.testing.assert_allclose(few_products(rows_NV, columns_VI), rows_NV @ columns_VI, rtol=1e-6)


def test_equal_columns_of_a_sparse_row_are_added():
    twice_II = scipy.sparse.csr_matrix((np.float32([1, 2]), [1, 1], [0, 2, 2]), shape=(2, 2))
    np.testing.assert_array_equal(Channel("c", twice_II, None, 0.5, 3, "sum").scores([np.array([0])]), [[0, 3]])


def test_features_that_few_items_have_score_as_the_whole_table():
    diagonal_II = scipy.sparse.identity(50, np.float32, "csr")
    history = [np.array([3, 7])]
    expected = plain(np.eye(50), np.eye(50), history[0])
    np.testing.assert_allclose(Channel("c", diagonal_II, diagonal_II, 0.5, 3, "l2", 2.0).scores(history)[0], expected)

"""Co-purchase and popularity against plain loops over pairs of events."""

import numpy as np
import pytest

from llmrec_jax.baselines.co_purchase import IN_ORDER, WITHOUT_ORDER, PairRule, co_purchase_rows, popularity_rows

ITEMS = 9


def events(histories):
    lengths = [len(history) for history in histories]
    return np.concatenate(histories).astype(np.int32), np.repeat(np.arange(len(histories)), lengths)


@pytest.fixture(scope="module")
def histories():
    rng = np.random.default_rng(0)
    return [rng.integers(ITEMS - 1, size=length) for length in (1, 2, 7, 30, 4, 0, 3)]  # the last item is not sold


def plain_similarity(histories, rule):
    counts_II, size_I = np.zeros((ITEMS, ITEMS)), np.full(ITEMS, 10.0)
    for history in histories:
        np.add.at(size_I, history, 1)
        for later in range(len(history)):
            for earlier in range(max(0, later - rule.window), later):
                weight = rule.decay ** (later - earlier - 1)
                counts_II[history[earlier], history[later]] += weight
                counts_II[history[later], history[earlier]] += rule.backward * weight
    similar_II = counts_II**2 / (counts_II + 1) / np.sqrt(np.outer(size_I, size_I))
    np.fill_diagonal(similar_II, 0)
    return similar_II


@pytest.mark.parametrize("rule", [IN_ORDER, WITHOUT_ORDER, PairRule(window=3, decay=0.5, backward=0.0)])
def test_similarity_is_that_of_a_loop_over_pairs(histories, rule):
    rows = co_purchase_rows(*events(histories), ITEMS, rule)
    assert rows.as_item_IV is None
    np.testing.assert_allclose(rows.as_history_IV.toarray(), plain_similarity(histories, rule), atol=1e-6)


def test_later_items_follow_earlier_ones_more_than_the_reverse():
    rows = co_purchase_rows(*events([[0, 1], [0, 1]]), 2, IN_ORDER)
    similar_II = rows.as_history_IV.toarray()
    assert similar_II[0, 1] > similar_II[1, 0] > 0


def test_without_order_the_order_of_a_history_changes_nothing(histories):
    turned = [history[::-1] for history in histories]
    found = [co_purchase_rows(*events(h), ITEMS, WITHOUT_ORDER).as_history_IV.toarray() for h in (histories, turned)]
    np.testing.assert_allclose(*found, atol=1e-7)


def test_one_common_user_counts_less_than_half_of_two():
    once, twice = (co_purchase_rows(*events([[0, 1]] * n), 2, IN_ORDER).as_history_IV[0, 1] for n in (1, 2))
    assert once < twice / 2


def test_long_histories_cost_no_more_pairs_than_the_window_allows():
    rng = np.random.default_rng(1)
    items_E = rng.permutation(3_000)
    rows = co_purchase_rows(items_E, np.zeros(3_000, np.int64), 3_000, IN_ORDER)
    assert rows.as_history_IV.nnz <= 2 * IN_ORDER.window * len(items_E)


@pytest.mark.parametrize("histories", [[[0], [1]], [[0, 0]], [[]]], ids=["one event each", "one item", "no event"])
def test_without_pairs_nothing_is_similar(histories):
    similar_II = co_purchase_rows(*events(histories), 2, IN_ORDER).as_history_IV
    assert similar_II.shape == (2, 2)
    assert similar_II.nnz == 0


def test_popularity_counts_the_ends_of_histories_most(histories):
    expected_I = np.zeros(ITEMS)
    for history in histories:
        for after, item in enumerate(history[::-1]):
            expected_I[item] += 0.8**after
    rows = popularity_rows(*events(histories), ITEMS)
    np.testing.assert_allclose(rows.as_item_IV[:, 0], np.log1p(expected_I), rtol=1e-6)
    plain = popularity_rows(*events(histories), ITEMS, recency=1.0)
    counts_I = np.bincount(np.concatenate(histories).astype(int), minlength=ITEMS)
    np.testing.assert_allclose(plain.as_item_IV[:, 0], np.log1p(counts_I), rtol=1e-6)

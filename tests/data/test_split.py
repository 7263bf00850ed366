"""Splits by hand-made examples: who is held out, what precedes it, and what one domain gives away about another."""

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.split import keep_fraction, leaks, split, train_counts


def domain_of(histories: list[list[int]], times: list[list[int]] | None = None, order: str = "sequence", **fields):
    items = np.array(list(chain(*histories)), np.int32)
    num_items = int(items.max()) + 1
    facts = {
        "name": "hand",
        "folder": Path(),
        "hash": "",
        "order": "timestamp" if times else order,
        "item_ids": [f"i{n}" for n in range(num_items)],
        "titles": [f"t{n}" for n in range(num_items)],
        "texts": [f"t{n}" for n in range(num_items)],
        "user_ids": [f"u{n}" for n in range(len(histories))],
        "items_E": items,
        "ratings_E": np.full(len(items), np.nan, np.float32),
        "timestamps_E": np.array(list(chain(*times)) if times else [-1] * len(items), np.int64),
        "offsets": np.cumsum([0, *map(len, histories)]),
        "report": {},
    }
    return Domain(**(facts | fields))


def test_leave_one_out():
    domain = domain_of([[0, 1, 2, 3], [4], [2, 3], [1, 2, 4]])
    result = split(domain, "leave_one_out", seed=0)
    assert result.method == "leave-one-out"
    np.testing.assert_array_equal(result.train_end, [2, 5, 7, 8])
    np.testing.assert_array_equal(result.valid, [2, -1, -1, 8])
    np.testing.assert_array_equal(result.test, [3, -1, -1, 9])
    np.testing.assert_array_equal(result.items_E, domain.items_E)
    np.testing.assert_array_equal(train_counts(result, 6), [1, 2, 1, 1, 1, 0])


def test_temporal():
    # Twenty events at the times 0..19: validation from 16 (quantile .8 of 0..19 is 15.2), test from 18 (17.1).
    times = [[0, 1, 2, 16, 17, 18, 19], [3, 4, 5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15]]
    domain = domain_of([list(range(len(row))) for row in times], times)
    result = split(domain, "temporal", seed=0)
    np.testing.assert_array_equal(result.train_end, [3, 15, 20])
    np.testing.assert_array_equal(result.valid, [3, -1, -1])
    np.testing.assert_array_equal(result.test, [5, -1, -1])
    assert result.method == "temporal (valid from 16, test from 18, 0 targets without history left out)"


def test_temporal_without_history_is_no_target_and_counted():
    times = [list(range(16)), [16, 17], [18, 19]]
    result = split(domain_of([list(range(16)), [0, 1], [0, 1]], times), "temporal", seed=0)
    np.testing.assert_array_equal(result.valid, [-1, -1, -1])
    np.testing.assert_array_equal(result.test, [-1, -1, -1])
    np.testing.assert_array_equal(result.train_end, [16, 16, 18])
    assert "2 targets without history left out" in result.method
    assert keep_fraction(result, 1, seed=0).tolist() == [True, False, False]


@pytest.mark.parametrize("order", ["sequence", "none"])
def test_temporal_needs_time(order):
    domain = domain_of([[0, 1, 2, 3]], order=order)
    if order == "none":
        assert split(domain, "temporal", seed=0).method == "random hold-out (the domain has no order)"
    else:
        with pytest.raises(ValueError, match="no temporal split of 'hand'"):
            split(domain, "temporal", seed=0)


def test_random_hold_out():
    histories = [list(range(10)) for _ in range(50)]
    result = split(domain_of(histories), "random", seed=1)
    again, other = (split(domain_of(histories), "random", seed=seed) for seed in (1, 2))
    assert result.method == "random hold-out"
    np.testing.assert_array_equal(result.items_E, again.items_E)
    assert (result.items_E != other.items_E).any()
    rows = result.items_E.reshape(50, 10)
    np.testing.assert_array_equal(np.sort(rows, axis=1), histories)
    assert len(set(rows[:, -1])) > 5  # not always the same place of the history
    np.testing.assert_array_equal(result.test, np.arange(50) * 10 + 9)
    unordered = split(domain_of(histories, order="none"), "leave_one_out", seed=1)
    assert unordered.method == "random hold-out (the domain has no order)"


def test_kept_users_are_nested():
    result = split(domain_of([[0, 1, 2, 3]] * 40), "leave_one_out", seed=0)
    masks = [keep_fraction(result, fraction, seed=3) for fraction in (0, 0.1, 0.5, 1)]
    assert [mask.sum() for mask in masks] == [0, 4, 20, 40]
    assert all((small <= large).all() for small, large in pairwise(masks))
    assert (masks[2] != keep_fraction(result, 0.5, seed=4)).any()
    with pytest.raises(ValueError, match=r"between 0 and 1, not 1\.5"):
        keep_fraction(result, 1.5, seed=0)


def test_leaks():
    times = [list(range(20))]
    target = domain_of([list(range(20))], times)
    source = domain_of([[0, 1], [2]], [[17, 18], [500]], user_ids=["u0", "x"], texts=["t0", "t0", "other"])
    assert leaks(source, target) == {
        "target_users_in_source": 1,
        "target_items_with_id_in_source": 3,
        "target_items_with_text_in_source": 1,
        "source_events_after_target_test_cut": 2,
    }
    assert leaks(domain_of([[0]]), target)["source_events_after_target_test_cut"] is None

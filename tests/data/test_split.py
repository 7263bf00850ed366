"""Splits on hand-written examples: held-out events, their histories, and leaks between domains."""

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.split import Cuts, keep_fraction, leaks, split, temporal_cuts


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
    everybody = np.ones(4, bool)
    np.testing.assert_array_equal(result.items_E[result.training_events(everybody)], [0, 1, 4, 2, 3, 1])
    np.testing.assert_array_equal(result.items_E[result.training_events(everybody & [0, 1, 0, 1])], [4, 1])


def test_temporal():
    # Twenty events at the times 0..19: validation from 16 (quantile .8 of 0..19 is 15.2), test from 18 (17.1).
    times = [[0, 1, 2, 16, 17, 18, 19], [3, 4, 5, 6, 7, 8, 9, 10], [11, 12, 13, 14, 15]]
    domain = domain_of([list(range(len(row))) for row in times], times)
    result = split(domain, "temporal", seed=0)
    np.testing.assert_array_equal(result.train_end, [3, 15, 20])
    np.testing.assert_array_equal(result.valid, [3, -1, -1])
    np.testing.assert_array_equal(result.test, [5, -1, -1])
    assert result.method == "temporal (valid from 16, test from 18, 0 held-out events without history left out)"


def test_temporal_without_history_is_no_target_and_counted():
    times = [list(range(16)), [16, 17], [18, 19]]
    result = split(domain_of([list(range(16)), [0, 1], [0, 1]], times), "temporal", seed=0)
    np.testing.assert_array_equal(result.valid, [-1, -1, -1])
    np.testing.assert_array_equal(result.test, [-1, -1, -1])
    np.testing.assert_array_equal(result.train_end, [16, 16, 18])
    assert "2 held-out events without history left out" in result.method
    assert keep_fraction(result, 1, seed=0).tolist() == [True, False, False]


@pytest.mark.parametrize("order", ["sequence", "none"])
def test_temporal_needs_time(order):
    domain = domain_of([[0, 1, 2, 3]], order=order)
    for cuts in (None, Cuts(1, 2)):
        with pytest.raises(ValueError, match=rf"temporal needs timestamps.* of 'hand' is '{order}'"):
            split(domain, "temporal", seed=0, cuts=cuts)


def test_temporal_has_one_cut_for_all_domains():
    target = domain_of([list(range(20))], [list(range(20))])
    source = domain_of([[0, 1, 2, 3], [4, 5]], [[1, 15, 16, 19], [100, 101]])
    result = split(source, "temporal", seed=0, cuts=temporal_cuts(target))  # validation from 16, test from 18
    np.testing.assert_array_equal(result.train_end, [2, 4])
    np.testing.assert_array_equal(result.valid, [2, -1])
    np.testing.assert_array_equal(result.test, [3, -1])
    own = split(source, "temporal", seed=0)
    assert own.train_end[0] > 2  # its own clock would teach what comes after the target's cut


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
    with pytest.raises(ValueError, match=r"target_fraction=1\.5 is not between 0 and 1"):
        keep_fraction(result, 1.5, seed=0)
    with pytest.raises(ValueError, match=r"target_fraction=0\.01 of 40 training users rounds to 0 users"):
        keep_fraction(result, 0.01, seed=0)


def test_kept_users_and_the_hold_out_are_drawn_apart():
    """One stream for both would tie whose labels are seen to which events are held out."""
    domain = domain_of([list(range(4))] * 200)
    last = split(domain, "random", seed=3).items_E.reshape(200, 4)[:, -1]
    kept = keep_fraction(split(domain, "random", seed=3), 0.5, seed=3)
    assert abs(np.mean(last[kept]) - np.mean(last[~kept])) < 0.5


def test_leaks():
    times = [list(range(20))]
    target = domain_of([list(range(20))], times)
    source = domain_of([[0, 1], [2]], [[17, 18], [500]], user_ids=["u0", "x"], texts=["t0", "t0", "other"])
    assert leaks(source, target, split(source, "leave_one_out", 0), np.ones(2, bool)) == {
        "target_users_in_source": 1,
        "target_items_with_id_in_source": 3,
        "target_items_with_text_in_source": 1,
        "source_events_after_target_test_cut": 2,
    }
    without_time = leaks(short := domain_of([[0]]), target, split(short, "leave_one_out", 0), np.ones(1, bool))
    assert without_time["source_events_after_target_test_cut"] is None


def test_the_leak_counter_counts_training_events_alone():
    target = domain_of([list(range(20))], [list(range(20))])
    source = domain_of([[0, 1, 2, 3]], [[500, 501, 502, 503]])

    def count(method):
        result = split(source, method, 0, temporal_cuts(target))
        found = leaks(source, target, result, np.ones(1, bool))
        return found["source_events_after_target_test_cut"]

    assert count("leave_one_out") == 2  # the last two are held out
    assert count("temporal") == 0
    mixed = domain_of([[0, 1, 2, 3]], [[1, 2, 502, 503]])
    result = split(mixed, "random", seed=0)
    trained = result.items_E[result.training_events(np.ones(1, bool))]
    found = leaks(mixed, target, result, np.ones(1, bool))
    assert found["source_events_after_target_test_cut"] == (trained >= 2).sum()

"""Augmented histories: what each kind keeps, and that nothing else of a batch changes."""

import dataclasses

import jax
import numpy as np
import pytest

from llmrec_jax.data.batches.augment import augmented
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.log_q import log_q, trained_items
from tests.data.plans import HISTORY, SPLITS, STARTS, distinct_of, histories_of, ids_of, plan_of, rows_of, split_of

KINDS = ["crop", "mask", "reorder"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_what_its_kind_says(kind):
    length_M = np.tile(np.arange(2, 21), 200)
    place_MW, kept_M = augmented(kind, 0.4, length_M, 20, np.random.default_rng(0))
    changed = 0
    for place_W, kept, length in zip(place_MW, kept_M, length_M, strict=True):
        row = place_W[:kept]
        assert 2 <= kept <= length
        assert row.max() < length
        if kind != "reorder":
            assert kept == max(2, np.ceil(0.6 * length))
        if kind == "crop":
            np.testing.assert_array_equal(np.diff(row), 1)
        elif kind == "mask":
            assert (np.diff(row) > 0).all()
        else:
            assert sorted(row) == list(range(length))
            moved = np.flatnonzero(row != np.arange(length))
            assert np.ptp(moved) < max(2, np.ceil(0.4 * length)) if moved.size else True
        changed += not np.array_equal(row, np.arange(length))
    assert changed > 0.7 * len(length_M)
    if kind == "mask":  # no event is preferred
        shown_W = np.bincount(place_MW[length_M == 20, :12].reshape(-1), minlength=20) / 200
        assert np.abs(shown_W - 0.6).max() < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_shows_the_same_windows_changed(kind):
    plain, plan = plan_of(), plan_of(augment=kind, augment_rate=0.5)
    different = 0
    for step in range(10):
        batch = make_batch(plan, step)
        jax.tree.map(np.testing.assert_array_equal, batch, make_batch(plan, step))
        pairs = list(zip(rows_of(batch), rows_of(make_batch(plain, step)), strict=True))
        for (domain, events), (plain_domain, window) in pairs:
            assert domain == plain_domain
            assert set(events) <= set(window)
            assert len(events) >= 2
            different += not np.array_equal(events, window)
    assert different > 10 * 24 / 2


def test_without_augmentation_batches_are_as_before_whatever_the_rate():
    """`test_pipeline` compares them with those of earlier versions."""
    for step in range(3):
        batch, expected = make_batch(plan_of(augment_rate=0.9), step), make_batch(plan_of(), step)
        jax.tree.map(np.testing.assert_array_equal, batch, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_times_stay_in_order(kind):
    times_E = np.arange(len(SPLITS[1].items_E)) * 100
    plan = plan_of(augment=kind, augment_rate=0.6)
    splits = (SPLITS[0], SPLITS[1]._replace(times_E=times_E), SPLITS[2])
    plan = dataclasses.replace(plan, splits=splits, reads_times=True)
    batch = make_batch(plan, 0)
    seen = 0
    for domain, places in zip(batch.domain_B, histories_of(batch), strict=True):
        if domain != 1:
            continue
        events = ids_of(batch)[batch.history_RS.reshape(-1)[places]] - STARTS[1]
        time_S = batch.time_RS.reshape(-1)[places]
        assert time_S[0] == 0
        assert (np.diff(time_S) > 0).all()
        if kind == "reorder":
            np.testing.assert_array_equal(np.diff(time_S), 100)
        else:
            np.testing.assert_array_equal(time_S, times_E[events] - times_E[events[0]])
        seen += len(events)
    assert seen > 10


@pytest.mark.parametrize("kind", KINDS)
def test_log_q_is_the_frequency_of_an_item_in_augmented_batches(kind):
    plan = plan_of(augment=kind, augment_rate=0.5)
    count_I = np.zeros(STARTS[-1])
    for step in range(600):
        count_I[distinct_of(make_batch(plan, step))] += 1
    trained_I = trained_items(plan)
    ratio = count_I[trained_I].sum() / 600 / np.exp(log_q(plan)[trained_I]).sum()
    assert ratio == pytest.approx(1, abs=0.02)


def test_augmentation_shows_more_histories_of_few_users():
    """What it is for: without it, short histories are the same in every epoch."""
    lengths = np.full(40, HISTORY + 2)
    splits = [split_of(np.arange(lengths.sum()), lengths) for _ in range(3)]

    def distinct_histories(**data):
        plan = dataclasses.replace(plan_of(**data), splits=tuple(splits))
        plan = dataclasses.replace(plan, users=tuple(np.arange(40) for _ in splits))
        return len({(domain, *events) for step in range(60) for domain, events in rows_of(make_batch(plan, step))})

    plain = distinct_histories()
    for kind in KINDS:
        assert distinct_histories(augment=kind, augment_rate=0.5) > 2 * plain

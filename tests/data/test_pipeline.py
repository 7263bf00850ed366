"""Batches: a pure function of (seed, step), with the expected rows and items."""

import dataclasses
import hashlib

import jax
import jax._src.xla_bridge
import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.batch import BATCH_RULE, make_batch
from llmrec_jax.data.batches.capacity import Capacity
from llmrec_jax.data.batches.pipeline import batches, by_length, plan_batches
from tests.data.plans import (
    HISTORY,
    SPLITS,
    STARTS,
    distinct_of,
    histories_of,
    ids_of,
    plan_of,
    predictions_of,
    rows_of,
    sizes_of,
    split_of,
    user_of,
)

TOKENS = np.random.default_rng(5).geometric(0.05, STARTS[-1])  # of each item's text


@pytest.fixture(scope="module")
def plan():
    return plan_of(unlabelled_items=16)


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)
    assert [x.dtype for x in jax.tree.leaves(left)] == [x.dtype for x in jax.tree.leaves(right)]


def test_a_batch_is_a_function_of_seed_and_step(plan):
    again = plan_of(unlabelled_items=16)
    assert_same(make_batch(plan, 5), make_batch(again, 5))
    for other in (make_batch(plan, 6), make_batch(plan_of(seed=4, unlabelled_items=16), 5)):
        assert not np.array_equal(distinct_of(make_batch(plan, 5)), distinct_of(other))


def test_batches_are_composed_as_their_rule_says(plan):
    """Where this fails, raise BATCH_RULE and note the new digest: runs under way must not go on with other batches."""
    digest = hashlib.sha256()
    for step in range(5):
        batch = make_batch(plan, step)
        for numbers in (distinct_of(batch), *(events for _, events in rows_of(batch))):
            digest.update(numbers.astype(np.int64).tobytes())
    assert (BATCH_RULE, digest.hexdigest()[:16]) == (3, "ba3ac47af2038cd5")


def test_rows_are_contiguous_windows_of_training_events(plan):
    starts_seen = set()
    for step in range(40):
        batch = make_batch(plan, step)
        # Right padding: a mask never rises again.
        assert not (np.diff((batch.segment_RS > 0).astype(int), axis=1) > 0).any()
        assert not batch.history_RS[batch.segment_RS == 0].any()
        for domain, events in rows_of(batch):
            split = SPLITS[domain]
            user = user_of(domain, events)
            begin, end = split.offsets[user], split.train_end[user]
            assert begin <= events[0]
            assert events[-1] < end, "an event of validation or test"
            np.testing.assert_array_equal(events, np.arange(events[0], events[0] + len(events)))
            assert len(events) == min(end - begin, HISTORY + 1)
            assert len(events) >= 2
            starts_seen.add((domain, user, events[0] - begin))
    long_users = {(domain, user) for domain, user, start in starts_seen if start}
    assert len({(d, u, s) for d, u, s in starts_seen if (d, u) in long_users}) > 2 * len(long_users)


def test_all_steps_with_a_next_event_are_predictions_and_their_targets_are_that_event(plan):
    for step in range(20):
        batch = make_batch(plan, step)
        steps, following, domains = predictions_of(batch)
        lengths = []
        for domain, events in rows_of(batch):
            user = user_of(domain, events)
            lengths.append(min(SPLITS[domain].train_end[user] - SPLITS[domain].offsets[user], HISTORY + 1))
        histories = histories_of(batch)
        assert sorted(steps) == sorted(
            place for places, length in zip(histories, lengths, strict=True) for place in places[: length - 1]
        )
        # Events of a user are numbered one after the other: the next event is the next number.
        now = batch.history_RS.reshape(-1)[steps]
        np.testing.assert_array_equal(ids_of(batch)[following], ids_of(batch)[now] + 1)
        np.testing.assert_array_equal(domains, batch.domain_B[batch.segment_RS.reshape(-1)[steps] - 1])
        for predictions in batch.predictions:
            mask_P = predictions.mask_P
            assert (np.diff(mask_P.astype(int)) <= 0).all()
            assert not predictions.step_P[~mask_P].any()
            assert not predictions.target_P[~mask_P].any()


def test_predictions_of_a_domain_name_its_own_items(plan):
    batch = make_batch(by_length(plan, TOKENS), 0)
    for domain, predictions in enumerate(batch.predictions):
        items = ids_of(batch)[predictions.target_P[predictions.mask_P]]
        assert len(items)
        assert (items >= STARTS[domain]).all()
        assert (items < STARTS[domain + 1]).all()


def test_distinct_items(plan):
    target_only = 0
    for step in range(20):
        batch = make_batch(plan, step)
        items = distinct_of(batch)
        used = ids_of(batch)[np.concatenate([batch.history_RS[batch.segment_RS > 0], predictions_of(batch)[1]])]
        assert (np.diff(items) > 0).all()
        assert not batch.items[0].ids_U[~batch.items[0].mask_U].any()
        extra = np.setdiff1d(items, used)
        assert (extra >= STARTS[-2]).all(), "an unlabelled item of a source"
        assert len(extra) <= 16
        target_only += len(extra)
    assert target_only > 20 * 8


def test_buckets_hold_every_distinct_item_once_at_the_least_length_that_holds_its_text(plan):
    bucketed = by_length(plan, TOKENS)
    assert len(bucketed.lengths) == 5
    assert bucketed.lengths[-1] == TOKENS.max()
    for step in range(20):
        plain, batch = make_batch(plan, step), make_batch(bucketed, step)
        np.testing.assert_array_equal(np.sort(distinct_of(batch)), distinct_of(plain))
        for shorter, length, items in zip((0, *bucketed.lengths[:-1]), bucketed.lengths, batch.items, strict=True):
            tokens = TOKENS[items.ids_U[items.mask_U]]
            assert (tokens > shorter).all()
            assert (tokens <= length).all()
        # The same histories and targets, through other indices.
        assert [(d, events.tolist()) for d, events in rows_of(batch)] == [
            (d, events.tolist()) for d, events in rows_of(plain)
        ]
        np.testing.assert_array_equal(predictions_of(batch)[0], predictions_of(plain)[0])
        np.testing.assert_array_equal(ids_of(batch)[predictions_of(batch)[1]], ids_of(plain)[predictions_of(plain)[1]])


def room_of(batch):
    sizes = (tuple(len(part[0]) for part in parts) for parts in (batch.items, batch.predictions))
    return Capacity(len(batch.history_RS), *sizes)


def flat(capacity):
    return (capacity.rows, *capacity.items, *capacity.predictions)


def fits(sizes, capacity):
    return all(size <= most for size, most in zip(flat(sizes), flat(capacity), strict=True))


def test_a_batch_that_overflows_the_usual_room_takes_the_last_and_loses_nothing():
    lengths = np.random.default_rng(0).integers(4, 8, 100)  # far below HISTORY: a usual batch is far from the fullest
    short = [split_of(np.arange(lengths.sum()), lengths) for _ in range(2)]
    starts = np.array([0, lengths.sum(), 2 * lengths.sum()])
    plan = plan_batches(short, starts, DataConfig(max_history=HISTORY, unlabelled_items=16), 64, 0)
    usual, larger, last = plan.capacities
    assert all(size % 8 == 0 for capacity in plan.capacities for size in flat(capacity))
    assert last.predictions == (32 * HISTORY, 32 * HISTORY)
    cut = plan_batches(short, starts, DataConfig(max_history=HISTORY), 64, 0, num_shards=16)
    assert all(size % 16 == 0 for capacity in cut.capacities for size in flat(capacity))
    assert usual.predictions < larger.predictions < last.predictions
    batches_seen = [make_batch(plan, step) for step in range(40)]
    assert {room_of(batch) for batch in batches_seen} == {usual}  # the first 100 made it

    # A usual room at the median instead, so that batches fall on both sides of it.
    columns = zip(*map(sizes_of, batches_seen), strict=True)
    tight = Capacity(*(np.median(sizes, axis=0).astype(int).tolist() for sizes in columns))
    tight = Capacity(*(tuple(part) if isinstance(part, list) else part for part in tight))
    capacities = set()
    for step, roomy in enumerate(batches_seen):
        batch = make_batch(dataclasses.replace(plan, capacities=(tight, last)), step)
        assert room_of(batch) == (tight if fits(sizes_of(roomy), tight) else last)
        capacities.add(room_of(batch))
        assert sizes_of(batch) == sizes_of(roomy)
        for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(roomy), strict=True):
            size = min(len(a), len(b))
            np.testing.assert_array_equal(a[:size], b[:size])
    assert capacities == {tight, last}


def test_the_number_of_devices_changes_nothing_but_padding(plan):
    many = plan_batches(SPLITS, STARTS, DataConfig(max_history=HISTORY, unlabelled_items=16), 24, 3, num_shards=16)
    for step in range(5):
        batch, expected = make_batch(many, step), make_batch(plan, step)
        assert len(batch.history_RS) > len(expected.history_RS)
        np.testing.assert_array_equal(batch.domain_B, expected.domain_B)
        np.testing.assert_array_equal(distinct_of(batch), distinct_of(expected))
        for (_, events), (_, expected_events) in zip(rows_of(batch), rows_of(expected), strict=True):
            np.testing.assert_array_equal(events, expected_events)


def test_the_last_room_holds_the_fullest_batch():
    full = [split_of(np.arange(60 * (HISTORY + 3)), np.full(60, HISTORY + 3)) for _ in range(2)]  # no item twice
    data = DataConfig(max_history=HISTORY, unlabelled_items=16)
    plan = plan_batches(full, np.array([0, 540, 1080]), data, 24, 0)
    size = max(sizes_of(make_batch(plan, step)) for step in range(20))
    assert size.predictions == plan.capacities[-1].predictions == (12 * HISTORY, 12 * HISTORY)
    assert 24 * (HISTORY + 1) < size.items[0] <= 24 * (HISTORY + 1) + 16
    assert plan.capacities[-1].items[0] >= 24 * (HISTORY + 1) + 16
    few = [split_of(np.arange(60 * (HISTORY + 3)) % 50, np.full(60, HISTORY + 3)) for _ in range(2)]
    assert plan_batches(few, np.array([0, 50, 100]), data, 24, 0).capacities[-1].items == (
        104,
    )  # the catalogue, rounded up


def test_iterator_yields_the_batches_and_resumes(plan):
    iterator = batches(plan, 6)
    for step in range(3):
        assert_same(next(iterator), make_batch(plan, step))
    state = iterator.get_state()
    resumed = batches(plan, 6)
    resumed.set_state(state)
    for step in range(3, 6):
        assert_same(next(resumed), make_batch(plan, step))
    with pytest.raises(StopIteration):
        next(resumed)


def test_no_backend_is_initialised_by_the_pipeline(plan):
    before = set(jax._src.xla_bridge._backends)
    next(batches(plan, 1))
    assert set(jax._src.xla_bridge._backends) == before


def test_a_batch_has_the_seconds_since_the_first_event_of_each_history():
    """-1 where the domain has no times. Events are numbered, so their items show which they are."""
    times_E = 1_600_000_000 + np.cumsum(np.random.default_rng(7).integers(0, 90_000, len(SPLITS[1].items_E)))
    splits = (SPLITS[0], SPLITS[1]._replace(times_E=times_E), SPLITS[2])
    plan = plan_batches(splits, STARTS, DataConfig(max_history=HISTORY), 24, 3, reads_times=True)
    for step in range(5):
        batch = make_batch(plan, step)
        assert (batch.time_RS[batch.segment_RS == 0] == -1).all()
        for domain, places in zip(batch.domain_B, histories_of(batch), strict=True):
            events = ids_of(batch)[batch.history_RS.reshape(-1)[places]] - STARTS[domain]
            expected = times_E[events] - times_E[events[0]] if domain == 1 else np.full(len(events), -1)
            np.testing.assert_array_equal(batch.time_RS.reshape(-1)[places], expected)
        assert_same(batch._replace(time_RS=None), make_batch(plan_of(), step))
    assert plan_batches(SPLITS, STARTS, DataConfig(max_history=HISTORY), 24, 3, reads_times=True).has_times is False


def test_masked_histories_hold_the_same_windows_and_predict_what_they_hide():
    next_item, masked = (
        plan_batches(SPLITS, STARTS, DataConfig(max_history=HISTORY), 24, 3, mask_rate=rate) for rate in (0.0, 0.3)
    )
    hidden = shown = 0
    for step in range(20):
        batch, ids = make_batch(masked, step), ids_of(make_batch(masked, step))
        steps, targets, _ = predictions_of(batch)
        masked_N = batch.masked_RS.reshape(-1)
        assert sorted(steps) == np.flatnonzero(masked_N).tolist()
        assert not batch.history_RS[batch.masked_RS].any()
        events_N = ids[batch.history_RS.reshape(-1)]
        events_N[steps] = ids[targets]
        windows = [events_N[places] for places in histories_of(batch)]
        for (_, expected), domain, window in zip(
            rows_of(make_batch(next_item, step)), batch.domain_B, windows, strict=True
        ):
            np.testing.assert_array_equal(window - STARTS[domain], expected)
        for places, last in zip(histories_of(batch), batch.last_B, strict=True):
            assert places[-1] == last
            assert masked_N[last]
            hidden, shown = hidden + masked_N[places[:-1]].sum(), shown + (~masked_N[places[:-1]]).sum()
    assert hidden / (hidden + shown) == pytest.approx(0.3, abs=0.03)

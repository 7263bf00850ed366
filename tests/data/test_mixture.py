"""Rows of a batch: fixed shares of the domains, each user once per epoch, steps of similar cost."""

import dataclasses

import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.log_q import inverse_propensity, log_prior, log_q, trained_items
from llmrec_jax.data.batches.mixture import interleave, rows_per_domain, users_of_step
from llmrec_jax.data.batches.pipeline import plan_batches
from tests.data.plans import HISTORY, SPLITS, STARTS, distinct_of, plan_of, rows_of, sizes_of, split_of, user_of


def test_each_user_once_an_epoch_and_orders_differ():
    plan = plan_of(unlabelled_items=16)
    for domain, split in enumerate(SPLITS):
        steps = -(-2 * len(plan.users[domain]) // plan.rows[domain])
        seen = [
            user_of(domain, events)
            for step in range(steps)
            for row_domain, events in rows_of(make_batch(plan, step))
            if row_domain == domain
        ]
        size = len(plan.users[domain])
        trainable = np.flatnonzero(split.train_end - split.offsets[:-1] >= 2).tolist()
        assert sorted(seen[:size]) == sorted(seen[size : 2 * size]) == trainable
        assert seen[:size] != seen[size : 2 * size]


def test_more_rows_than_users():
    plan = plan_of(batch_size=400, target_share=0.9)
    counts = np.zeros(len(SPLITS[2].offsets) - 1, int)
    for domain, events in rows_of(make_batch(plan, 3)):
        if domain == 2:
            counts[user_of(domain, events)] += 1
    used = counts[plan.users[2]]
    assert used.sum() == 360
    assert used.max() - used.min() <= 2


def test_steps_cost_about_the_same():
    """Against the same users in an order without regard to what they cost."""
    lengths = np.random.default_rng(1).geometric(0.15, 1500) + 3
    split = split_of(np.arange(lengths.sum()), lengths)
    data = DataConfig(max_history=20, target_share=1.0)
    plan = plan_batches([split], np.array([0, lengths.sum()]), data, 32, 0)
    shuffled = dataclasses.replace(plan, users=(np.random.default_rng(2).permutation(plan.users[0]),))
    balanced, random = (
        [
            sizes_of(make_batch(p, step)).predictions[0] for step in range(200)
        ]  # four epochs, with the seams between them
        for p in (plan, shuffled)
    )
    np.testing.assert_allclose(np.mean(balanced), np.mean(random), rtol=0.01)
    assert np.std(balanced) < np.std(random) / 4


def test_who_meets_whom_changes_from_epoch_to_epoch():
    met = np.zeros((64, 64), bool)
    for step in range(40 * 8):
        users = users_of_step(np.arange(64), 8, step, (0,))
        met[np.ix_(users, users)] = True
    assert met.mean() > 0.85  # all but those of one's own eighth


def test_target_fraction_and_zero_shot():
    few = plan_of(target_fraction=0.25)
    assert 0 < len(few.users[2]) < len(plan_of().users[2]) / 2
    assert few.rows[2] == 12
    zero = plan_of(target_fraction=0.0, unlabelled_items=8)
    assert zero.rows[2] == 0
    assert sum(zero.rows) == 24
    batch = make_batch(zero, 0)
    assert 2 not in batch.domain_B
    assert len(batch.predictions[2].step_P) == 0
    assert (distinct_of(batch) >= STARTS[-2]).sum() == 8
    assert np.isfinite(log_q(zero)).all()
    np.testing.assert_allclose(np.exp(log_q(zero)[STARTS[2] :]), 8 / len(SPLITS[2].items_E), rtol=0.15)


def test_unlabelled_items_beyond_the_target_are_refused():
    with pytest.raises(ValueError, match=r"unlabelled_items=100000, but the target has \d+ items"):
        plan_of(unlabelled_items=100000)


def test_shares_are_exact():
    assert rows_per_domain(64, [100, 300], 0.5, True) == [8, 24, 32]
    assert rows_per_domain(64, [1, 10**6], 0.5, True) == [1, 31, 32]
    assert rows_per_domain(64, [100, 300], 0.5, False) == [16, 48, 0]
    assert rows_per_domain(64, [0, 300], 0.25, True) == [0, 48, 16]
    assert rows_per_domain(64, [], 0.5, True) == [64]
    assert rows_per_domain(64, [5], 1.0, True) == [0, 64]
    assert rows_per_domain(3, [5, 5], 0.01, True) == [1, 1, 1]
    for size in range(8, 60):
        rows = rows_per_domain(size, [7, 1, 40, 13], 0.3, True)
        assert sum(rows) == size
        assert min(rows) >= 1
    with pytest.raises(ValueError, match="batch_size=2 is too small: 2 sources"):
        rows_per_domain(2, [5, 5], 0.5, True)
    with pytest.raises(ValueError, match="no users to train on"):
        rows_per_domain(8, [0, 0], 0.5, False)
    with pytest.raises(ValueError, match=r"target_share=1\.5"):
        rows_per_domain(8, [5], 1.5, True)


def test_a_temperature_gives_small_sources_more_rows():
    users = [10, 90, 0, 8100]
    for temperature in (1.0, 2.0, 5.0, 1e6):
        rows = rows_per_domain(512, users, 0.0, False, temperature)
        share = np.array(users, float) ** (1 / temperature) * (np.array(users) > 0)
        assert np.abs(np.array(rows[:-1]) - 512 * share / share.sum()).max() < 1
        assert sum(rows) == 512
    assert sorted(rows[:-1]) == [0, 170, 171, 171]
    assert rows_per_domain(64, [100, 300], 0.5, True, 1.0) == rows_per_domain(64, [100, 300], 0.5, True)
    assert plan_of(source_temperature=1e6).rows == (6, 6, 12) != plan_of().rows


def test_every_device_sees_the_mix():
    domain_B = interleave([20, 44])
    assert np.bincount(domain_B).tolist() == [20, 44]
    shares = (domain_B.reshape(8, 8) == 0).sum(axis=1)
    assert np.abs(shares - 2.5).max() <= 1.5


def test_log_q_is_the_frequency_of_an_item_in_batches():
    rng = np.random.default_rng(0)
    num_items = 60
    popularity = 1 / np.arange(1, num_items + 1)
    splits = []
    for num_users in (900, 700):
        lengths = rng.integers(4, 9, num_users)
        splits.append(split_of(rng.choice(num_items, lengths.sum(), p=popularity / popularity.sum()), lengths))
    data = DataConfig(max_history=HISTORY, unlabelled_items=5, target_fraction=0.8)
    plan = plan_batches(splits, np.array([0, num_items, 2 * num_items]), data, 32, 0)
    counts = np.zeros(2 * num_items)
    for step in range(1500):
        counts[distinct_of(make_batch(plan, step))] += 1
    # The noise is 0.013 at most (one sigma); the formula takes the events of a user as independent.
    error = np.exp(log_q(plan)) - counts / 1500
    assert np.abs(error).max() < 0.05
    assert np.abs(error).mean() < 0.015


def test_trained_items_are_those_that_batches_can_show_as_history_or_target():
    plan = plan_of(target_fraction=0.25, unlabelled_items=16)
    shown = np.zeros(STARTS[-1], bool)
    for step in range(300):
        for domain, events in rows_of(make_batch(plan, step)):
            shown[STARTS[domain] + events] = True
    np.testing.assert_array_equal(trained_items(plan), shown)
    assert not trained_items(plan_of(target_fraction=0.0))[STARTS[-2] :].any()


def test_the_prior_of_an_item_is_its_share_of_the_training_events_of_its_domain():
    weights_E = np.random.default_rng(0).uniform(0.5, 2, 1000)
    splits = [split_of(np.arange(size) ** 2 % 17, np.full(size // 10, 10)) for size in (300, 500)]
    splits[1] = splits[1]._replace(weights_E=weights_E[:500].astype(np.float32))
    for fraction in (0.5, 0.0):
        plan = plan_batches(splits, np.array([0, 17, 34]), DataConfig(target_fraction=fraction), 16, 0)
        for domain, users in enumerate(plan.users):
            count_I = np.ones(17)
            for user in users:
                for event in range(10 * user, 10 * user + 8):  # the last two are not for training
                    count_I[event**2 % 17] += weights_E[event] if domain else 1
            found_I = np.exp(log_prior(plan)[17 * domain :][:17])
            np.testing.assert_allclose(found_I, count_I / count_I.sum(), 1e-5)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_propensities_keep_the_weight_of_a_domain_and_are_clipped(power):
    prior_I = np.concatenate([[0.5, 0.3, 0.2 - 1e-6, 1e-6], np.full(5, 0.2)])
    weight_I = inverse_propensity(np.log(prior_I), np.array([0, 4, 9]), power)
    np.testing.assert_allclose(np.add.reduceat(prior_I * weight_I, [0, 4]), 1, 1e-6)
    np.testing.assert_allclose(weight_I[4:], 1, 1e-6)
    expected = np.minimum(prior_I[:4] ** -power / np.sum(prior_I[:4] ** (1 - power)), 10)
    np.testing.assert_allclose(weight_I[:4], expected / np.sum(prior_I[:4] * expected), 1e-6)
    assert (weight_I[3] > 9) == (power > 0)


def test_log_q_weighs_an_event_by_the_windows_that_hold_it():
    """Histories of up to 60 events, windows of 7: what stands in the middle of a history is in more windows."""
    rng = np.random.default_rng(0)
    num_users, num_items = 80, 1200
    lengths = rng.integers(4, 61, num_users)
    by_age = [rng.permutation(20) + 20 * np.minimum(age, 59) for age in range(60)]  # an item is taken at one age
    items = [by_age[age][user % 20] for user, length in enumerate(lengths) for age in range(length)]
    split = split_of(np.array(items), lengths)
    for target_fraction, batch_size in ((1.0, 16), (1.0, 200), (0.5, 16)):
        data = DataConfig(max_history=HISTORY, target_fraction=target_fraction)
        plan = plan_batches([split], np.array([0, num_items]), data, batch_size, 0)
        counts = np.zeros(num_items)
        for step in range(2000):
            counts[distinct_of(make_batch(plan, step))] += 1
        held = counts >= 20
        assert held.sum() > 700
        error = log_q(plan)[held] - np.log(counts[held] / 2000)
        assert np.std(error) < 0.1  # 0.4 and more where every training event weighs the same
        assert abs(np.mean(error)) < 0.03

"""Sampled negatives: uniform over a domain's items, the same for any number of shards, indexed into the batch."""

import dataclasses

import jax
import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.negatives import sample
from llmrec_jax.data.batches.pipeline import by_length, plan_batches
from tests.data.plans import HISTORY, SPLITS, STARTS, distinct_of, ids_of, plan_of

NUM = 20
TOKENS = np.random.default_rng(5).geometric(0.05, STARTS[-1])  # of each item's text


def plan(**options):
    return plan_batches(SPLITS, STARTS, DataConfig(max_history=HISTORY), 24, 3, num_negatives=NUM, **options)


def items_of(batch):
    """The items of each domain's negatives."""
    return [ids_of(batch)[part.item_K[part.mask_K]] for part in batch.negatives]


@pytest.mark.parametrize("plan", [plan(), by_length(plan(), TOKENS)], ids=["one bucket", "several"])
def test_each_domain_has_distinct_items_of_its_own(plan):
    batch = make_batch(plan, 0)
    assert len(batch.negatives) == len(SPLITS)
    for domain, items in enumerate(items_of(batch)):
        assert len(set(items)) == NUM
        assert items.min() >= STARTS[domain]
        assert items.max() < STARTS[domain + 1]
        share = NUM / (STARTS[domain + 1] - STARTS[domain])
        np.testing.assert_allclose(batch.negatives[domain].log_q_K[:NUM], np.log(share), 1e-6)


def test_steps_seeds_and_domains_have_different_samples_and_the_number_of_shards_has_none():
    first, again = (items_of(make_batch(plan(), step)) for step in (0, 1))
    assert all(set(a) != set(b) for a, b in zip(first, again, strict=True))
    other = items_of(make_batch(dataclasses.replace(plan(), seed=4), 0))
    assert all(set(a) != set(b) for a, b in zip(first, other, strict=True))
    assert set(first[0] - STARTS[0]) != set(first[1] - STARTS[1])
    sharded = make_batch(plan(num_shards=16), 0)
    jax.tree.map(np.testing.assert_array_equal, items_of(sharded), first)
    assert all(len(part.item_K) == 32 and not part.item_K[NUM:].any() for part in sharded.negatives)


def test_the_rest_of_the_batch_is_the_same_without_negatives():
    batch, without = make_batch(plan(), 7), make_batch(plan_of(), 7)
    assert without.negatives == ()
    np.testing.assert_array_equal(batch.segment_RS, without.segment_RS)
    is_real_RS = batch.segment_RS > 0
    jax.tree.map(
        np.testing.assert_array_equal,
        ids_of(batch)[batch.history_RS[is_real_RS]],
        ids_of(without)[without.history_RS[is_real_RS]],
    )
    assert set(distinct_of(batch)) == set(distinct_of(without)) | set(np.concatenate(items_of(batch)))


def test_every_item_is_sampled_equally_often():
    starts, steps = np.array([0, 40, 60]), 3000
    counts_I = np.zeros(60)
    for step in range(steps):
        first, second = sample(0, step, starts, (1, 1), 10)
        counts_I[first] += 1
        counts_I[second] += 1
    for counts, share in ((counts_I[:40], 10 / 40), (counts_I[40:], 10 / 20)):
        deviation = (steps * share * (1 - share)) ** 0.5
        np.testing.assert_allclose(counts, steps * share, atol=4.5 * deviation)


def test_a_small_domain_gives_all_its_items_and_one_without_users_none():
    first, second = sample(0, 0, np.array([0, 7, 9]), (3, 0), 100)
    np.testing.assert_array_equal(np.sort(first), np.arange(7))
    assert len(second) == 0

"""Batches of texts: every text that is not held out, once per epoch, with little padding."""

import numpy as np
import pytest

from llmrec_jax.data.batches.texts import hold_out, plan_texts, text_batch

NUM_TEXTS, BATCH = 200, 16
TOKENS_N = np.random.default_rng(0).integers(2, 50, NUM_TEXTS)


def texts_of(batch):
    return [items.ids_U[items.mask_U] for items in batch.items]


def test_an_epoch_has_every_text_once_and_no_held_out_text():
    held_out = hold_out(NUM_TEXTS, 3)
    assert len(held_out) == 10
    plan = plan_texts(TOKENS_N, held_out, BATCH, 0)
    per_group = np.diff(np.r_[0, np.cumsum([len(group) for group in plan.groups])])
    steps = -(-max(per_group) // (BATCH // 4))
    batches = [text_batch(plan, step) for step in range(steps)]
    seen = np.concatenate([part for batch in batches for part in texts_of(batch)])
    assert set(seen) == set(range(NUM_TEXTS)) - set(held_out)
    assert len(seen) == steps * BATCH
    assert np.bincount(seen).max() <= 2  # the start of the next epoch
    for batch in batches:
        for part, length in zip(texts_of(batch), plan.lengths, strict=True):
            assert TOKENS_N[part].max() <= length
    assert sorted(plan.lengths) == list(plan.lengths)
    again, other = (text_batch(plan_texts(TOKENS_N, held_out, BATCH, seed), 4) for seed in (0, 1))
    np.testing.assert_array_equal(np.concatenate(texts_of(again)), np.concatenate(texts_of(batches[4])))
    assert not np.array_equal(np.concatenate(texts_of(other)), np.concatenate(texts_of(batches[4])))


@pytest.mark.parametrize("num_shards", [1, 16])
def test_the_texts_do_not_depend_on_the_number_of_devices(num_shards):
    held_out = hold_out(NUM_TEXTS, 3)
    batch = text_batch(plan_texts(TOKENS_N, held_out, BATCH, 0, num_shards=num_shards), 5)
    assert all(len(items.ids_U) % num_shards == 0 for items in batch.items)
    expected = text_batch(plan_texts(TOKENS_N, held_out, BATCH, 0), 5)
    np.testing.assert_array_equal(np.concatenate(texts_of(batch)), np.concatenate(texts_of(expected)))


def test_few_texts_are_all_trained_on():
    held_out = hold_out(3, 0)
    assert len(held_out) == 0
    batch = text_batch(plan_texts(np.array([4, 2, 9]), held_out, BATCH, 0), 0)
    assert sum(map(len, texts_of(batch))) == BATCH

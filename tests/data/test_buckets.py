"""Bucket lengths: minimal padding, no empty buckets."""

import itertools

import numpy as np
import pytest

from llmrec_jax.data.batches.buckets import bucket_lengths


@pytest.mark.parametrize(
    ("tokens", "lengths"),
    [
        ([5] * 9 + [200], (8, 200)),  # no bucket without a text
        ([12], (12,)),  # no text is longer: padding to a multiple would be for nothing
        ([3] * 6 + [20] * 3 + [70], (8, 24, 70)),
        ([*range(1, 81, 8)] * 9 + [200], (16, 32, 56, 80, 200)),  # the least padding that five allow
    ],
)
def test_the_ends_of_buckets(tokens, lengths):
    assert bucket_lengths(np.array(tokens)) == lengths


def test_no_other_ends_pad_less():
    tokens = np.random.default_rng(0).geometric(0.06, 200).clip(max=80)

    def padded(ends):
        ends = np.array(ends)
        return ends[np.searchsorted(ends, tokens)].sum()

    others = itertools.combinations(range(8, 80, 8), 2)
    assert padded(bucket_lengths(tokens, 3)) == min(padded((*ends, tokens.max())) for ends in others)

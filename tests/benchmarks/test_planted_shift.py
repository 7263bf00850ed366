"""Between the shops with a planted shift, aligning item vectors beats training on the source alone.

A short run of the benchmark. The whole table, with five seeds, is in docs/adaptation.md.
"""

import functools

import numpy as np
import pytest

from benchmarks import planted_shift
from llmrec_jax.train.prepared import prepare
from tests.conftest import DATA_CACHE

SEEDS = (0, 1)
WEIGHTS = {"coral": 0.3, "mmd": 0.1}  # that the benchmark chose
GAIN = 0.02  # in test NDCG@10, of the mean over the seeds; each of them gains. The benchmark finds .05 and .06
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data():
    return prepare(planted_shift.config(str(DATA_CACHE)))


@pytest.fixture(scope="module")
def trainer(data):
    """The trainer of a method; each is compiled once."""
    return functools.cache(lambda method: planted_shift.Trainer(data, method))


@pytest.fixture(scope="module")
def baseline(trainer):
    """Training on the source alone: an adaptation of weight 0."""
    return [trainer("coral")(seed, 0.0) for seed in SEEDS]


@pytest.mark.parametrize("method", WEIGHTS)
def test_aligning_item_vectors_helps_and_halves_their_distance(trainer, baseline, method):
    found = [trainer(method)(seed, WEIGHTS[method]) for seed in SEEDS]
    mean, _, seeds = planted_shift.gain(found, baseline)
    assert seeds == len(SEEDS), (found, baseline)
    assert mean > GAIN, (found, baseline)
    before, after = (np.mean([one["a_distance"] for one in side]) for side in (baseline, found))
    assert after < before / 2

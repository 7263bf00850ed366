"""The feed: batches in order, prefetched by one, on the devices, with the state of the last one returned."""

import threading

import jax
import numpy as np
import pytest

from llmrec_jax.config import DataConfig, MeshConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.pipeline import batches, by_length, plan_batches
from llmrec_jax.data.domains.split import Split
from llmrec_jax.parallel import make_layout
from llmrec_jax.train.feed import Feed

STEPS, DEVICES = 6, 8


@pytest.fixture(scope="module")
def plan():
    rng = np.random.default_rng(0)
    lengths = rng.integers(4, 15, 90)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    none = np.full(90, -1)
    split = Split(rng.integers(0, 500, offsets[-1]).astype(np.int32), offsets, offsets[1:] - 2, none, none, "by hand")
    plan = plan_batches([split, split], np.array([0, 500, 1000]), DataConfig(max_history=6), 16, 0)
    return by_length(plan, rng.geometric(0.05, 1000))


class Spy:
    """Counts from 0; fails where told; remembers how far it was asked."""

    def __init__(self, fails_at=None):
        self.taken, self.fails_at = 0, fails_at

    def __next__(self):
        if self.taken == self.fails_at:
            raise ValueError(f"no batch {self.taken}")
        if self.taken == STEPS:
            raise StopIteration
        self.taken += 1
        return self.taken - 1

    def get_state(self):
        return {"taken": self.taken}


@pytest.fixture(autouse=True)
def _no_thread_is_left():
    yield
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("feed")]


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_batches_arrive_on_the_devices_and_a_saved_state_resumes_with_the_next(plan, mode):
    layout = make_layout(MeshConfig(mode=mode, data=DEVICES))
    iterator = batches(plan, STEPS)
    states = []
    with Feed(iterator, layout.put_batch) as feed:
        for step in range(STEPS):
            states.append(feed.get_state())
            batch, placed = next(feed)
            expected = make_batch(plan, step)
            jax.tree.map(np.testing.assert_array_equal, batch, expected)
            jax.tree.map(
                lambda x, y: np.testing.assert_array_equal(np.asarray(x).reshape(y.shape), y), placed, expected
            )
        with pytest.raises(StopIteration):
            next(feed)
    for step, state in enumerate(states):
        resumed = batches(plan, STEPS)
        resumed.set_state(state)
        with Feed(resumed, layout.put_batch) as feed:
            assert feed.get_state() == state
            jax.tree.map(np.testing.assert_array_equal, next(feed)[0], make_batch(plan, step))


def test_one_batch_is_made_ahead_while_the_step_runs():
    spy, placed = Spy(), [threading.Event() for _ in range(STEPS)]

    def put(batch):
        placed[batch].set()
        return -batch

    with Feed(spy, put) as feed:
        for step in range(STEPS):
            assert feed.get_state() == {"taken": step}
            assert next(feed) == (step, -step)
            ahead = min(step + 1, STEPS - 1)
            assert placed[ahead].wait(10)
            assert spy.taken == ahead + 1
        assert feed.get_state() == {"taken": STEPS}


def test_what_fails_in_the_thread_is_raised_where_that_batch_is_asked_for():
    with Feed(Spy(fails_at=2), lambda batch: batch) as feed:
        assert [next(feed)[0] for _ in range(2)] == [0, 1]
        for _ in range(2):
            with pytest.raises(ValueError, match="no batch 2"):
                next(feed)
        assert feed.get_state() == {"taken": 2}

    def put(batch):
        raise OSError("no device")

    with Feed(Spy(), put) as feed, pytest.raises(OSError, match="no device"):
        next(feed)


def test_a_failing_step_ends_the_thread_though_a_batch_is_on_its_way():
    started, release = threading.Event(), threading.Event()

    def slow(batch):
        if batch == 1:
            started.set()
            assert release.wait(10)
        return batch

    def fail():
        with Feed(Spy(), slow) as feed:
            next(feed)
            assert started.wait(10)
            release.set()
            raise RuntimeError("the step failed")

    with pytest.raises(RuntimeError, match="the step failed"):
        fail()


@pytest.mark.parametrize("mode", ["jit", "pmap"])
def test_every_device_has_an_equal_share_of_the_work(plan, mode):
    """Rows, predictions and padded tokens to encode, counted on the devices."""
    layout = make_layout(MeshConfig(mode=mode, data=DEVICES))
    assert len(plan.lengths) > 1
    for step in range(3):
        batch = make_batch(plan, step)
        placed = layout.put_batch(batch)

        def shares(array):
            if mode == "pmap":
                return [len(share) for share in array]
            assert len({shard.device for shard in array.addressable_shards}) == DEVICES
            return [len(shard.data) for shard in array.addressable_shards]

        tokens = sum(
            length * np.array(shares(items.ids_U)) for length, items in zip(plan.lengths, placed.items, strict=True)
        )
        padded = sum(length * len(items.ids_U) for length, items in zip(plan.lengths, batch.items, strict=True))
        assert tokens.tolist() == [padded / DEVICES] * DEVICES
        assert shares(placed.domain_B) == [plan.batch_size // DEVICES] * DEVICES
        assert shares(placed.history_RS) == [plan.capacities[0].rows // DEVICES] * DEVICES
        for predictions in placed.predictions:
            assert len(set(shares(predictions.step_P))) == 1

"""The user tower: packed histories give the same vectors as separate ones, and no step depends on later ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.rec_model import Dimensions, RecModel

LENGTHS = (3, 1, 5)
SIZE = 12


TOWERS = {name: {"user_tower": name} for name in ("transformer", "ligr", "hstu", "mean")}
TOWERS |= {"sasrec": {"recency_mean": False, "score": "dot"}}


@pytest.fixture(scope="module", params=TOWERS)
def tower(request):
    return tower_of(**TOWERS[request.param])


def tower_of(*, has_times=False, **fields):
    config = ModelConfig(item_features="id", width=16, num_layers=2, num_heads=2, **fields)
    dims = Dimensions(num_items=1, feature_width=1, max_history=SIZE, has_times=has_times)
    model = RecModel(config, dims, None, rngs=nnx.Rngs(0))
    # Some weights are zero or small at the start, so that nothing of the blocks would be seen.
    params = jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape), nnx.state(model.user_tower)
    )
    nnx.update(model.user_tower, params)
    return model.encode_histories


@pytest.fixture(scope="module")
def histories():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(length, 16)).astype(np.float32) for length in LENGTHS]


def row_of(histories):
    items_RSD, segment_RS = np.full((1, SIZE, 16), 7, np.float32), np.zeros((1, SIZE), np.int32)
    end = 0
    for number, history in enumerate(histories, start=1):
        start, end = end, end + len(history)
        items_RSD[0, start:end], segment_RS[0, start:end] = history, number
    return jnp.asarray(items_RSD), jnp.asarray(segment_RS)


def test_histories_in_one_row_are_read_as_if_each_were_alone(tower, histories):
    together_SD = tower(*row_of(histories))[0]
    start = 0
    for history in histories:
        items_RSD, segment_RS = row_of([history])
        alone_SD = tower(items_RSD, segment_RS > 0)[0]
        np.testing.assert_allclose(together_SD[start : start + len(history)], alone_SD[: len(history)], atol=2e-6)
        start += len(history)
    assert not together_SD[start:].any()


def test_a_step_sees_its_own_past_alone(tower, histories):
    """By the gradient of one step of the last history."""
    items_RSD, segment_RS = row_of(histories)
    step = sum(LENGTHS[:2]) + 3
    gradient_SD = jax.grad(lambda items: tower(items, segment_RS)[0, step].sum())(items_RSD)[0]
    seen_S = np.abs(gradient_SD).max(axis=1) > 0
    assert np.flatnonzero(seen_S).tolist() == list(range(sum(LENGTHS[:2]), step + 1))


def test_packed_histories_keep_their_times(histories):
    """Any moment may be second 0, without times there is no bias, and distances matter."""
    tower = tower_of(has_times=True, user_tower="hstu")
    times = [np.arange(length, dtype=np.int32) * 1000 for length in LENGTHS]
    items_RSD, segment_RS = row_of(histories)

    def scored(*times):
        padded_RS = np.full((1, SIZE), -1, np.int32)
        padded_RS[0, : sum(LENGTHS)] = np.concatenate(times)
        return np.asarray(tower(items_RSD, segment_RS, time_RS=padded_RS)[0])

    together_SD, last = scored(*times), slice(sum(LENGTHS[:2]), sum(LENGTHS))
    alone_items_RSD, alone_segment_RS = row_of(histories[2:])
    alone_SD = tower(alone_items_RSD, alone_segment_RS, time_RS=np.pad(times[2], (0, SIZE - LENGTHS[2]))[None])[0]
    np.testing.assert_allclose(together_SD[last], alone_SD[: LENGTHS[2]], atol=2e-6)
    np.testing.assert_array_equal(scored(times[0] + 77, times[1], times[2] + 12_345), together_SD)
    unknown = [np.full(length, -1, np.int32) for length in LENGTHS]
    np.testing.assert_array_equal(scored(*unknown), tower(items_RSD, segment_RS)[0])
    assert np.abs(scored(*times[:2], times[2] * 50) - together_SD)[last].max() > 1e-3


@pytest.fixture(scope="module")
def bert4rec():
    return tower_of(user_tower="bert4rec", recency_mean=False)


def test_bert4rec_sees_both_sides_of_a_masked_step_but_not_its_item(bert4rec, histories):
    items_RSD, segment_RS = row_of(histories)
    masked_RS = np.zeros((1, SIZE), bool)
    step, other = sum(LENGTHS[:2]) + 2, sum(LENGTHS[:2]) + 4
    masked_RS[0, [step, other]] = True
    gradient_SD = jax.grad(lambda items: bert4rec(items, segment_RS, None, masked_RS)[0, step].sum())(items_RSD)[0]
    seen_S = np.abs(gradient_SD).max(axis=1) > 0
    first = sum(LENGTHS[:2])
    assert np.flatnonzero(seen_S).tolist() == [first, first + 1, first + 3]
    together_SD = bert4rec(items_RSD, segment_RS, None, masked_RS)[0]
    alone_RSD, alone_segment_RS = row_of(histories[2:])
    alone_masked_RS = np.roll(masked_RS, -first, axis=1)
    alone_SD = bert4rec(alone_RSD, alone_segment_RS, None, alone_masked_RS)[0]
    np.testing.assert_allclose(together_SD[first : first + 5], alone_SD[:5], atol=2e-6)


def test_bert4rec_recommends_at_a_masked_step_after_the_history(bert4rec, histories):
    """As if the history had one more item, which is masked."""
    history = histories[2]
    items_RSD, segment_RS = row_of([history])
    user_D = bert4rec(items_RSD, segment_RS > 0)[0, len(history) - 1]
    longer_RSD, longer_segment_RS = row_of([np.concatenate([history, np.ones((1, 16), np.float32)])])
    masked_RS = np.arange(SIZE)[None] == len(history)
    np.testing.assert_allclose(
        bert4rec(longer_RSD, longer_segment_RS, None, masked_RS)[0, len(history)], user_D, atol=2e-6
    )
    full = np.concatenate([histories[2], histories[2], histories[0][:2]])  # the longest history has room for it, too
    assert np.isfinite(bert4rec(*row_of([full]))[0, SIZE - 1]).all()

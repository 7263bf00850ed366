"""Packing: no overlaps, no truncation, and a nearly minimal number of rows."""

import numpy as np
import pytest

from llmrec_jax.data.batches.packing import pack


def rows_of(lengths_B: np.ndarray, size: int) -> int:
    """The number of rows; asserts that every history lies in one of them and alone on its places."""
    start_B = pack(lengths_B, size)
    end_B = start_B + lengths_B
    np.testing.assert_array_equal(start_B // size, (end_B - 1) // size)
    order = np.argsort(start_B)
    assert (end_B[order][:-1] <= start_B[order][1:]).all()
    return int(start_B.max()) // size + 1


@pytest.mark.parametrize("mean", [2, 8, 40])
def test_rows_are_nearly_as_few_as_can_be(mean):
    lengths_B = np.minimum(np.random.default_rng(mean).geometric(1 / mean, 500), 50)
    least = -(-lengths_B.sum() // 50)
    assert least <= rows_of(lengths_B, 50) <= 1.03 * least + 1


def test_is_first_fit_decreasing():
    assert pack(np.array([3, 7, 4, 3, 2]), 10).tolist() == [7, 0, 10, 14, 17]


def test_histories_that_leave_no_room_lie_alone():
    assert rows_of(np.full(9, 4), 4) == 9
    assert rows_of(np.full(9, 3), 5) == 9
    assert rows_of(np.full(9, 1), 5) == 2
    assert pack(np.zeros(0, np.int64), 5).shape == (0,)

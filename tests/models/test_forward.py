"""The histories that a forward pass hands to the softmax."""

import numpy as np

from llmrec_jax.models.forward import seen_items


def test_seen_items_are_those_of_the_same_history_up_to_the_step():
    history_RS = np.array([[3, 4, 5, 6, 0], [7, 8, 9, 9, 1]], np.int32)
    segment_RS = np.array([[1, 1, 2, 2, 0], [3, 3, 3, 3, 3]], np.int32)
    seen_PS = seen_items(history_RS, segment_RS, np.array([1, 2, 3, 5, 9], np.int32))
    assert [[int(item) for item in row if item >= 0] for row in seen_PS] == [[3, 4], [5], [5, 6], [7], [7, 8, 9, 9, 1]]

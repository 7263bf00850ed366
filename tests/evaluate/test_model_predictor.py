import numpy as np

from llmrec_jax.evaluate.model_predictor import last_events
from llmrec_jax.predictor import Histories

ITEMS = [np.array(items, np.int64) for items in ([7, 8, 9], [], [5])]
TIMES = [np.array(times, np.int64) for times in ([10, 1_700_000_000, 1_700_000_060], [], [1_600_000_000])]


def test_the_last_events_are_padded_on_the_right_and_times_count_from_the_first_of_them():
    history_NS, mask_NS, time_NS = last_events(Histories(ITEMS, TIMES), 2)
    assert (history_NS.dtype, mask_NS.dtype, time_NS.dtype) == (np.int32, bool, np.int32)
    assert history_NS.tolist() == [[8, 9], [0, 0], [5, 0]]
    assert mask_NS.tolist() == [[True, True], [False, False], [True, False]]
    assert time_NS.tolist() == [[0, 60], [-1, -1], [0, -1]]


def test_unknown_times_are_minus_one():
    for histories in (ITEMS, Histories(ITEMS, None)):
        history_NS, _, time_NS = last_events(histories, 4)
        assert history_NS.tolist() == [[7, 8, 9, 0], [0, 0, 0, 0], [5, 0, 0, 0]]
        assert (time_NS == -1).all()


def test_there_may_be_no_events_at_all():
    for histories in ([], [ITEMS[1]], Histories([ITEMS[1]], [TIMES[1]])):
        history_NS, mask_NS, time_NS = last_events(histories, 3)
        assert history_NS.shape == mask_NS.shape == time_NS.shape == (len(histories), 3)
        assert not mask_NS.any()
        assert (time_NS == -1).all()

"""Ranks from scores on the host: those on the devices, whatever the size of the blocks."""

import numpy as np
import pytest

from llmrec_jax.config import MeshConfig
from llmrec_jax.evaluate import host_ranking
from llmrec_jax.evaluate.host_ranking import rank_scores
from llmrec_jax.evaluate.ranking import rank
from llmrec_jax.parallel import make_mesh
from llmrec_jax.predictor import ScorePredictor

# Whole numbers: sums are exact in any order, and often tie.
ITEMS_ID = np.random.default_rng(0).integers(-2, 3, (120, 6)).astype(np.float32)
HISTORIES = [np.random.default_rng(n).permutation(120)[:length] for n, length in enumerate([0, 1, 7, 119, 60] * 3)]
TARGET_N = np.random.default_rng(2).integers(120, size=len(HISTORIES))  # some of them in the history


def users(histories):
    return np.array([ITEMS_ID[history].sum(axis=0) for history in histories], np.float32)


OWN = ScorePredictor("own", 120, lambda histories: users(histories) @ ITEMS_ID.T)


def test_ranks_are_those_on_the_devices_for_any_block_of_users(monkeypatch):
    mesh = make_mesh(MeshConfig(data=1))
    expected = rank(users(HISTORIES), ITEMS_ID, TARGET_N, HISTORIES, mesh=mesh)
    assert expected.ties_N.any()
    for scores_in_memory in (2**24, 120 * 7, 1):
        monkeypatch.setattr(host_ranking, "SCORES", scores_in_memory)
        found = rank_scores(OWN, HISTORIES, TARGET_N)
        np.testing.assert_array_equal(found.higher_N, expected.higher_N)
        np.testing.assert_array_equal(found.ties_N, expected.ties_N)


def test_items_that_a_predictor_excludes_do_not_tie_with_the_history():
    def scores(histories):
        return np.where(np.arange(120) == TARGET_N[3], -np.inf, np.zeros((len(histories), 120)))

    found = rank_scores(ScorePredictor("own", 120, scores), [np.arange(50)], TARGET_N[3:4])
    assert (found.higher_N.tolist(), found.ties_N.tolist()) == (
        [len(np.setdiff1d(np.arange(50, 120), TARGET_N[3]))],
        [0],
    )


def test_a_nan_is_an_error():
    broken = ScorePredictor("broken", 120, lambda histories: np.full((len(histories), 120), np.nan))
    with pytest.raises(FloatingPointError, match="broken: 1800 scores are NaN"):
        rank_scores(broken, HISTORIES, TARGET_N)

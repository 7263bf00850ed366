"""The metrics of lists of shown items."""

import numpy as np
import pytest

from llmrec_jax.train.impressions import list_metrics


def test_list_metrics_are_those_of_mind():
    scores_A = np.array([0.9, 0.8, 0.3, 0.1, 0.2, 0.7, 0.7], np.float32)
    clicked_A = np.array([False, True, False, True, False, True, False])
    found = list_metrics(scores_A, clicked_A, np.array([0, 5, 7]))
    # In the first list the clicks are second and last of five, with two thirds and none of the others below them.
    ideal = 1 + 1 / np.log2(3)
    ndcg = (1 / np.log2(3) + 1 / np.log2(6)) / ideal
    tied = 1 / np.log2(1 + 1.5)  # the second list is a tie: rank 1.5
    assert found == {
        "auc": pytest.approx(((2 / 3 + 0) / 2 + 0.5) / 2),
        "mrr": pytest.approx(((1 / 2 + 1 / 5) / 2 + 1 / 1.5) / 2),
        "ndcg@5": pytest.approx((ndcg + tied) / 2),
        "ndcg@10": pytest.approx((ndcg + tied) / 2),
    }

"""Beyond-accuracy metrics of the recommended lists: coverage, Gini index, novelty and diversity.

Computed for the first 10 items for a sample of the test users. Items are compared by TF-IDF of their texts, so that
runs with different encoders can be compared. Definitions: Castells, Hurley and Vargas, "Novelty and Diversity in
Recommender Systems" (Recommender Systems Handbook, 2022).

Shape letters besides those of `types.py`: K items of a list, P places of all lists, R users of a block, V terms.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse

from llmrec_jax.data.corpus import Case
from llmrec_jax.data.texts.tfidf import tfidf
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.host_ranking import score_blocks
from llmrec_jax.predictor import Predictor, take

LENGTH = 10  # K
MOST_USERS = 2_000  # lists are made for a random sample of this size


class ListMeasures:
    """Measures the lists of several predictors for the same users.

    Args:
      case: the test events.
      counts_I: training events per item.
      texts: of the items.
    """

    def __init__(self, case: Case, counts_I: np.ndarray, texts: Sequence[str]):
        chosen_N = np.sort(np.random.default_rng(0).permutation(len(case.users_N))[:MOST_USERS])
        self._histories = take(case.histories, chosen_N)
        self._users_N = case.users_N[chosen_N]
        self._counts_I = counts_I
        try:
            self._texts_IV = tfidf(texts)
        except UserError:  # no two texts share a word
            self._texts_IV = scipy.sparse.csr_matrix((len(texts), 1), dtype=np.float32)
        self.rows: list[dict[str, Any]] = []

    def add(self, predictor: Predictor) -> None:
        """Append a row of measures: the method, the number of users, and see `measures`."""
        top_NK = top_items(predictor, self._histories, self._users_N)
        row = {"method": predictor.name, "users": len(top_NK)}
        self.rows.append(row | measures(top_NK, self._counts_I, self._texts_IV))


def top_items(predictor: Predictor, histories: Sequence[np.ndarray], users_N: np.ndarray) -> np.ndarray:
    """The best items of each user, history excluded: item numbers [N, K] in no order, -1 where nothing is left."""
    found = [np.zeros((0, LENGTH), np.int64)]
    for rows, scores_RI in score_blocks(predictor, histories, users_N):
        for user, history in enumerate(histories[rows]):
            scores_RI[user, history] = -np.inf
        length = min(LENGTH, scores_RI.shape[1])
        top_RK = np.argpartition(-scores_RI, length - 1, axis=1)[:, :length]
        top_RK[np.take_along_axis(scores_RI, top_RK, axis=1) == -np.inf] = -1
        found.append(np.pad(top_RK, ((0, 0), (0, LENGTH - length)), constant_values=-1))
    return np.concatenate(found)


def measures(top_NK: np.ndarray, counts_I: np.ndarray, texts_IV: scipy.sparse.csr_matrix) -> dict[str, float | None]:
    """Measures of the users' lists; None where nothing is recommended.

    Args:
      top_NK: item numbers, -1 for an empty place.
      counts_I: training events per item.
      texts_IV: L2-normalized rows.

    Returns:
      `coverage@10`: the share of the items that are in at least one list.
      `gini@10`: the Gini index of how often each item is recommended: 0 if all are equally often, 1 if always one.
      `novelty@10`: the mean self-information of the recommended items, `-log2((n_i + 1) / sum_j (n_j + 1))` bits.
      `diversity@10`: one minus the mean cosine of the pairs of a list, mean over the lists of two items or more.
    """
    user_P, place_P = np.nonzero(top_NK >= 0)
    item_P = top_NK[user_P, place_P]
    names = [f"{name}@{LENGTH}" for name in ("coverage", "gini", "novelty", "diversity")]
    if not len(item_P):
        return dict.fromkeys(names)
    num_items = len(counts_I)
    times_I = np.sort(np.bincount(item_P, minlength=num_items))
    share_I = np.arange(1, num_items + 1) * 2 - num_items - 1
    gini = float(np.sum(share_I * times_I) / (max(num_items - 1, 1) * times_I.sum()))
    information_I = np.log2(np.sum(counts_I + 1)) - np.log2(counts_I + 1)
    values = np.mean(times_I > 0), gini, np.mean(information_I[item_P]), _diversity(user_P, item_P, texts_IV)
    return {name: None if value is None else float(value) for name, value in zip(names, values, strict=True)}


def _diversity(user_P: np.ndarray, item_P: np.ndarray, texts_IV: scipy.sparse.csr_matrix) -> float | None:
    """From the squared length of the sum of a list's vectors: their cosines, and those of each with itself."""
    num_users = int(user_P.max()) + 1
    lists_NI = scipy.sparse.csr_matrix(
        (np.ones(len(user_P), np.float32), (user_P, item_P)), (num_users, texts_IV.shape[0])
    )
    sum_NV = lists_NI @ texts_IV
    square_N = np.asarray(sum_NV.multiply(sum_NV).sum(axis=1)).ravel()
    own_I = np.asarray(texts_IV.multiply(texts_IV).sum(axis=1)).ravel()
    length_N = np.bincount(user_P, minlength=num_users)
    pairs_N = length_N * (length_N - 1)
    if not pairs_N.any():
        return None
    cosine_N = (square_N - lists_NI @ own_I)[pairs_N > 0] / pairs_N[pairs_N > 0]
    return float(1 - cosine_N.mean())

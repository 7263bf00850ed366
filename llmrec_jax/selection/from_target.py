"""Validators that look at the model's predictions on the target: confidence, diversity, clusters, agreement with text.

Pure functions; higher is better. Predictions are `softmax(scores / temperature)` over the probe items, a row per
target user. None can distinguish a confident model from a correct one: each docstring names the bad models that it
scores highly.

Shape letters: those of `evidence`.
"""

import numpy as np
import scipy.special
import scipy.stats

from llmrec_jax.selection.clusters import adjusted_mutual_information, k_means

MOST_CLUSTERS = 50  # of ClassAMI
SND_TEMPERATURE = 0.05  # the paper's


def predictions(scores_MK: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """`softmax(scores / temperature)` of each row, float64."""
    return scipy.special.softmax(np.asarray(scores_MK, np.float64) / temperature, axis=1)


def entropy(scores_MK: np.ndarray, temperature: float = 1.0) -> float:
    """Confidence: `-mean H(p)`, in [-log K, 0] (Morerio et al., arXiv:1711.10288).

    Highest for the same confident prediction for everybody, right or wrong.

    >>> bool(np.isclose(entropy(np.zeros((3, 4))), -np.log(4)))
    True
    """
    return -float(np.mean(_entropy(predictions(scores_MK, temperature))))


def diversity(scores_MK: np.ndarray, temperature: float = 1.0) -> float:
    """`H(mean p)`, in [0, log K] (the diversity term of arXiv:2002.08546). Highest for uniform predictions.

    >>> round(diversity(np.array([[99.0, 0.0], [99.0, 0.0]])), 6)
    0.0
    """
    return float(_entropy(predictions(scores_MK, temperature).mean(axis=0)))


def information_maximization(scores_MK: np.ndarray, temperature: float = 1.0) -> float:
    """`H(mean p) - mean H(p)`, in [0, log K] (arXiv:2002.08546): the mutual information of user and predicted item.

    0 for uniform predictions and for the same prediction for everybody. High for confident random ones.

    >>> bool(np.isclose(information_maximization(99 * np.eye(4)), np.log(4)))
    True
    """
    return diversity(scores_MK, temperature) + entropy(scores_MK, temperature)


def nuclear_norm(scores_MK: np.ndarray, temperature: float = 1.0) -> float:
    """`|P|_* / sqrt(M min(M, K))`, in (0, 1] (BNM, arXiv:2003.12237; as a validator arXiv:2208.07360, 2510.02956).

    The sum of the singular values of the prediction matrix: confident and diverse predictions have a large one; the
    divisor is the largest possible. High for confident random predictions.

    >>> round(nuclear_norm(99 * np.eye(4)), 6), round(nuclear_norm(np.zeros((4, 4))), 6)
    (1.0, 0.25)
    """
    num_users, num_items = scores_MK.shape
    singular_values = np.linalg.svd(predictions(scores_MK, temperature), compute_uv=False)
    return float(singular_values.sum() / np.sqrt(num_users * min(num_users, num_items)))


def soft_neighborhood_density(scores_MK: np.ndarray, temperature: float = 1.0) -> float:
    """SND (arXiv:2108.10860): `mean_i H(softmax_{j != i}(cos(p_i, p_j) / 0.05))`, in [0, log(M - 1)].

    High if each user has many others with similar predictions. Highest for a collapsed model, whose predictions are
    all equal.

    >>> bool(np.isclose(soft_neighborhood_density(np.zeros((5, 3))), np.log(4)))
    True
    """
    assert len(scores_MK) >= 2, "a neighbor needs a second user"
    rows_MK = predictions(scores_MK, temperature)
    rows_MK /= np.linalg.norm(rows_MK, axis=1, keepdims=True)
    logits_MM = rows_MK @ rows_MK.T / SND_TEMPERATURE
    np.fill_diagonal(logits_MM, -np.inf)
    return float(np.mean(_entropy(scipy.special.softmax(logits_MM, axis=1))))


def class_ami(users_MD: np.ndarray, scores_MK: np.ndarray, seed: int = 0) -> float:
    """ClassAMI (arXiv:2208.07360): adjusted mutual information of clusters of users and predicted items, at most 1.

    Clusters are those of k-means on L2-normalized user vectors; the predicted item of a user is the best of the probe.
    There are as many clusters as predicted items, but at most `MOST_CLUSTERS`. About 0 for predictions that do not
    follow the users; 0 if all users get the same one. High if the users' vectors form clusters, whatever these mean.

    >>> round(class_ami(np.eye(2)[[0, 0, 1, 1, 0, 1]], np.eye(2)[[1, 1, 0, 0, 1, 0]]), 6)
    1.0
    """
    predicted_M = np.argmax(scores_MK, axis=1)
    num_predicted = len(np.unique(predicted_M))
    if num_predicted == 1:
        return 0.0
    users_MD = np.asarray(users_MD, np.float64)
    norm_M = np.linalg.norm(users_MD, axis=1)
    cluster_M = k_means(users_MD / np.where(norm_M, norm_M, 1.0)[:, None], min(num_predicted, MOST_CLUSTERS), seed)
    return adjusted_mutual_information(cluster_M, predicted_M)


def text_agreement(scores_MK: np.ndarray, text_scores_MK: np.ndarray, items_ID: np.ndarray) -> float:
    """Mean rank correlation with text k-NN less the collapse of the item vectors, in [-2, 1].

    The correlation is Spearman's, over the probe items of each user (0 if a row is constant), and the collapse that of
    `collapse`. Highest for a model that ranks as text k-NN does: it shows what training has destroyed, not what it has
    added.

    >>> scores_MK = np.array([[1.0, 2.0, 3.0]])
    >>> items_ID = np.array([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> round(text_agreement(scores_MK, 10 * scores_MK, items_ID), 6)
    1.0
    """
    ranks = [scipy.stats.rankdata(scores, axis=1) for scores in (scores_MK, text_scores_MK)]
    model_MK, text_MK = (rows - rows.mean(axis=1, keepdims=True) for rows in ranks)
    product_M = np.linalg.norm(model_MK, axis=1) * np.linalg.norm(text_MK, axis=1)
    correlation_M = np.sum(model_MK * text_MK, axis=1) / np.where(product_M, product_M, 1.0)
    return float(correlation_M.mean()) - collapse(items_ID)


def collapse(items_ID: np.ndarray) -> float:
    """How few directions the vectors use: `1 - log r / log(min(I - 1, D))`, in [0, 1].

    `r = exp H(s / sum s)` is the effective rank of the centered vectors, where `s` are their singular values (Roy and
    Vetterli, EUSIPCO 2007). 0 if all directions are used alike, 1 if there is a single one, or none.

    >>> collapse(np.ones((9, 3))), collapse(np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]))
    (1.0, 1.0)
    """
    items_ID = np.asarray(items_ID, np.float64)
    largest = min(len(items_ID) - 1, items_ID.shape[1])
    values_D = np.linalg.svd(items_ID - items_ID.mean(axis=0), compute_uv=False)
    total = values_D.sum()
    if largest < 2 or total <= 1e-6 * np.linalg.norm(items_ID):  # equal up to rounding of float32
        return 1.0
    return float(np.clip(1.0 - _entropy(values_D / total) / np.log(largest), 0.0, 1.0))


def _entropy(probabilities: np.ndarray) -> np.ndarray:
    """Entropy over the last dimension, in nats."""
    return scipy.special.entr(probabilities).sum(axis=-1)

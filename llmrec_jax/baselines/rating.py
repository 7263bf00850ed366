"""Predictions of ratings without training: the mean, biases of users and items, biased matrix factorization.

The biases and factors of items come from training ratings; those of a user are computed from the ratings that the user
gave before, in closed form, so that users without training ratings have them too.

Shape letters: I items of the domain; A ratings, users end to end, each oldest first; K factors; S ratings of a user.
"""

import itertools
from typing import NamedTuple

import numpy as np
import scipy.sparse

FACTORS = 16
USER_SHRINKAGE, ITEM_SHRINKAGE, FACTOR_SHRINKAGE = 3.0, 5.0, 10.0
SWEEPS = 10  # of alternating least squares


class BiasedMF(NamedTuple):
    """A rating is `mean + bias of the user + bias of the item + factors of the user . factors of the item`."""

    mean: float
    bias_I: np.ndarray  # float64; 0 for an item without ratings
    factors_IK: np.ndarray  # float64
    count_I: np.ndarray  # int64: ratings of the item that it was fitted on


class RatingParts(NamedTuple):
    """The parts of predicted ratings, whose sum is the prediction of the matrix factorization. float64 [A]."""

    mean_A: np.ndarray
    item_A: np.ndarray
    user_A: np.ndarray
    factors_A: np.ndarray
    user_count_A: np.ndarray  # ratings of the user before this one
    item_count_A: np.ndarray  # ratings of the item that the model was fitted on


def fit(users_A: np.ndarray, items_A: np.ndarray, ratings_A: np.ndarray, num_items: int, seed: int = 0) -> BiasedMF:
    """Fit biases, then the factors of what the biases leave, both by alternating least squares with shrinkage.

    Source: Koren, Bell and Volinsky, "Matrix factorization techniques for recommender systems", IEEE Computer 2009.
    """
    mean = float(ratings_A.mean(dtype=np.float64))
    _, user_A = np.unique(users_A, return_inverse=True)
    num_users = int(user_A.max(initial=-1)) + 1
    count_I, count_users = np.bincount(items_A, minlength=num_items), np.bincount(user_A, minlength=num_users)
    bias_I, bias_users = np.zeros(num_items), np.zeros(num_users)
    for _ in range(SWEEPS):
        left_A = ratings_A - mean - bias_users[user_A]
        bias_I = np.bincount(items_A, left_A, num_items) / (count_I + ITEM_SHRINKAGE)
        left_A = ratings_A - mean - bias_I[items_A]
        bias_users = np.bincount(user_A, left_A, num_users) / (count_users + USER_SHRINKAGE)
    left_A = ratings_A - mean - bias_users[user_A] - bias_I[items_A]
    shape = num_users, num_items
    left = scipy.sparse.csr_matrix((left_A, (user_A, items_A)), shape)
    has = scipy.sparse.csr_matrix((np.ones(len(left_A)), (user_A, items_A)), shape)
    factors_IK = np.random.default_rng(seed).normal(0, 0.1, (num_items, FACTORS))
    for _ in range(SWEEPS):
        factors_users = _solve(has, left, factors_IK)
        factors_IK = _solve(has.T.tocsr(), left.T.tocsr(), factors_users)
    return BiasedMF(mean, bias_I, factors_IK, count_I)


def _solve(has: scipy.sparse.csr_matrix, left: scipy.sparse.csr_matrix, other_NK: np.ndarray) -> np.ndarray:
    """The factors of the rows that fit `left` best, given those of the columns."""
    squares = (other_NK[:, :, None] * other_NK[:, None, :]).reshape(len(other_NK), -1)
    gram = (has @ squares).reshape(-1, FACTORS, FACTORS) + FACTOR_SHRINKAGE * np.eye(FACTORS)
    return np.linalg.solve(gram, (left @ other_NK)[:, :, None])[:, :, 0]


def predict(model: BiasedMF, items_A: np.ndarray, ratings_A: np.ndarray, offsets: np.ndarray) -> RatingParts:
    """Predict every rating from the ratings that its user gave before it.

    Args:
      model: fitted on any ratings of the domain.
      items_A: users end to end, each oldest first.
      ratings_A: ratings.
      offsets: int64 [users + 1]: user u's ratings are `offsets[u]:offsets[u + 1]`.
    """
    item_A, factors_AK = model.bias_I[items_A], model.factors_IK[items_A]
    left_A = ratings_A - model.mean - item_A
    user_A, product_A = np.zeros(len(items_A)), np.zeros(len(items_A))
    for start, end in itertools.pairwise(offsets.tolist()):
        if end - start > 1:
            user_A[start:end], product_A[start:end] = _of_user(factors_AK[start:end], left_A[start:end])
    count_A = np.arange(len(items_A)) - np.repeat(offsets[:-1], np.diff(offsets))
    mean_A = np.full(len(items_A), model.mean)
    return RatingParts(mean_A, item_A, user_A, product_A, count_A, model.count_I[items_A])


def _of_user(factors_SK: np.ndarray, left_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The bias of one user before each rating, and the product of the user's factors then with those of the item."""
    count_S = np.arange(len(left_S))
    bias_S = _before(left_S) / (count_S + USER_SHRINKAGE)
    gram = _before(factors_SK[:, :, None] * factors_SK[:, None, :]) + FACTOR_SHRINKAGE * np.eye(FACTORS)
    moment_SK = _before(factors_SK * left_S[:, None]) - bias_S[:, None] * _before(factors_SK)
    user_SK = np.linalg.solve(gram, moment_SK[:, :, None])[:, :, 0]
    return bias_S, (user_SK * factors_SK).sum(axis=1)


def _before(values: np.ndarray) -> np.ndarray:
    """The sum of the rows before each row."""
    return np.cumsum(values, axis=0) - values

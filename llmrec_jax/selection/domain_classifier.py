"""A small domain classifier: how well the domains can be told apart, and density ratios for importance weights.

Logistic regression on standardized features with an L2 penalty. Each half of the rows gets its logits from the
classifier fitted on the other half, so that no row is judged by a classifier that has seen it.

Shape letters: those of `evidence`.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.special

# Beside the mean loss, `ridge / 2 * |w|^2` on standardized features with `ridge = RIDGE * D / rows`: more features of
# fewer rows fit noise, which makes density ratios too large.
RIDGE = 0.5
LARGEST_RATIO = 20.0  # density ratios are clipped to [1 / 20, 20]; a single user would decide otherwise


class Domains(NamedTuple):
    """Cross-fitted logits, positive where the target is more probable, with equal prior probabilities."""

    source_logits_N: np.ndarray  # float64
    target_logits_M: np.ndarray  # float64

    @property
    def error(self) -> float:
        """Held-out error, the mean of the two domains' errors (a logit of 0 is half an error): 0.5 for equal domains.

        >>> Domains(np.array([-1.0, 0.0]), np.array([2.0, 3.0, -1.0, 1.0])).error
        0.25
        """
        source = np.mean((np.sign(self.source_logits_N) + 1) / 2)
        target = np.mean((1 - np.sign(self.target_logits_M)) / 2)
        return float(source + target) / 2

    @property
    def ratio_N(self) -> np.ndarray:
        """Density of the target over density of the source at each source row, clipped (`LARGEST_RATIO`).

        With equal priors the odds of the target are the density ratio.
        """
        limit = np.log(LARGEST_RATIO)
        return np.exp(np.clip(self.source_logits_N, -limit, limit))


def classify(source_ND: np.ndarray, target_MD: np.ndarray, seed: int = 0) -> Domains:
    """Fit the classifier on each half and apply it to the other half.

    Args:
      source_ND: features, any float type; at least 2 rows.
      target_MD: the same of the target.
      seed: of the halves. The order of the rows matters as little as the seed.

    >>> rng = np.random.default_rng(0)
    >>> source_ND = rng.standard_normal((200, 2))
    >>> classify(source_ND, source_ND + 9).error
    0.0
    """
    assert min(len(source_ND), len(target_MD)) >= 2, "a domain needs a row in each half"
    source_ND, target_MD = np.asarray(source_ND, np.float64), np.asarray(target_MD, np.float64)
    rng = np.random.default_rng(seed)
    half_N, half_M = (rng.permutation(len(rows)) % 2 for rows in (source_ND, target_MD))
    source_N, target_M = np.zeros(len(source_ND)), np.zeros(len(target_MD))
    for half in (0, 1):
        train, held_out = (source_ND[half_N == half], target_MD[half_M == half]), 1 - half
        weights_D, bias = _fit(*train)
        source_N[half_N == held_out] = source_ND[half_N == held_out] @ weights_D + bias
        target_M[half_M == held_out] = target_MD[half_M == held_out] @ weights_D + bias
    return Domains(source_N, target_M)


def _fit(source_ND: np.ndarray, target_MD: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and bias on the features as given; each domain has half of the weight, whatever its number of rows."""
    rows_AD = np.concatenate([source_ND, target_MD])
    mean_D, deviation_D = rows_AD.mean(axis=0), rows_AD.std(axis=0)
    is_constant_D = deviation_D <= 1e-9 * (1 + np.abs(mean_D))
    scale_D = np.where(is_constant_D, 0.0, 1.0 / np.where(is_constant_D, 1.0, deviation_D))
    rows_AD = (rows_AD - mean_D) * scale_D
    sign_A = np.repeat([-1.0, 1.0], [len(source_ND), len(target_MD)])
    share_A = np.repeat([0.5 / len(source_ND), 0.5 / len(target_MD)], [len(source_ND), len(target_MD)])
    ridge = RIDGE * rows_AD.shape[1] / len(rows_AD)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights_D, bias = parameters[:-1], parameters[-1]
        margin_A = sign_A * (rows_AD @ weights_D + bias)
        slope_A = -share_A * sign_A * scipy.special.expit(-margin_A)
        value = share_A @ np.logaddexp(0.0, -margin_A) + ridge / 2 * weights_D @ weights_D
        return float(value), np.append(slope_A @ rows_AD + ridge * weights_D, slope_A.sum())

    start = np.zeros(rows_AD.shape[1] + 1)
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200})
    weights_D = found.x[:-1] * scale_D
    return weights_D, float(found.x[-1] - weights_D @ mean_D)

"""Validators that need labels of sources: left-out source, source risk, importance-weighted risk, DEV and DEVN.

Pure functions; higher is better. `source_ND` are the user vectors of source validation users, `losses_N` their losses
(at least 0), `target_MD` user vectors of the target without labels.

Shape letters: those of `evidence`.
"""

import numpy as np

from llmrec_jax.selection.domain_classifier import classify


def left_out_source(ndcg: float) -> float:
    """NDCG@10 on a source that was not trained on, in [0, 1] (leave-one-domain-out, arXiv:2007.01434).

    The left-out source stands in for the target. It misleads if it is nearer to the other sources than the target is.
    """
    return float(ndcg)


def source_risk(losses_N: np.ndarray) -> float:
    """`-mean(l)` on the sources that were trained on, at most 0. Does not know of the target.

    >>> source_risk(np.array([0.0, 0.5, 1.0]))
    -0.5
    """
    return -float(np.mean(losses_N))


def importance_weighted(source_ND: np.ndarray, losses_N: np.ndarray, target_MD: np.ndarray, seed: int = 0) -> float:
    """Importance-weighted risk `-sum(w l) / sum(w)`, in [-max(l), 0] (Sugiyama et al., JMLR 8:985, 2007).

    `w` is the density of the target over that of the source (`domain_classifier`), so that source users who look like
    target users count more. The paper's `mean(w l)` is divided by `mean(w)`: otherwise features that separate the
    domains, whose weights are near 0, would seem to have no loss. Collapsed features give every user the same weight.

    >>> rng = np.random.default_rng(0)
    >>> users_ND = rng.standard_normal((400, 1))
    >>> losses_N = (users_ND[:, 0] < 0).astype(float)
    >>> importance_weighted(users_ND, losses_N, users_ND + 1) > source_risk(losses_N)
    True
    """
    ratio_N = classify(source_ND, target_MD, seed).ratio_N
    return -float(ratio_N @ losses_N / ratio_N.sum())


def dev(source_ND: np.ndarray, losses_N: np.ndarray, target_MD: np.ndarray, seed: int = 0) -> float:
    """Deep embedded validation: minus `dev_risk` of the density ratios (You et al., ICML 2019,
    https://proceedings.mlr.press/v97/you19a.html). Finite, but not bounded by the losses. High for features that
    separate the domains: their ratios are near 0, or so uneven that the control variate is meaningless.

    >>> rng = np.random.default_rng(0)
    >>> users_ND = rng.standard_normal((400, 1))
    >>> losses_N = (users_ND[:, 0] < 0).astype(float)
    >>> dev(users_ND, losses_N, users_ND + 1) > dev(users_ND, losses_N, users_ND)
    True
    """
    return -dev_risk(classify(source_ND, target_MD, seed).ratio_N, losses_N)


def devn(source_ND: np.ndarray, losses_N: np.ndarray, target_MD: np.ndarray, seed: int = 0) -> float:
    """DEV with normalized weights (arXiv:2208.07360): minus `dev_risk` of the ratios divided by their maximum.

    Of the two normalizations in the authors' code ("max" and "standardize") this is the first. Not bounded by the
    losses either, but equal to the source risk if all ratios are equally small.

    >>> rng = np.random.default_rng(0)
    >>> users_ND = rng.standard_normal((400, 1))
    >>> losses_N = (users_ND[:, 0] < 0).astype(float)
    >>> devn(users_ND, losses_N, users_ND + 1) > devn(users_ND, losses_N, users_ND)
    True
    """
    ratio_N = classify(source_ND, target_MD, seed).ratio_N
    return -dev_risk(ratio_N / ratio_N.max(), losses_N)


def dev_risk(weights_N: np.ndarray, losses_N: np.ndarray) -> float:
    """`mean(w l) + eta mean(w) - eta` with `eta = -Cov(w l, w) / Var(w)`; `eta = 0` for equal weights.

    The control variate removes the variance of `w l` that comes from `w`, whose expectation is 1.

    >>> dev_risk(np.array([0.5, 1.0, 1.5]), np.array([1.0, 1.0, 1.0]))
    1.0
    """
    weighted_N = weights_N * losses_N
    deviation_N = weights_N - weights_N.mean()
    variance = float(deviation_N @ deviation_N)
    is_constant = variance <= 1e-12 * float(weights_N @ weights_N)
    eta = 0.0 if is_constant else -float(deviation_N @ weighted_N) / variance
    return float(weighted_N.mean() + eta * weights_N.mean() - eta)

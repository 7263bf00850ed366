"""The adaptation losses as functions of one array and two masks, and their float64 NumPy counterparts.

A counterpart takes the used rows of the two sides, and once more the same rows as constants for what gets no gradient.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import log_softmax, logsumexp, softmax

from llmrec_jax.losses import adaptation

N, D = 40, 6
SCALES = (0.25, 0.5, 1, 2, 4)
DIRECTIONS_QD = adaptation.random_directions(jax.random.key(1), 5, D)
CRITIC_D = np.array([0.5, -1, 2, 0.3, 0, 1], np.float32)
MARGIN, TEMPERATURE = 3.0, 0.5


class Case(NamedTuple):
    loss: Callable  # (rows_ND, is_source_N, is_target_N) -> scalar
    reference: Callable  # (source, target, constant source, constant target) -> float
    used: str = "both"  # "both" sides must have enough rows, or the "target", or the "union"
    enough: int = 2  # rows


def squared_distances(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(axis=-1)


def joint_mmd(source, target, constant_source, constant_target, layers=(slice(0, 2), slice(2, None))):
    both, constant = np.concatenate([source, target]), np.concatenate([constant_source, constant_target])
    kernel = 1.0
    for layer in layers:
        pairs = squared_distances(constant[:, layer], constant[:, layer])[np.triu_indices(len(both), 1)]
        bandwidth = np.sort(pairs)[(len(pairs) - 1) // 2]
        squared = squared_distances(both[:, layer], both[:, layer])
        kernel = kernel * np.mean([np.exp(-squared / (scale * bandwidth)) for scale in SCALES], axis=0)
    n, m = len(source), len(target)
    within_source = (kernel[:n, :n].sum() - np.trace(kernel[:n, :n])) / (n * (n - 1))
    within_target = (kernel[n:, n:].sum() - np.trace(kernel[n:, n:])) / (m * (m - 1))
    return within_source + within_target - 2 * kernel[:n, n:].mean()


def afn(source, target, constant_source, constant_target):
    both, constant = np.concatenate([source, target]), np.concatenate([constant_source, constant_target])
    return np.mean((np.linalg.norm(both, axis=1) - np.linalg.norm(constant, axis=1) - 0.5) ** 2)


def sinkhorn(source, target, constant_source, constant_target):
    epsilon = 0.1 * squared_distances(constant_source, constant_target).mean()

    def transport(x, y):
        cost, f, g = squared_distances(x, y), np.zeros(len(x)), np.zeros(len(y))
        for _ in range(100):
            f = -epsilon * (logsumexp((g[None] - cost) / epsilon, axis=1) - np.log(len(y)))
            g = -epsilon * (logsumexp((f[:, None] - cost) / epsilon, axis=0) - np.log(len(x)))
        plan = np.exp((f[:, None] + g[None] - cost) / epsilon) / (len(x) * len(y))
        return (plan * cost).sum() + epsilon * (plan * np.log(plan * len(x) * len(y) + 1e-300)).sum()

    return transport(source, target) - (transport(source, source) + transport(target, target)) / 2


def sliced_wasserstein(source, target, *_):
    """Copies make the sides equally large: then the k-th smallest are paired."""
    values = []
    for direction in np.asarray(DIRECTIONS_QD, np.float64):
        copies = (
            np.repeat(np.sort(source @ direction), len(target)),
            np.repeat(np.sort(target @ direction), len(source)),
        )
        values.append(np.mean((copies[0] - copies[1]) ** 2))
    return np.mean(values)


def entropy(p):
    return -(p * np.log(p)).sum(axis=1)


def cdan_e(source, target, constant_source, constant_target):
    def side(rows, constant, sign):
        weight, total = (1 + np.exp(-entropy(softmax(x[:, 1:], axis=1))) for x in (rows, constant))
        return (weight * np.log1p(np.exp(sign * (rows[:, 0] - 5)))).sum() / total.sum()

    return (side(source, constant_source, 1) + side(target, constant_target, -1)) / 2


def cdan(source, target, *_):
    return (np.log1p(np.exp(source[:, 0] - 5)).mean() + np.log1p(np.exp(5 - target[:, 0])).mean()) / 2


def wdgrl(source, target, *_):
    return 10 * (np.linalg.norm(CRITIC_D) - 1) ** 2 - ((source @ CRITIC_D).mean() - (target @ CRITIC_D).mean())


def mdd(source, target, *_):
    def p_of_label(rows):
        return softmax(rows[:, 3:], axis=1)[np.arange(len(rows)), rows[:, :3].argmax(axis=1)]

    return -MARGIN * np.log(p_of_label(source)).mean() - np.log(1 - p_of_label(target)).mean()


def information_maximization(_, target, *__):
    p = softmax(target, axis=1)
    return entropy(p).mean() - entropy(p.mean(axis=0)[None])[0]


def mcc(_, target, __, constant_target):
    p, constant = softmax(target / 2.5, axis=1), softmax(constant_target / 2.5, axis=1)
    confusion = p.T @ np.diag(1 + np.exp(-entropy(constant))) @ p
    confusion /= confusion.sum(axis=1, keepdims=True)
    return (confusion.sum() - np.trace(confusion)) / len(confusion)


def bnm(_, target, *__):
    return -np.linalg.norm(softmax(target, axis=1), "nuc") / len(target)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def contrastive(source, target, *_):
    """Row i of the 24 used ones belongs to item i; the items are the rows' last three columns."""
    both = np.concatenate([source, target]) - 5
    score = unit(both[:, :3]) @ unit(both[:, 3:]).T / TEMPERATURE
    return -np.diag(log_softmax(score, axis=1)).mean()


def llm_recg(source, target, *_):
    domains = [source[source[:, 5] <= 5], source[source[:, 5] > 5], target]
    domains = [rows[:, :5] - 5 for rows in domains]
    intra = np.mean([entropy(softmax(3 * unit(rows) @ unit(rows).T, axis=1)).mean() for rows in domains])
    inter = []
    for own, rows in enumerate(domains):
        centers = np.array([other.mean(axis=0) for g, other in enumerate(domains) if g != own])
        inter.extend(entropy(softmax(3 * unit(rows) @ unit(centers).T, axis=1)))
    return len(inter) / 27 * np.mean(inter) - intra


def _contrastive(rows, is_source, is_target):
    used, number = is_source | is_target, jnp.arange(len(rows))
    anchors, items = rows[:, :3] - 5, rows[:, 3:] - 5
    return adaptation.multi_domain_contrastive(anchors, items, number, used, used, temperature=TEMPERATURE)


def _llm_recg(rows, is_source, is_target):
    domain = jnp.where(is_target, 2, (rows[:, 5] > 5).astype(jnp.int32))
    used = is_source | is_target
    return adaptation.llm_recg(rows[:, :5] - 5, domain, used, num_domains=3, sharpness=3.0)


def _cdan_e(rows, is_source, is_target):
    return adaptation.cdan(rows[:, 0] - 5, is_source, is_target, predictions_NI=rows[:, 1:])


def _wdgrl(rows, is_source, is_target):
    critic = lambda points: jnp.matmul(points, CRITIC_D, precision="highest")  # noqa: E731
    return adaptation.wdgrl(critic, rows, is_source, is_target, jax.random.key(0))


CASES = {
    "joint_mmd": Case(lambda rows, *sides: adaptation.joint_mmd((rows[:, :2], rows[:, 2:]), *sides), joint_mmd),
    "afn": Case(lambda rows, *sides: adaptation.afn(rows, *sides, step=0.5), afn, enough=1),
    "sinkhorn": Case(lambda *x: adaptation.sinkhorn(*x, epsilon=0.1, num_iterations=50), sinkhorn),
    "sliced_wasserstein": Case(lambda *x: adaptation.sliced_wasserstein(*x, DIRECTIONS_QD), sliced_wasserstein),
    "cdan": Case(lambda rows, *sides: adaptation.cdan(rows[:, 0] - 5, *sides), cdan, enough=1),
    "cdan_e": Case(_cdan_e, cdan_e, enough=1),
    "wdgrl": Case(_wdgrl, wdgrl, enough=1),
    "mdd": Case(lambda x, *sides: adaptation.mdd(x[:, :3], x[:, 3:], *sides, margin=MARGIN), mdd, enough=1),
    "information_maximization": Case(
        lambda x, _, target: adaptation.information_maximization(x, target), information_maximization, "target"
    ),
    "mcc": Case(lambda rows, _, is_target: adaptation.mcc(rows, is_target), mcc, "target"),
    "bnm": Case(lambda rows, _, is_target: adaptation.bnm(rows, is_target), bnm, "target"),
    "multi_domain_contrastive": Case(_contrastive, contrastive, "union", enough=1),
    "llm_recg": Case(_llm_recg, llm_recg, "union"),
}


def make_rows(seed=0):
    """Rows of two sides of different sizes in random order, with NaN and infinities in those of neither."""
    rng = np.random.default_rng(seed)
    side_N = rng.permutation([0] * 15 + [1] * 9 + [2] * (N - 24))
    rows_ND = np.where((side_N == 1)[:, None], 2 * rng.normal(size=(N, D)) + 6, rng.normal(size=(N, D)) + 5)
    rows_ND[side_N == 2] = rng.choice([np.nan, np.inf, -np.inf, 1e38], size=(N - 24, D))
    return rows_ND.astype(np.float32), side_N == 0, side_N == 1

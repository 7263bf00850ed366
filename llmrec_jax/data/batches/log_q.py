"""Statistics of each item for the losses: its frequency in training events, and in batches (logQ).

I items of the joint catalogue   E training events of a domain's users, end to end
"""

import numpy as np

from llmrec_jax.data.batches.augment import num_kept
from llmrec_jax.data.batches.batch import BatchPlan
from llmrec_jax.data.domains.split import Split

ALMOST_SURE = 1 - 1e-9  # log(1 - p) stays finite
MAX_WEIGHT = 10.0


def log_q(plan: BatchPlan) -> np.ndarray:
    """Log probability that a batch contains an item, float32 [I], to correct an in-batch softmax.

    A step draws each user `rows / users` times on average, each time with a window of `max_history + 1` events. So an
    item is missing from a batch with probability `prod_e (1 - draws * p_e)` over the item's training events e, where
    `p_e` is the probability that the user's window contains e, and that augmentation keeps it. Events are assumed to be
    independent. All values are finite: an item without training events gets the probability of an average event, and an
    item of a domain without rows gets 1 / items. `unlabelled_items`, sampled uniformly from the target's items, and the
    heads of a knowledge graph's triples are included.

    Source: Yi et al., "Sampling-bias-corrected neural modeling for large corpus item recommendations", RecSys 2019.
    """
    log_missing_I = np.zeros(int(plan.starts[-1]))
    for split, users, rows, start, end in zip(
        plan.splits, plan.users, plan.rows, plan.starts[:-1], plan.starts[1:], strict=True
    ):
        if not rows:
            log_missing_I[start:end] = np.log1p(-min(1 / (end - start), ALMOST_SURE))
            continue
        whole, rest = divmod(rows / len(users), 1)  # each user is drawn `whole` or `whole + 1` times
        events = _train_events(split, users)
        shown_E = np.minimum(_window_probability(plan, split, users), ALMOST_SURE)
        log_missing_E = whole * np.log1p(-shown_E) + np.log1p(-rest * shown_E)
        items_E = split.items_E[events]
        sums = np.bincount(items_E, weights=log_missing_E, minlength=end - start)
        never = np.bincount(items_E, minlength=end - start) == 0
        log_missing_I[start:end] = np.where(never, log_missing_E.mean(), sums)
    unlabelled = min(plan.unlabelled_items / int(plan.starts[-1] - plan.starts[-2]), ALMOST_SURE)
    log_missing_I[plan.starts[-2] :] += np.log1p(-unlabelled)
    if plan.graph is not None:
        log_missing_I += plan.graph.log_missing(len(log_missing_I))
    return np.log(-np.expm1(log_missing_I)).astype(np.float32)


def trained_items(plan: BatchPlan) -> np.ndarray:
    """Whether an item occurs in a training event of a user in the plan, bool [I]."""
    trained_I = np.zeros(int(plan.starts[-1]), bool)
    for split, users, rows, start in zip(plan.splits, plan.users, plan.rows, plan.starts[:-1], strict=True):
        if rows:
            trained_I[start + split.items_E[_train_events(split, users)]] = True
    return trained_I


def log_prior(plan: BatchPlan) -> np.ndarray:
    """Log share of an item in the training events of its domain, float32 [I]: `log((n_i + 1) / (N + items))`.

    `n_i` are the item's training events of users in the plan, with weights their sum, and `N` those of all items of the
    domain. The added ones keep the logarithm finite; in a domain without rows all items have the same share.
    """
    found = []
    for split, users, rows, size in zip(plan.splits, plan.users, plan.rows, np.diff(plan.starts), strict=True):
        events = _train_events(split, users if rows else users[:0])
        weights = None if split.weights_E is None else split.weights_E[events]
        count_I = np.bincount(split.items_E[events], weights, minlength=int(size)) + 1.0
        found.append(np.log(count_I / count_I.sum()))
    return np.concatenate(found).astype(np.float32)


def inverse_propensity(log_prior_I: np.ndarray, starts: np.ndarray, power: float) -> np.ndarray:
    """Weights of the predictions of each item, float32 [I]: `prior_i ** -power`, clipped, with mean 1 in a domain.

    The mean is over events that follow the prior, so a domain counts as much as without weights. A weight above
    `MAX_WEIGHT` times the mean is clipped to that, because a few rare items would give gradients a large variance.

    Source: Schnabel et al., "Recommendations as treatments: debiasing learning and evaluation", arXiv:1602.05352, where
    the power is 1; with its propensities estimated by how often an item occurs.

    Args:
      log_prior_I: `log_prior`.
      starts: `BatchPlan.starts`.
      power: alpha; 0 gives weights of 1.
    """
    found = []
    for log_prior_d in np.split(log_prior_I.astype(np.float64), starts[1:-1]):
        weight_d = np.exp(-power * (log_prior_d - log_prior_d.max()))
        for limit in (MAX_WEIGHT, np.inf):
            weight_d = np.minimum(weight_d / np.sum(np.exp(log_prior_d) * weight_d), limit)
        found.append(weight_d)
    return np.concatenate(found).astype(np.float32)


def _train_events(split: Split, users: np.ndarray) -> np.ndarray:
    """Indices into `split.items_E` of the training events of `users`, concatenated."""
    begins, lengths = split.offsets[users], split.train_end[users] - split.offsets[users]
    return np.arange(lengths.sum()) + np.repeat(begins - np.cumsum(lengths) + lengths, lengths)


def _window_probability(plan: BatchPlan, split: Split, users: np.ndarray) -> np.ndarray:
    """The probability [E] that a user's window, with uniformly sampled start, contains each training event.

    With augmentation, times the share of the window that it keeps.
    """
    window, lengths = plan.max_history + 1, split.train_end[users] - split.offsets[users]
    length_E = np.repeat(lengths, lengths)
    position_E = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    last_begin_E = np.maximum(length_E - window, 0)
    begins_E = np.minimum(position_E, last_begin_E) - np.maximum(position_E - window + 1, 0) + 1
    size_E = np.minimum(length_E, window)
    return begins_E / (last_begin_E + 1) * (num_kept(plan.augment, plan.augment_rate, size_E) / size_E)

"""How likely a batch is to hold an item, from the plan alone: what an in-batch softmax is corrected by.

I items of the joint catalogue   E events of a domain
"""

import numpy as np

from llmrec_jax.data.batches.pipeline import BatchPlan


def log_q(plan: BatchPlan) -> np.ndarray:
    """Log probability that a batch holds an item, float32 [I]: the correction of an in-batch softmax.

    With `f` the item's share of its domain's training events and `n` the events of that domain in an average batch,
    `log(1 - (1 - f)^n)`. All are finite: an item without a training event counts as one with one, a domain without rows
    as one with a single draw, and where it has no training events either, from items of equal chance. The unlabelled
    items come on top, each target item with the same chance.

    Sources: Yi et al., Sampling-Bias-Corrected Neural Modeling, RecSys 2019; the expected count of TensorFlow's
    candidate samplers.
    """
    length = plan.max_history + 1
    log_q_I = np.zeros(int(plan.starts[-1]), np.float64)
    for split, users, rows, start, end in zip(
        plan.splits, plan.users, plan.rows, plan.starts[:-1], plan.starts[1:], strict=True
    ):
        trained_E = np.zeros(len(split.items_E) + 1, np.int32)
        trained_E[split.offsets[users]] += 1
        trained_E[split.train_end[users]] -= 1
        events = split.items_E[np.cumsum(trained_E[:-1]) > 0]
        lengths = split.train_end[users] - split.offsets[users]
        draws = rows * np.minimum(lengths, length).mean() if rows else 1.0
        share = np.maximum(np.bincount(events, minlength=end - start), 1) / (len(events) or end - start)
        with np.errstate(divide="ignore"):  # an item that is all of its domain: log1p(-1) is -inf, and log_q 0
            log_q_I[start:end] = np.log(-np.expm1(draws * np.log1p(-share)))
    target_q = np.exp(log_q_I[plan.starts[-2] :])
    target_q += (1 - target_q) * plan.unlabelled_items / len(target_q)
    log_q_I[plan.starts[-2] :] = np.log(target_q)
    return log_q_I.astype(np.float32)

"""Negatives: items that a step samples for a loss that compares each target with a sample of the catalogue.

One sample per domain and step, shared by all predictions of the domain, so its vectors are computed once and scored in
one matrix product.

K negatives of a domain, padded   N negatives of a domain
"""

import math
from collections.abc import Sequence

import numpy as np

from llmrec_jax.data.batches import streams
from llmrec_jax.data.batches.capacity import padded
from llmrec_jax.types import Negatives


def sample(seed: int, step: int, starts: np.ndarray, rows: Sequence[int], num_negatives: int) -> list[np.ndarray]:
    """Distinct items of each domain, uniformly sampled: numbers of the joint catalogue, int64 [N].

    Args:
      seed: of the run.
      step: number of the step.
      starts: `JointCatalog.starts`.
      rows: users of each domain in a batch; a domain without users gets no negatives.
      num_negatives: per domain; a domain with fewer items gives all of them. With 0, the result is empty.
    """
    found: list[np.ndarray] = []
    for domain, start in enumerate(starts[:-1] if num_negatives else ()):
        num_items = int(starts[domain + 1] - start)
        size = min(num_negatives, num_items) if rows[domain] else 0
        rng = np.random.default_rng([seed, streams.NEGATIVES, step, domain])
        found.append(start + rng.choice(num_items, size, replace=False, shuffle=False))
    return found


def padded_to(multiple: int, indices: Sequence[np.ndarray], num_items: np.ndarray) -> tuple[Negatives, ...]:
    """The negatives of the batch, one entry per domain.

    Args:
      multiple: the padded sizes are multiples of this.
      indices: of each domain's negatives [N] in the batch's items.
      num_items: of each domain; its negatives were sampled from them. Not read if `indices` is empty.
    """
    return tuple(
        _padded(index_N, math.ceil(len(index_N) / multiple) * multiple, int(num))
        for index_N, num in zip(indices, num_items, strict=False)
    )


def _padded(index_N: np.ndarray, size: int, num_items: int) -> Negatives:
    log_q_N = np.log(np.full(len(index_N), len(index_N) / num_items))
    return Negatives(*padded(index_N, size), padded(log_q_N, size, np.float32)[0])

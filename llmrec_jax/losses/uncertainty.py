"""Learned weights of the tasks: one log variance per task, a head of the model."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from llmrec_jax.losses.term import Term
from llmrec_jax.types import Array, Head

HEAD = "log_variance_"  # followed by the name of the term


def with_log_variances(terms: Mapping[str, Term], names: Mapping[str, Term]) -> dict[str, Term]:
    """The terms, those in `names` each with a log variance."""
    return {
        name: term._replace(heads={**term.heads, HEAD + name: Head("log_variance")}) if name in names else term
        for name, term in terms.items()
    }


def weighted(
    values: Mapping[str, jax.Array],
    counts: Mapping[str, jax.Array],
    log_variances: Mapping[str, jax.Array],
    num_programs: Array,
) -> dict[str, jax.Array]:
    """`exp(-s) * loss + s / 2` of each task, whose log variance is `s`; the weights of the terms come on top.

    `s` grows where the loss is large and the task with it counts less; `s / 2` keeps it from growing for ever. The
    minimum over `s` is at `exp(s) = 2 loss`. A batch without rows of a task does not change its `s`.

    Source: Kendall, Gal and Cipolla, "Multi-task learning using uncertainty to weigh losses for scene geometry and
    semantics", arXiv:1705.07115, equations 7 and 10.

    Args:
      values: parts of the objective, named TERM/PART; those of other terms are returned as they are.
      counts: the rows of each part in the global batch.
      log_variances: by the name of the term.
      num_programs: how many programs compute `s` and add up their losses: the devices under `pmap`, otherwise 1.
    """
    changed = {
        name: value * jnp.exp(-log_variances[term]) if (term := name.split("/")[0]) in log_variances else value
        for name, value in values.items()
    }
    num_rows = {
        term: sum(count for name, count in counts.items() if name.split("/")[0] == term) for term in log_variances
    }
    return changed | {
        f"{term}/log_variance": jnp.where(num_rows[term] > 0, value / (2 * num_programs), 0.0)
        for term, value in log_variances.items()
    }

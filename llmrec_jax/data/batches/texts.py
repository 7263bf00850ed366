"""Batches of item texts, for the training of a language model; a pure function of (seed, step).

A batch has texts of every length in the same proportions, in a few groups with a padded length each, so that all
steps cost the same and there is little padding. Some texts are held out.

N texts   U texts of a group, padded
"""

import functools
import math
from typing import NamedTuple

import numpy as np

from llmrec_jax.data.batches import streams
from llmrec_jax.data.batches.capacity import padded
from llmrec_jax.data.batches.iterator import Iterator, iterate
from llmrec_jax.data.batches.mixture import users_of_step
from llmrec_jax.data.batches.pipeline import MULTIPLE
from llmrec_jax.types import Items, TextBatch

GROUPS = 4
HELD_OUT, MOST_HELD_OUT = 0.05, 1000  # share of the texts, and their largest number


class TextPlan(NamedTuple):
    """All inputs of `text_batch` except the step. Groups are sorted by length, shortest texts first."""

    groups: tuple[np.ndarray, ...]  # int64: the texts of each group
    rows: tuple[int, ...]  # texts of each group in a batch
    lengths: tuple[int, ...]  # padded length of each group, in tokens
    multiple: int  # padded numbers of texts are multiples of this
    seed: int


def hold_out(num_texts: int, seed: int) -> np.ndarray:
    """The texts that are not trained on, int64, ascending; none of fewer than 20."""
    number = min(int(num_texts * HELD_OUT), MOST_HELD_OUT)
    return np.sort(np.random.default_rng([seed, streams.HELD_OUT_TEXTS]).permutation(num_texts)[:number])


def plan_texts(
    tokens_N: np.ndarray, held_out: np.ndarray, batch_size: int, seed: int, *, num_shards: int = 1
) -> TextPlan:
    """Divide the texts that are not held out into groups of similar length.

    Args:
      tokens_N: number of tokens of each text.
      held_out: the texts that are left out.
      batch_size: texts per batch.
      seed: of their order.
      num_shards: number of shards of a batch.
    """
    texts = np.setdiff1d(np.arange(len(tokens_N)), held_out)
    longest_last = texts[np.argsort(tokens_N[texts], kind="stable")]
    num_groups = min(GROUPS, batch_size, len(texts))
    groups = tuple(np.array_split(longest_last, num_groups))
    rows = tuple(len(part) for part in np.array_split(np.arange(batch_size), num_groups))
    lengths = tuple(int(tokens_N[group].max()) for group in groups)
    return TextPlan(groups, rows, lengths, math.lcm(MULTIPLE, num_shards), seed)


def text_batch(plan: TextPlan, step: int) -> TextBatch:
    """The batch of a step. Each text of a group is in one batch per epoch of the group."""
    parts = []
    for number, (group, rows) in enumerate(zip(plan.groups, plan.rows, strict=True)):
        texts_U = users_of_step(group, rows, step, (plan.seed, streams.TEXTS, number))
        parts.append(Items(*padded(texts_U, -(-rows // plan.multiple) * plan.multiple)))
    return TextBatch(tuple(parts))


def text_batches(plan: TextPlan, num_steps: int) -> Iterator:
    """The batches of steps `0` to `num_steps - 1`; see `pipeline.batches`."""
    return iterate(functools.partial(_batch_of, plan=plan), num_steps)


def _batch_of(step: int, plan: TextPlan) -> TextBatch:
    return text_batch(plan, int(step))

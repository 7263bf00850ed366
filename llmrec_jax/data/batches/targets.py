"""The targets of the auxiliary tasks at the steps of a batch's histories: ratings, clicks in a list.

A rows of a domain that are trained on   N rows of the batch   B users of the batch   W events of a window
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from llmrec_jax.data.batches.capacity import padded


class Table(NamedTuple):
    """The rows of one domain, in the order of `at_A`; each has a history. Dims after A are those of the task."""

    at_A: np.ndarray  # int64, ascending: the history ends before this event of the domain
    items_A: np.ndarray  # int32: numbers of the joint catalogue, -1 on padding
    columns: tuple[np.ndarray, ...]  # what the task reads of each row

    def most(self, steps: int) -> int:
        """The largest number of rows after the steps of a history of `steps` consecutive events."""
        end_A = np.searchsorted(self.at_A, self.at_A + steps)
        return int((end_A - np.arange(len(end_A))).max(initial=0))


class TaskRows(NamedTuple):
    """Rows of a batch before padding, all domains end to end."""

    step_N: np.ndarray
    items_N: np.ndarray
    columns: tuple[np.ndarray, ...]


def of_histories(
    tables: Sequence[Table | None], domain_B: np.ndarray, event_BW: np.ndarray, step_BW: np.ndarray
) -> TaskRows:
    """The rows after each step of the histories.

    Args:
      tables: one per domain, at least one not None; None: without rows.
      domain_B: the domain of each user.
      event_BW: index of each event in its domain; -1 where it is no step of the history.
      step_BW: the step of each event of the history.
    """
    parts = []
    for domain, table in enumerate(tables):
        if table is None:
            continue
        is_step_BW = (event_BW >= 0) & (domain_B == domain)[:, None]
        next_event = event_BW[is_step_BW] + 1
        first, end = (np.searchsorted(table.at_A, next_event, side) for side in ("left", "right"))
        number = end - first
        row_N = np.repeat(first - np.cumsum(number) + number, number) + np.arange(number.sum())
        columns = [column[row_N] for column in table.columns]
        parts.append((np.repeat(step_BW[is_step_BW], number), table.items_A[row_N], *columns))
    step_N, items_N, *columns_N = (np.concatenate(part) for part in zip(*parts, strict=True))
    return TaskRows(step_N, items_N, tuple(columns_N))


def padded_to(size: int, found: TaskRows, place_I: np.ndarray) -> tuple[np.ndarray, ...]:
    """Steps, items, columns and mask [N], padded with zeros; `place_I` is where an item stands among the batch's."""
    step_N, mask_N = padded(found.step_N, size)
    items_N = np.where(found.items_N >= 0, place_I[np.maximum(found.items_N, 0)], 0).astype(np.int32)
    columns = [
        np.concatenate([column, np.zeros((size - len(column), *column.shape[1:]), column.dtype)])
        for column in (items_N, *found.columns)
    ]
    return (step_N, *columns, mask_N)

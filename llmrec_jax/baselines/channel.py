"""A channel: untrained scores of items for a history, as the product of two sparse or dense tables.

    score(u, i) = scale * <profile(u), as_item[i]>,  profile(u) = sum_age decay^age * as_history[item of this age]

Text similarity has the same rows on both sides; in co-purchase, `as_history` is the similarity of items and `as_item`
the identity. Fitting is elsewhere.

Shape letters besides those of `types.py`: V features of a channel, Q items added later.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.history import decayed_weights

FEW = 64  # histories, such as of requests to a server, for which other products are faster than for a whole data set
RARE = 10  # adding an entry of a sparse table by NumPy takes as long as so many of them in SciPy's product
Matrix = Any  # np.ndarray or scipy.sparse.csr_matrix, float32


@dataclasses.dataclass(frozen=True, eq=False)
class Channel:
    """See the file's head. Both tables are dense or both are sparse, unless `as_item_IV` is None: the identity."""

    name: str
    as_history_IV: Matrix
    as_item_IV: Matrix | None
    decay: float
    num_last: int  # items of the history that are read, the most recent ones
    normalize: Literal["l2", "sum"]  # the profile is L2-normalized, or its weights sum to 1
    scale: float = 1.0

    @property
    def num_items(self) -> int:
        """I."""
        return self.as_history_IV.shape[0]

    def scores(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """Histories of item numbers, oldest first -> float32 [N, I]; zeros for an empty history."""
        return sum_of_scores([self], histories)

    def prepare(self) -> None:
        """Compute what the first few scores would have to."""
        if self.as_item_IV is not None:
            _ = self._columns_VI if isinstance(self.as_item_IV, np.ndarray) else self._items_VI

    def sparse_scores(self, histories: Sequence[np.ndarray]) -> Matrix:
        """`scores`, sparse if the tables are."""
        return self.scores_of(self.profile(histories))

    def scores_of(self, profile_NV: Matrix) -> Matrix:
        """The scores of profiles, [N, I], sparse if the tables are."""
        return profile_NV if self.as_item_IV is None else profile_NV @ self._items_VI

    def _few_profiles(self, histories: Sequence[np.ndarray]) -> np.ndarray:
        """`profile` of few histories, dense: SciPy's products take a millisecond however small they are."""
        profile_NV = np.zeros((len(histories), self.as_history_IV.shape[1]), np.float32)
        for profile_V, history in zip(profile_NV, histories, strict=True):
            recent = history[: -self.num_last - 1 : -1]
            weight_S = (self.decay ** np.arange(len(recent))).astype(np.float32)
            _add_rows(profile_V, self.as_history_IV, recent, weight_S)
            size = weight_S.sum() if self.normalize == "sum" else np.linalg.norm(profile_V)
            profile_V *= np.float32(self.scale) / (size if size > 0 else np.float32(1))
        return profile_NV

    def _few_scores_of(self, profile_NV: np.ndarray) -> np.ndarray:
        """`scores_of` dense profiles, dense."""
        if self.as_item_IV is None:
            return profile_NV
        if isinstance(self.as_item_IV, np.ndarray):
            return few_products(profile_NV, self._columns_VI)
        items_VI, scores_NI = self._items_VI, np.zeros((len(profile_NV), self.num_items), np.float32)
        for scores_I, profile_V in zip(scores_NI, profile_NV, strict=True):
            known = np.flatnonzero(profile_V)
            if RARE * (items_VI.indptr[known + 1] - items_VI.indptr[known]).sum() < items_VI.nnz:
                _add_rows(scores_I, items_VI, known, profile_V[known])
            else:
                scores_I[:] = self.as_item_IV @ profile_V
        return scores_NI

    def with_items(self, as_history_QV: Matrix, as_item_QV: Matrix) -> "Channel":
        """A channel with additional items; rows without columns are zeros. With `as_item_IV` None, the items follow
        nothing and nothing follows them."""
        if self.as_item_IV is None:
            size = self.num_items + as_history_QV.shape[0]
            grown = scipy.sparse.csr_matrix(self.as_history_IV, copy=True)
            grown.resize(size, size)
            return dataclasses.replace(self, as_history_IV=grown)
        return dataclasses.replace(
            self,
            as_history_IV=_stacked(self.as_history_IV, as_history_QV),
            as_item_IV=_stacked(self.as_item_IV, as_item_QV),
        )

    def profile(self, histories: Sequence[np.ndarray]) -> Matrix:
        """What the rows `as_item_IV` are multiplied with, the scale included: float32 [N, V]."""
        weights_NI = decayed_weights(histories, self.num_items, self.num_last, self.decay).astype(np.float32)
        profile_NV = weights_NI @ self.as_history_IV
        if self.normalize == "sum":
            size_N = np.asarray(weights_NI.sum(axis=1)).ravel()
        elif scipy.sparse.issparse(profile_NV):
            size_N = np.sqrt(np.asarray(profile_NV.multiply(profile_NV).sum(axis=1)).ravel())
        else:
            size_N = np.linalg.norm(profile_NV, axis=1)
        factor_N = np.float32(self.scale) / np.where(size_N > 0, size_N, 1).astype(np.float32)
        if scipy.sparse.issparse(profile_NV):
            return scipy.sparse.diags(factor_N) @ profile_NV
        return profile_NV * factor_N[:, None]

    @functools.cached_property
    def _columns_VI(self) -> np.ndarray:
        """A dense table, copied: with its rows apart in memory, a product with few profiles takes twice the time."""
        return np.ascontiguousarray(self._items_VI)

    @functools.cached_property
    def _items_VI(self) -> Matrix:
        assert self.as_item_IV is not None
        items_VI = self.as_item_IV.T
        return items_VI.tocsr() if scipy.sparse.issparse(items_VI) else items_VI


def sum_of_scores(channels: Sequence[Channel], histories: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of the channels' scores, float32 [N, I]. Channels with the same rows `as_item_IV` take one product."""
    by_table: dict[int, list[Channel]] = {}
    for channel in channels:
        by_table.setdefault(id(channel.as_item_IV), []).append(channel)
    total_NI = np.zeros((len(histories), channels[0].num_items), np.float32)
    for first, *others in by_table.values():
        if len(histories) <= FEW:
            profile_NV = first._few_profiles(histories)
            for channel in others:
                profile_NV += channel._few_profiles(histories)
            total_NI += first._few_scores_of(profile_NV)
        else:
            profile_NV = sum((channel.profile(histories) for channel in others), first.profile(histories))
            scores_NI = first.scores_of(profile_NV)
            total_NI += scores_NI.toarray() if scipy.sparse.issparse(scores_NI) else scores_NI
    return total_NI


def few_products(rows_NV: np.ndarray, columns_VI: np.ndarray) -> np.ndarray:
    """`rows_NV @ columns_VI` for few rows: one, or a multiple of 4, which OpenBLAS computes faster than 2 or 3 rows."""
    size = len(rows_NV)
    if size > 1:
        rows_NV = np.concatenate([rows_NV, np.zeros((-size % 4, rows_NV.shape[1]), rows_NV.dtype)])
    return (rows_NV @ columns_VI)[:size]


def _add_rows(total_V: np.ndarray, table_IV: Matrix, rows: np.ndarray, weights: np.ndarray) -> None:
    """Add some rows of a table, each times its weight."""
    for row, weight in zip(rows.tolist(), weights, strict=True):
        if isinstance(table_IV, np.ndarray):
            total_V += weight * table_IV[row]
        else:
            of_row = slice(table_IV.indptr[row], table_IV.indptr[row + 1])
            np.add.at(total_V, table_IV.indices[of_row], weight * table_IV.data[of_row])


def _stacked(rows_IV: Matrix, more_QV: Matrix) -> Matrix:
    if scipy.sparse.issparse(rows_IV):
        if not more_QV.shape[1]:
            more_QV = scipy.sparse.csr_matrix((len(more_QV), rows_IV.shape[1]), dtype=rows_IV.dtype)
        return scipy.sparse.vstack([rows_IV, more_QV], format="csr")
    return np.concatenate([rows_IV, more_QV])

"""Approximate recommending for catalogues of millions of items: candidates from an index of usearch, scored exactly.

The dense parts of the answer (text vectors of an encoder, popularity, the trained model) are dot products of a vector
of the history and a vector of the item. These vectors are concatenated and indexed by HNSW (Malkov and Yashunin 2016).
The candidates of a history are the items that the index finds, and those with the largest sums of the other parts,
whose tables are sparse. Their scores are the same as those of the exact computation.

Shape letters besides those of `types.py`: J items of the target, V columns of the index, C candidates.
"""

import importlib

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.channel import Channel
from llmrec_jax.blend.answer import MODEL
from llmrec_jax.errors import UserError
from llmrec_jax.inference.scoring import Candidates, History, Scorer

CANDIDATES = 20  # from each source, for each item asked for; at least MIN_CANDIDATES
MIN_CANDIDATES = 400


class Nearest:
    """An index of the items of one catalogue. Raises UserError if usearch is not installed."""

    def __init__(self, scorer: Scorer):
        """Build the index, in memory."""
        self.catalog = scorer.catalog
        self._vectors_JD = scorer.catalog.vectors_ID[scorer.catalog.target_J]
        known_JD = self._vectors_JD[self._vectors_JD.any(axis=1)].astype(np.float64)
        self._mean_D, self._covariance_DD = known_JD.mean(axis=0), np.cov(known_JD.T, bias=True)
        rows_JV = np.concatenate([*(table for table, _ in _dense(scorer)), self._vectors_JD], axis=1)
        try:
            library = importlib.import_module("usearch.index")
        except ModuleNotFoundError:
            raise UserError("an index needs usearch: pip install 'llmrec_jax[index]'") from None
        # One more column gives all rows the same length, without which HNSW misses most of the best inner products
        # (Bachrach et al. 2014); it is 0 in the query.
        squared_J = np.einsum("jv,jv->j", rows_JV, rows_JV)
        rows_JV = np.column_stack([rows_JV, np.sqrt(squared_J.max() - squared_J)])
        self._index = library.Index(ndim=rows_JV.shape[1], metric="ip", dtype="f32")
        self._index.add(np.arange(len(rows_JV)), np.ascontiguousarray(rows_JV, np.float32))

    def candidates(self, scorer: Scorer, history: History, k: int) -> Candidates:
        """The candidates for the best `k` items of a history with items of the target, and their scores."""
        own, weights = scorer.own(history), scorer.weights
        user_D = scorer.network.user_vectors([self.catalog.vectors_ID[history.numbers]], [history.times])[0]
        deviation = float(np.sqrt(max(user_D @ self._covariance_DD @ user_D, 0.0))) or np.inf
        profiles = [np.sum([w * channel.profile([own])[0] for w, channel in found], axis=0)
                    for _, found in _dense(scorer)]  # fmt: skip
        query_V = np.concatenate([*profiles, weights[MODEL] * user_D / deviation, [0]]).astype(np.float32)
        count = max(CANDIDATES * k, MIN_CANDIDATES) + len(own)
        near = self._index.search(query_V, min(count, len(self._index))).keys
        positions_C = np.union1d(near, _best_sparse(scorer, own, count)).astype(np.int64)
        parts = {
            name: np.float32(weights[name]) * np.sum([_scores(f.channel, own, positions_C) for f in part], axis=0)
            for name, part in self.catalog.channels.items()
            if weights[name]
        }
        if weights[MODEL]:
            vectors_CD = self._vectors_JD[positions_C]
            score_C = (vectors_CD @ user_D - self._mean_D @ user_D) / deviation
            parts[MODEL] = weights[MODEL] * np.where(vectors_CD.any(axis=1), score_C, 0).astype(np.float32)
        return Candidates(positions_C, parts)


def _dense(scorer: Scorer) -> list[tuple[np.ndarray, list[tuple[float, Channel]]]]:
    """Each dense table, with the weights and channels whose profiles are multiplied with it."""
    found: dict[int, tuple[np.ndarray, list[tuple[float, Channel]]]] = {}
    for name, part in scorer.catalog.channels.items():
        for channel, _ in part:
            if isinstance(channel.as_item_IV, np.ndarray) and scorer.weights[name]:
                table = found.setdefault(id(channel.as_item_IV), (channel.as_item_IV, []))
                table[1].append((scorer.weights[name], channel))
    return list(found.values())


def _best_sparse(scorer: Scorer, own: np.ndarray, count: int) -> np.ndarray:
    """The items with the largest sums of the sparse parts; fewer than `count` if only fewer are above zero."""
    total = scipy.sparse.csr_matrix((1, len(scorer.catalog.target_J)), dtype=np.float32)
    for name, part in scorer.catalog.channels.items():
        for channel, _ in part:
            if scorer.weights[name] and not isinstance(channel.as_item_IV, np.ndarray):
                total = total + scorer.weights[name] * channel.sparse_scores([own])
    total = total.tocsr()
    return total.indices[np.argsort(-total.data, kind="stable")[:count]]


def _scores(channel: Channel, own: np.ndarray, positions_C: np.ndarray) -> np.ndarray:
    profile_1V = channel.profile([own])
    if channel.as_item_IV is None:
        scores_1C = profile_1V[:, positions_C]
    else:
        scores_1C = profile_1V @ channel.as_item_IV[positions_C].T
    return (scores_1C.toarray() if scipy.sparse.issparse(scores_1C) else scores_1C)[0]

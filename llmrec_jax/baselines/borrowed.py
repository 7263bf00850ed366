"""Co-purchase and popularity of items without events, borrowed from the items with the most similar texts.

An item without events has no counts, so it would rank below almost all others. Its row as a candidate
(`Channel.as_item_IV`) is therefore a weighted mean of the rows of the nearest items that have events, times a factor
(`SHARE`): its score is that share of the mean of their scores, for every history. In a history it has no counts. Reads
only texts and the counts that the run may see.

Shape letters besides those of `types.py`: V features of a channel, Q items without events, K neighbours.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.channel import Channel, Matrix
from llmrec_jax.baselines.readers import Fitted, comparing

# Chosen on validation events of shops from which a tenth of the items was hidden: see docs/recommend.md.
NEIGHBOURS = 20
TEMPERATURE = 0.25  # of the softmax over similarities; that of a near neighbour is about 1.4
SHARE = {"co_purchase": 0.4, "popularity": 0.25}  # by part
BLOCK = 2**23  # similarities in memory at a time


def with_borrowed_counts(
    parts: Mapping[str, Sequence[Fitted]], cold_Q: np.ndarray, is_counted_I: np.ndarray
) -> dict[str, list[Fitted]]:
    """The parts, in which some items have borrowed counts.

    Args:
      parts: channels by part. Unchanged without a part `text` or without counts.
      cold_Q: numbers of the items that borrow.
      is_counted_I: the items that they borrow from, bool.
    """
    found = {name: list(part) for name, part in parts.items()}
    channels = [fitted.channel for fitted in comparing(found.get("text", []))]
    if not (channels and len(cold_Q) and is_counted_I.any() and SHARE.keys() & found.keys()):
        return found
    weights_QI = neighbour_weights(channels, cold_Q, is_counted_I)
    for name in SHARE.keys() & found.keys():
        found[name] = [
            fitted._replace(channel=_borrowing(fitted.channel, cold_Q, np.float32(SHARE[name]) * weights_QI))
            for fitted in found[name]
        ]
    return found


def neighbour_weights(
    channels: Sequence[Channel], cold_Q: np.ndarray, is_counted_I: np.ndarray
) -> scipy.sparse.csr_matrix:
    """The weights of the K counted items whose texts are the most similar to each item's, float32 [Q, I].

    A softmax over the sum of the channels' similarities; 0 for an item that is not similar at all.
    """
    counted = np.flatnonzero(is_counted_I)
    tables: list[tuple[Matrix, np.float32]] = [(channel.as_item_IV, np.float32(channel.scale)) for channel in channels]
    tables_of_counted = [rows_IV[counted] for rows_IV, _ in tables]
    num_near = min(NEIGHBOURS, len(counted))
    near, weights = [], []
    rows_at_once = max(1, BLOCK // len(counted))
    for start in range(0, len(cold_Q), rows_at_once):
        block = cold_Q[start : start + rows_at_once]
        similar = np.zeros((len(block), len(counted)), np.float32)
        for (rows_IV, scale), counted_IV in zip(tables, tables_of_counted, strict=True):
            similar += scale * _product(rows_IV[block], counted_IV)
        near_QK = np.argpartition(-similar, num_near - 1, axis=1)[:, :num_near]
        similar_QK = np.take_along_axis(similar, near_QK, axis=1)
        near.append(counted[near_QK])
        weight_QK = np.exp((similar_QK - similar_QK.max(axis=1, keepdims=True)) / TEMPERATURE)
        weights.append(weight_QK / weight_QK.sum(axis=1, keepdims=True) * (similar_QK > 0))
    ends = np.arange(len(cold_Q) + 1) * num_near
    entries = np.concatenate(weights).astype(np.float32).ravel(), np.concatenate(near).ravel(), ends
    return scipy.sparse.csr_matrix(entries, shape=(len(cold_Q), len(is_counted_I)))


def _product(rows_QV: Matrix, other_IV: Matrix) -> np.ndarray:
    product_QI = rows_QV @ other_IV.T
    return product_QI.toarray() if scipy.sparse.issparse(product_QI) else product_QI


def _borrowing(channel: Channel, cold_Q: np.ndarray, weights_QI: scipy.sparse.csr_matrix) -> Channel:
    """The channel, in which the rows of the items `cold_Q` as candidates are sums of others' rows."""
    size = channel.num_items
    is_kept_I = np.ones(size, np.float32)
    is_kept_I[cold_Q] = 0
    weights = weights_QI.tocoo()
    borrowed_II = scipy.sparse.csr_matrix((weights.data, (cold_Q[weights.row], weights.col)), shape=(size, size))
    rows_II = (scipy.sparse.diags(is_kept_I, dtype=np.float32) + borrowed_II).tocsr()
    as_item_IV = rows_II if channel.as_item_IV is None else rows_II @ channel.as_item_IV
    return dataclasses.replace(channel, as_item_IV=as_item_IV)

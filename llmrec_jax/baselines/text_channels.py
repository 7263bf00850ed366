"""Rows of the text channels: half-whitened vectors of an encoder, or TF-IDF of some of an item's terms.

The scale of cosines differs between kinds of vectors and between shops. Here they are divided by `nearest_cosine`,
which depends on the texts alone, so that the same weights can be used for every shop.

Fitting all channels of 12,101 items with vectors of width 384 takes 4 to 10 s and 70 MB on two cores. No matrix of
items x items is made: similarities are computed for 100 items at a time.

Shape letters besides those of `types.py`: V features of a channel, B sampled items.
"""

from collections.abc import Sequence

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.channel import Matrix
from llmrec_jax.baselines.readers import Rows, TermReader, VectorReader
from llmrec_jax.baselines.terms import SIMILAR
from llmrec_jax.data.domains.records import Item
from llmrec_jax.data.texts.tfidf import fit_tfidf
from llmrec_jax.data.texts.whitening import half_whitening

SAMPLE, NEAREST = 800, 10  # items whose neighbours are looked at, and neighbours of each
BLOCK = 100  # of these items at a time


def encoder_rows(features_IF: np.ndarray) -> Rows | None:
    """Half-whitened text vectors of a pretrained encoder; None if they are all equal."""
    whitening = half_whitening(features_IF)
    vectors_IF = whitening(features_IF)
    return _similar(vectors_IF, VectorReader(whitening))


def tfidf_rows(items: Sequence[Item], kind: str) -> Rows | None:
    """TF-IDF vectors of the terms of a kind (a key of `terms.SIMILAR`); None if no two items share a term."""
    weights = fit_tfidf([SIMILAR[kind](item, ())[0] for item in items])
    reader = TermReader(kind, weights.terms, weights.idf_V)
    rows_IV, _ = reader.rows(items, _no_features)
    return _similar(rows_IV, reader)


def nearest_cosine(rows_IV: Matrix) -> float:
    """The mean of the 10 largest cosines of an item to others, over 800 sampled items whose row is not zero.

    0 if there are fewer than two items.
    """
    is_sparse = scipy.sparse.issparse(rows_IV)
    known_I = np.flatnonzero(np.diff(rows_IV.indptr) if is_sparse else rows_IV.any(axis=1))
    nearest = min(NEAREST, rows_IV.shape[0] - 1)
    if not len(known_I) or not nearest:
        return 0.0
    sample_B = np.random.default_rng(0).choice(known_I, min(SAMPLE, len(known_I)), replace=False)
    total = 0.0
    for start in range(0, len(sample_B), BLOCK):
        some_B = sample_B[start : start + BLOCK]
        cosine_BI = rows_IV[some_B] @ rows_IV.T
        cosine_BI = cosine_BI.toarray() if is_sparse else cosine_BI
        cosine_BI[np.arange(len(some_B)), some_B] = -np.inf
        total += np.partition(cosine_BI, -nearest, axis=1)[:, -nearest:].mean(axis=1, dtype=np.float64).sum()
    return float(total / len(sample_B))


def _similar(rows_IV: Matrix, reader: TermReader | VectorReader) -> Rows | None:
    """The rows on both sides; None if no item is similar to another."""
    cosine = nearest_cosine(rows_IV)
    return Rows(rows_IV, rows_IV, reader, 1 / cosine) if cosine > 1e-6 else None


def _no_features() -> np.ndarray:
    raise AssertionError("terms need no encoder")

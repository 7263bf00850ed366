"""Readers: make the rows of a channel from items, also from items that are added later.

Stored in a bundle as JSON and arrays.

Shape letters besides those of `types.py`: V features of a channel, Q items added later.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse

from llmrec_jax.baselines.channel import Channel, Matrix
from llmrec_jax.baselines.terms import EQUAL, PRIOR, SIMILAR
from llmrec_jax.data.domains.records import Item
from llmrec_jax.data.texts.tfidf import Tfidf
from llmrec_jax.data.texts.whitening import Whitening

TextFeatures = Callable[[], np.ndarray]  # text vectors of the same items by the pretrained encoder, float32 [Q, F]


class TermReader(NamedTuple):
    """Rows by terms (`terms`): TF-IDF vectors, or 1 for each term."""

    kind: str  # a key of SIMILAR or EQUAL
    terms: tuple[str, ...]
    weight_V: np.ndarray  # float32: idf, or the weight of a match

    def rows(self, items: Sequence[Item], features: TextFeatures) -> tuple[Matrix, Matrix]:
        """Of items in a history, and as candidates: float32 [Q, V]. The same array where both are equal."""
        known = {term: number for number, term in enumerate(self.terms)}
        if self.kind in SIMILAR:
            lists = [SIMILAR[self.kind](item, known)[0] for item in items]
            rows_QV = Tfidf(self.terms, self.weight_V)(lists, PRIOR.get(self.kind, 0.0))
            return rows_QV, rows_QV
        found = [EQUAL[self.kind](item, known) for item in items]
        history_QV, candidate_QV = (_ones([terms[side] for terms in found], known) for side in (0, 1))
        return history_QV.multiply(self.weight_V[None]).tocsr(), candidate_QV


class VectorReader(NamedTuple):
    """Rows that are half-whitened vectors of a pretrained encoder."""

    whitening: Whitening

    def rows(self, items: Sequence[Item], features: TextFeatures) -> tuple[Matrix, Matrix]:
        """The same array twice, float32 [Q, F]."""
        rows_QF = self.whitening(features())
        return rows_QF, rows_QF


class ConstantReader(NamedTuple):
    """Rows of a channel that is the same for every history, such as popularity: items added later score 0."""

    def rows(self, items: Sequence[Item], features: TextFeatures) -> tuple[Matrix, Matrix]:
        """Ones and zeros, float32 [Q, 1]."""
        return np.ones((len(items), 1), np.float32), np.zeros((len(items), 1), np.float32)


class PairReader(NamedTuple):
    """Of a channel that knows only pairs of items: an item added later has none."""

    def rows(self, items: Sequence[Item], features: TextFeatures) -> tuple[Matrix, Matrix]:
        """No columns, float32 [Q, 0]."""
        nothing_Q0 = np.zeros((len(items), 0), np.float32)
        return nothing_Q0, nothing_Q0


Reader: TypeAlias = TermReader | VectorReader | ConstantReader | PairReader


class Rows(NamedTuple):
    """The tables of a channel, fitted to a catalogue (`Channel`)."""

    as_history_IV: Matrix
    as_item_IV: Matrix | None
    reader: Reader
    unit: float = 1.0  # factor that puts the scores on the common scale of all channels


class Fitted(NamedTuple):
    """A channel fitted to a catalogue, and the reader that extends it."""

    channel: Channel
    reader: Reader

    def with_items(self, items: Sequence[Item], features: TextFeatures) -> "Fitted":
        """The channel with additional items; `features` is called only if the channel reads an encoder's vectors."""
        return self._replace(channel=self.channel.with_items(*self.reader.rows(items, features)))


def reader_facts(reader: Reader) -> dict[str, Any]:
    """What a bundle stores of a reader as JSON."""
    if isinstance(reader, TermReader):
        return {"kind": reader.kind, "terms": list(reader.terms)}
    return {"kind": _KIND_OF[type(reader)]}


def reader_arrays(reader: Reader) -> dict[str, np.ndarray]:
    """What a bundle stores of a reader as arrays."""
    if isinstance(reader, TermReader):
        return {"weight": reader.weight_V}
    if isinstance(reader, VectorReader):
        return {"mean": reader.whitening.mean_F, "transform": reader.whitening.transform_FF}
    return {}


def read_reader(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Reader:
    """The reader of these facts and arrays. Raises KeyError or ValueError if they are not those of a reader."""
    kind = facts["kind"]
    if kind in SIMILAR or kind in EQUAL:
        terms, weight_V = tuple(facts["terms"]), arrays["weight"]
        if weight_V.shape != (len(terms),):
            raise ValueError(f"{len(terms)} terms, but weights of shape {weight_V.shape}")
        return TermReader(kind, terms, weight_V)
    if kind == _KIND_OF[VectorReader]:
        return VectorReader(Whitening(arrays["mean"], arrays["transform"]))
    for reader in (ConstantReader, PairReader):
        if kind == _KIND_OF[reader]:
            return reader()
    raise ValueError(f"unknown kind of channel {kind!r}")


_KIND_OF: dict[type, str] = {VectorReader: "half_whitened", ConstantReader: "constant", PairReader: "pairs"}


def _ones(lists: Sequence[Sequence[str]], known: Mapping[str, int]) -> scipy.sparse.csr_matrix:
    """1 where a list has a term, float32 [Q, V]."""
    rows = [[known[term] for term in dict.fromkeys(terms) if term in known] for terms in lists]
    ends = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    columns = np.array([column for row in rows for column in row], np.int64)
    return scipy.sparse.csr_matrix((np.ones(len(columns), np.float32), columns, ends), shape=(len(lists), len(known)))


def comparing(channels: Sequence[Fitted]) -> list[Fitted]:
    """Those of a part that compare two items: a channel named `..._long` is the same table, with a longer history."""
    return [fitted for fitted in channels if not fitted.channel.name.endswith("_long")]


def for_queries(channels: Sequence[Fitted]) -> list[Fitted]:
    """Text channels as they read a query: a word that all items have, such as "the", does not count.

    In an item's text such words weigh little beside the others. But of a query, they may be the only known words. A
    word counts as much as in the channel where it is the most frequent: many titles have no "the", but their texts do.
    """
    readers = [fitted.reader for fitted in channels if isinstance(fitted.reader, TermReader)]
    weights: dict[str, float] = {}
    for reader in readers:
        for term, weight in zip(reader.terms, reader.weight_V.tolist(), strict=True):
            weights[term] = min(weight, weights.get(term, weight))

    def changed(reader: TermReader) -> TermReader:
        weight_V = np.array([weights[term] for term in reader.terms], np.float32)
        return reader._replace(weight_V=weight_V - 1)  # 1 is the weight of a word that all items have

    return [f._replace(reader=changed(f.reader)) if isinstance(f.reader, TermReader) else f for f in channels]

"""TF-IDF vectors of texts, for the k-NN baselines without a pretrained encoder, and of lists of terms.

I items   N lists of terms   V terms
"""

import re
from array import array
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse

from llmrec_jax.errors import UserError

# Scripts written without spaces between words: Han, kana, Thai, Lao, Myanmar, Khmer.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # fmt: skip # noqa: E501
_RUNS = re.compile(f"([{_UNSPACED}]+)|[^\\W{_UNSPACED}]+")


def terms_of(text: str) -> list[str]:
    """The terms of a text, repeats included: words, or character bigrams in scripts without spaces.

    A word is a run of letters, digits and underscores, lowercased.
    """
    terms = []
    for match in _RUNS.finditer(text.lower()):
        run = match.group()
        if match.group(1) and len(run) > 1:
            terms += [run[i : i + 2] for i in range(len(run) - 1)]
        else:
            terms.append(run)
    return terms


class Tfidf(NamedTuple):
    """TF-IDF weights fitted to a catalogue, for lists of terms: `(1 + ln tf) idf`, L2-normalized rows.

    The logarithm keeps a repeated word from outweighing the rest. `idf` as in `tfidf`.
    """

    terms: tuple[str, ...]  # that occur in at least two lists
    idf_V: np.ndarray  # float32

    def __call__(self, lists: Sequence[Sequence[str]], prior: float = 0.0) -> scipy.sparse.csr_matrix:
        """Sparse float32 [N, V]; other terms are ignored, and the row of a list without these terms is empty.

        `prior` is added to the norm that a row is divided by, so that lists of little weight get short rows.
        """
        counts_NV = _counts(lists, {term: number for number, term in enumerate(self.terms)}, grow=False)
        counts_NV.data = 1 + np.log(counts_NV.data)
        return _normalized(counts_NV, self.idf_V, prior)


def fit_tfidf(lists: Sequence[Sequence[str]]) -> Tfidf:
    """Fit to the terms of each item. `terms` is empty if no two items share a term."""
    number_of: dict[str, int] = {}
    df_V = np.bincount(_counts(lists, number_of).indices, minlength=len(number_of))
    kept = df_V >= 2
    terms = tuple(term for term, number in number_of.items() if kept[number])
    return Tfidf(terms, _idf(len(lists), df_V[kept]))


def tfidf(texts: Sequence[str]) -> scipy.sparse.csr_matrix:
    """Term counts times smooth inverse document frequency, L2-normalized rows.

    Keeps only terms that occur in at least two texts: others make no two texts similar.
    `idf = ln((1 + I) / (1 + df)) + 1`, as in scikit-learn.

    Returns:
      Sparse float32 [I, V]; the row of a text without kept terms is empty.

    Raises:
      ValueError: no two texts share a term.
    """
    counts_IV = _counts(map(terms_of, texts), {})
    df_V = np.bincount(counts_IV.indices, minlength=counts_IV.shape[1])
    if not (df_V >= 2).any():
        raise UserError("no two texts share a word")
    return _normalized(counts_IV[:, df_V >= 2], _idf(len(texts), df_V[df_V >= 2]))


def _counts(lists: Iterable[Sequence[str]], number_of: dict[str, int], grow: bool = True) -> scipy.sparse.csr_matrix:
    """How often each list has each term, float32 [N, V]. With `grow`, new terms get a number in `number_of`."""
    numbers, ends = array("i"), array("q", [0])
    for terms in lists:
        if grow:
            numbers.extend(number_of.setdefault(term, len(number_of)) for term in terms)
        else:
            numbers.extend(number_of[term] for term in terms if term in number_of)
        ends.append(len(numbers))
    ones = np.ones(len(numbers), np.float32)
    arrays = ones, np.asarray(numbers), np.asarray(ends)
    counts_NV = scipy.sparse.csr_matrix(arrays, shape=(len(ends) - 1, len(number_of)))
    counts_NV.sum_duplicates()
    return counts_NV


def _idf(num_texts: int, df_V: np.ndarray) -> np.ndarray:
    return (np.log((1 + num_texts) / (1 + df_V)) + 1).astype(np.float32)


def _normalized(counts_NV: scipy.sparse.csr_matrix, idf_V: np.ndarray, prior: float = 0.0) -> scipy.sparse.csr_matrix:
    weights_NV = counts_NV.multiply(idf_V[None]).tocsr()
    weights_NV.eliminate_zeros()  # of terms without weight: a row of nothing else is empty
    norm_N = np.sqrt(np.asarray(weights_NV.multiply(weights_NV).sum(axis=1)).ravel())
    weights_NV.data /= np.repeat(norm_N + np.float32(prior), np.diff(weights_NV.indptr))
    return weights_NV

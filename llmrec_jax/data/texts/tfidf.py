"""TF-IDF vectors of texts, used by the k-NN baselines if no pretrained encoder is given.

I items   V terms
"""

import re
from array import array
from collections.abc import Sequence

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


def tfidf(texts: Sequence[str]) -> scipy.sparse.csr_matrix:
    """Term counts times smooth inverse document frequency, L2-normalized rows.

    Keeps only terms that occur in at least two texts: others make no two texts similar.
    `idf = ln((1 + I) / (1 + df)) + 1`, as in scikit-learn.

    Returns:
      Sparse float32 [I, V]; the row of a text without kept terms is empty.

    Raises:
      ValueError: no two texts share a term.
    """
    number_of: dict[str, int] = {}
    numbers, ends = array("i"), array("q", [0])
    for text in texts:
        numbers.extend(number_of.setdefault(term, len(number_of)) for term in terms_of(text))
        ends.append(len(numbers))
    ones = np.ones(len(numbers), np.float32)
    shape = (len(texts), len(number_of))
    weights_IV = scipy.sparse.csr_matrix((ones, np.asarray(numbers), np.asarray(ends)), shape=shape)
    weights_IV.sum_duplicates()
    df_V = np.bincount(weights_IV.indices, minlength=len(number_of))
    if not (df_V >= 2).any():
        raise UserError("no two texts share a word")
    weights_IV = weights_IV[:, df_V >= 2]
    idf_V = np.log((1 + len(texts)) / (1 + df_V[df_V >= 2])) + 1
    weights_IV = weights_IV.multiply(idf_V.astype(np.float32)[None]).tocsr()
    norm_I = np.sqrt(np.asarray(weights_IV.multiply(weights_IV).sum(axis=1)).ravel())
    weights_IV.data /= np.repeat(norm_I, np.diff(weights_IV.indptr))
    return weights_IV

"""TF-IDF vectors of texts: what the k-NN baselines use where no pretrained encoder is given.

I items   V terms
"""

import collections
import re
from collections.abc import Sequence

import numpy as np


def tfidf(texts: Sequence[str], max_terms: int = 4096) -> np.ndarray:
    """Term count times smooth inverse document frequency, rows of length 1.

    Terms are runs of letters, digits and underscores, lowercased. Kept are those in at least two texts, at most
    `max_terms` of them, the most widespread first (ties by alphabet): a term of one text likens it to no other.
    `idf = ln((1 + I) / (1 + df)) + 1`, as in scikit-learn.

    Returns:
      float32 [I, V]; zeros for a text without a kept term.
    """
    counts = [collections.Counter(re.findall(r"\w+", text.lower())) for text in texts]
    spread = collections.Counter(term for count in counts for term in count)
    terms = sorted((term for term in spread if spread[term] >= 2), key=lambda term: (-spread[term], term))[:max_terms]
    column = {term: index for index, term in enumerate(terms)}
    weights_IV = np.zeros((len(texts), len(terms)), np.float32)
    for row, count in enumerate(counts):
        for term in count.keys() & column.keys():
            weights_IV[row, column[term]] = count[term]
    df_V = np.array([spread[term] for term in terms], np.float32)
    weights_IV *= np.log((1 + len(texts)) / (1 + df_V)) + 1
    norm_I = np.linalg.norm(weights_IV, axis=1, keepdims=True)
    return weights_IV / np.where(norm_I > 0, norm_I, 1)

"""The baselines of every report, made when they are ranked."""

import functools
from collections.abc import Callable
from typing import Any

from llmrec_jax.baselines import counting, text
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.predictor import Predictor


def standard_baselines(
    corpus: Corpus, domain: int, text_vectors: Callable[[], Any]
) -> dict[str, Callable[[], Predictor]]:
    """Constructors of the baselines for one domain; each raises ValueError if the data does not allow it.

    `text_vectors` returns a vector per item, an array or a SciPy sparse matrix [I, F]; it is called at most once.
    """
    features_IF = functools.cache(text_vectors)
    return {
        "popularity": lambda: counting.popularity(corpus.train_counts(domain)),
        "text_knn": lambda: text.text_knn(features_IF()),
        "text_knn_decayed": lambda: text.text_knn_decayed(features_IF()),
        "item_knn": lambda: counting.item_knn(corpus.train_matrix(domain)),
        "ease": lambda: counting.ease(corpus.train_matrix(domain)),
    }

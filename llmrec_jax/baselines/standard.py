"""The baselines of every report, made when they are ranked."""

import functools
from collections.abc import Callable
from typing import Any

from llmrec_jax.baselines import counting, text
from llmrec_jax.baselines.l3ae import l3ae
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.predictor import Predictor


def standard_baselines(
    corpus: Corpus, domain: int, text_vectors: Callable[[], Any]
) -> dict[str, Callable[[str], Predictor]]:
    """Constructors of the baselines for one domain; each raises ValueError if the data does not allow it.

    Their argument is the split whose events are ranked, "valid" or "test"; it matters to a transductive run.
    `text_vectors` returns a vector per item, an array or a SciPy sparse matrix [I, F]; it is called at most once.
    """
    features_IF = functools.cache(text_vectors)
    fitted_ease = functools.cache(lambda before: counting.fit_ease(corpus.train_matrix(domain, before=before)))
    baselines: dict[str, Callable[[str], Predictor]] = {
        "popularity": lambda before: counting.popularity(corpus.train_counts(domain, before=before)),
        "text_knn": lambda _: text.text_knn(features_IF()),
        "text_knn_decayed": lambda _: text.text_knn_decayed(features_IF()),
        "item_knn": lambda before: counting.item_knn(corpus.train_matrix(domain, before=before)),
    }
    if len(corpus.domains[domain].item_ids) <= counting.LARGEST_EASE:
        baselines["ease"] = lambda before: counting.ease(fitted_ease(before))
    else:
        baselines["sparse_ease"] = lambda before: counting.sparse_ease(corpus.train_matrix(domain, before=before))
    return baselines | {"l3ae": lambda before: l3ae(fitted_ease(before), features_IF())}

"""The terms of a run's objective, from its configuration and what its data has."""

import numpy as np

from llmrec_jax.config import Config
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.losses import objective, tasks
from llmrec_jax.losses.term import Term, check


def make_terms(config: Config, corpus: Corpus) -> dict[str, Term]:
    """The terms of a run. Raises ValueError if one of them needs what the regime or the domains do not have."""
    facts = tasks.TaskFacts(num_items=len(corpus.joint), rating_levels=_rating_levels(corpus))
    terms = objective.build(config.loss, config.adapt, len(corpus.domains)) | tasks.terms(config.tasks, facts)
    trained = [domain.name for domain, rows in zip(corpus.domains, corpus.plan.rows, strict=True) if rows]
    lacks = {}
    if not facts.rating_levels:
        lacks["ratings"] = f"the events of {', '.join(trained)}, which are trained on, have none"
    check(terms, lacks)
    return terms


def _rating_levels(corpus: Corpus) -> tuple[float, ...]:
    """The distinct ratings of the training events in the batches, ascending; empty if the batches have no ratings."""
    if not corpus.plan.reads_ratings:
        return ()
    levels: set[float] = set()
    for split, users in zip(corpus.splits, corpus.plan.users, strict=True):
        if split.ratings_E is not None:
            is_trained = np.isin(np.arange(len(split.train_end)), users)
            levels |= set(np.unique(split.ratings_E[split.training_events(is_trained)]).tolist())
    return tuple(sorted(level for level in levels if not np.isnan(level)))

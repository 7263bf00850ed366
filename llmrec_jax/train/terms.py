"""The terms of a run's objective, from its configuration and its data."""

from collections.abc import Mapping
from typing import Any

from llmrec_jax.config import Config
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.errors import UserError
from llmrec_jax.losses import objective, tasks, uncertainty
from llmrec_jax.losses.term import Term, check
from llmrec_jax.train.impressions import training_lists
from llmrec_jax.train.ratings import FEATURES, rating_levels

MOST_LEVELS = 20  # of ratings with tasks.rating=ordinal


def make_terms(config: Config, corpus: Corpus, tokens: Mapping[str, Any] | None = None) -> dict[str, Term]:
    """The terms of a run.

    Args:
      config: of the run.
      corpus: its data.
      tokens: what the head of the language model is made from, see `TaskFacts`; not needed to check the terms.

    Raises:
      ValueError: a term needs what the regime or the domains do not have.
    """
    levels = rating_levels(corpus) if config.tasks.rating != "none" else {}
    graph = corpus.graph
    facts = tasks.TaskFacts(
        rating_levels=tuple(sorted(set().union(*levels.values()))),
        rating_features=FEATURES,
        temperature=config.loss.temperature,
        num_relations=len(graph.relations) if graph else 0,
        num_tails=len(graph.tails) if graph else 0,
        tokens=tokens or {},
    )
    added = tasks.terms(config.tasks, facts)
    terms = objective.build(config.loss, config.adapt, len(corpus.domains)) | added
    if not added and (config.tasks.weighting != "fixed" or config.tasks.log_conflicts):
        field = "log_conflicts" if config.tasks.log_conflicts else f"weighting={config.tasks.weighting}"
        raise UserError(f"tasks.{field} compares tasks, but there is none: set one, such as tasks.rating=mse")
    if config.tasks.weighting == "uncertainty":
        terms = uncertainty.with_log_variances(terms, {"ranking": terms["ranking"], **added})
    trained = [domain.name for domain, rows in zip(corpus.domains, corpus.plan.rows, strict=True) if rows]
    lacks = {}
    if len(facts.rating_levels) < 2:
        one = f"all ratings of {', '.join(levels)} are {facts.rating_levels[0]:g}" if levels else ""
        lacks["ratings"] = one or f"no training event of {', '.join(trained)} has a rating"
    lists = [training_lists(corpus, domain) for domain, rows in enumerate(corpus.plan.rows) if rows]
    if not any(found is not None and len(found[1]) for found in lists):
        lacks["impressions"] = f"no list of {', '.join(trained)} may be trained on (columns impression_id, action)"
    if not graph:
        lacks["triples"] = f"none of {', '.join(domain.name for domain in corpus.domains)} has a kg.tsv with facts"
    if config.encoder.mode == "frozen" or config.model.item_features == "id" or config.encoder.frozen_layers:
        lacks["tokens"] = "they are read with encoder.mode=lora or full and encoder.frozen_layers=0"
    check(terms, lacks)
    if config.tasks.rating == "ordinal":
        _check_levels(levels)
    return terms


def _check_levels(levels: dict[str, tuple[float, ...]]) -> None:
    """Raises ValueError unless the ratings of all domains are steps of one scale."""
    number = len(set().union(*levels.values()))
    problem = ""
    if number > MOST_LEVELS:
        problem = f"a scale of at most {MOST_LEVELS} ratings, but {', '.join(levels)} have {number}"
    elif len({(values[0], values[-1]) for values in levels.values()}) > 1:
        scales = ", ".join(f"{name} from {values[0]:g} to {values[-1]:g}" for name, values in levels.items())
        problem = f"one scale of ratings, but the domains have several: {scales}"
    if problem:
        raise UserError(f"tasks.rating=ordinal is for {problem}; use tasks.rating=mse")

"""The tasks beside the ranking loss, by name: each makes the term of one task from the configuration and the data.

A task of your own is an entry of `TASKS`, made before the configuration is read. Its term is left out where the
function returns None. Shape letters: those of `types`; G thresholds between neighbouring ratings, J items of a list.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llmrec_jax.config import TasksConfig
from llmrec_jax.losses import knowledge_graph, language_model, task_losses
from llmrec_jax.losses.term import Term
from llmrec_jax.types import Array, Head, Mean, Outputs


class TaskFacts(NamedTuple):
    """What the tasks must know of the data to size their heads."""

    rating_levels: tuple[float, ...] = ()  # the distinct ratings, ascending; empty if there are none
    rating_features: int = 0  # width of `Ratings.features_NF`
    temperature: float = 1.0  # of the ranking loss
    num_relations: int = 0  # of the knowledge graph
    num_tails: int = 0
    tokens: Mapping[str, Any] = {}  # options of `models.language_model.TokenHead`


def _rating(config: TasksConfig, facts: TaskFacts) -> Term | None:
    if config.rating == "none":
        return None
    levels = facts.rating_levels if config.rating == "ordinal" else ()

    def term(outputs: Outputs, progress: jax.Array) -> dict[str, Mean]:
        ratings, head = outputs.batch.ratings, outputs.heads["rating"]
        assert ratings is not None, "the batch holds no ratings"
        assert outputs.states_ND is not None
        vectors = outputs.states_ND[ratings.step_N], outputs.items_UD[ratings.item_N]
        scale_N = jnp.where(ratings.mask_N, ratings.scale_N, 1.0)
        predicted_N = head(*vectors, ratings.prior_N, scale_N, ratings.features_NF)
        if levels:
            middle_G = (np.asarray(levels[1:], np.float32) + np.asarray(levels[:-1], np.float32)) / 2
            is_above_NG = ratings.rating_N[:, None] > middle_G[None]
            loss_N = task_losses.ordinal(head.logits(predicted_N, scale_N), is_above_NG)
        else:
            loss_N = task_losses.squared_error(predicted_N, ratings.rating_N, scale_N)
        return {"events": _mean(loss_N, ratings.mask_N)}

    head = Head("rating", {"num_features": facts.rating_features, "levels": levels})
    return Term(term, config.rating_weight, {"rating": head}, ("ratings",))


def _mean(loss_N: jax.Array, mask_N: Array) -> Mean:
    """The mean of the rows in a mask."""
    return Mean(jnp.sum(jnp.where(mask_N, loss_N, 0.0)), jnp.sum(mask_N, dtype=jnp.float32))


def _click(config: TasksConfig, facts: TaskFacts) -> Term | None:
    if not config.click_weight:
        return None

    def term(outputs: Outputs, progress: jax.Array) -> dict[str, Mean]:
        shown = outputs.batch.impressions
        assert shown is not None, "the batch holds no lists of shown items"
        assert outputs.states_ND is not None
        vectors = outputs.states_ND[shown.step_N], outputs.items_UD[shown.item_NJ]
        logits_NJ = jnp.einsum("nd,njd->nj", *vectors, precision="highest") / facts.temperature
        loss_N = task_losses.clicks(logits_NJ, shown.is_shown_NJ | ~shown.mask_N[:, None], shown.is_clicked_NJ)
        return {"lists": _mean(loss_N, shown.mask_N)}

    return Term(term, config.click_weight, needs=("impressions",))


def _knowledge_graph(config: TasksConfig, facts: TaskFacts) -> Term | None:
    if config.knowledge_graph == "none":
        return None
    score = knowledge_graph.SCORES[config.knowledge_graph]

    def term(outputs: Outputs, progress: jax.Array) -> dict[str, Mean]:
        triples = outputs.batch.triples
        assert triples is not None, "the batch holds no triples"
        tail_NK = jnp.concatenate([triples.tail_N[:, None], triples.negative_NK], axis=1)
        relation_ND, tail_NKD, bias_NK = outputs.heads["knowledge_graph"](triples.relation_N, tail_NK)
        loss_N = knowledge_graph.sampled_softmax(
            score,
            knowledge_graph.heads(outputs.items_UD, relation_ND.shape[1])[triples.head_N],
            relation_ND,
            tail_NKD,
            bias_NK=bias_NK,
            is_negative_NK=triples.is_negative_NK,
            log_q_N=triples.log_q_N,
        )
        return {"triples": Mean(jnp.sum(loss_N), jnp.float32(len(loss_N)))}

    head = Head("triples", {"num_relations": facts.num_relations, "num_tails": facts.num_tails})
    return Term(term, config.knowledge_graph_weight, {"knowledge_graph": head}, ("triples",))


def _language_model(config: TasksConfig, facts: TaskFacts) -> Term | None:
    if not config.language_model_weight:
        return None

    def term(outputs: Outputs, progress: jax.Array) -> dict[str, Mean]:
        assert outputs.tokens is not None, "the forward pass predicted no tokens"
        return language_model.token_loss(outputs.tokens, progress)

    return Term(term, config.language_model_weight, {"language_model": Head("tokens", facts.tokens)}, ("tokens",))


TASKS: dict[str, Callable[[TasksConfig, TaskFacts], Term | None]] = {
    "rating": _rating,
    "click": _click,
    "knowledge_graph": _knowledge_graph,
    "language_model": _language_model,
}


def terms(config: TasksConfig, facts: TaskFacts) -> dict[str, Term]:
    """The terms of the tasks of a run, by name."""
    made = {name: make(config, facts) for name, make in TASKS.items()}
    return {name: term for name, term in made.items() if term is not None}

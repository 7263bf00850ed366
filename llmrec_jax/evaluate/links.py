"""Link prediction: where the tail of a held-out triple ranks among all tails of its relation, given the head.

Other true tails of the same head and relation, trained on or held out, are not ranked ("filtered"). The rank is 1 + the
tails with a higher score + half of those with the same.

N held-out triples of a relation   K tails of the relation   J triples of the graph   I items of the joint catalogue
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llmrec_jax.data.batches.triples import Graph
from llmrec_jax.losses.knowledge_graph import Score

HITS = (1, 3, 10)
POPULARITY = "popularity_of_tail"  # the baseline: how many triples with this tail were trained on
BLOCK = 256  # triples scored at a time

Scores = Callable[[int, np.ndarray], np.ndarray]  # (relation, heads [N]) -> scores of its tails, float32 [N, K]


class Embeddings(NamedTuple):
    """What a trained model scores triples by, host arrays."""

    heads_ID: np.ndarray  # of the items, as `losses.knowledge_graph.heads` returns them
    relations: np.ndarray  # [relations, D]
    tails: np.ndarray  # [tails, D]


def link_prediction(
    graph: Graph, score: Score, embeddings: Embeddings, domains: Sequence[tuple[str, int]]
) -> list[dict[str, Any]]:
    """For the report: a row for each method, domain and relation, and one for all relations of a domain.

    Args:
      graph: with its held-out triples.
      score: that the model was trained with.
      embeddings: of the model.
      domains: name and number of items of each domain, in the order of the joint catalogue.

    Returns:
      Rows {"method": "model" or "popularity_of_tail", "domain", "relation" ("all"), "triples", "mrr", "hits@1",
      "hits@3", "hits@10"}; none for a domain without held-out triples.
    """
    methods = {"model": model_scores(graph, score, embeddings), POPULARITY: popularity_scores(graph)}
    held_out = graph.part(is_held_out=True)
    domain_N = np.searchsorted(np.cumsum([size for _, size in domains]), held_out.head_J, side="right")
    rows = []
    for method, scores in methods.items():
        rank_N = ranks(graph, scores)
        for number, (name, _) in enumerate(domains):
            of_domain_N = domain_N == number
            for relation, text in [(None, "all"), *enumerate(graph.relations)]:
                chosen_N = of_domain_N if relation is None else of_domain_N & (held_out.relation_J == relation)
                if chosen_N.any():
                    row = {"method": method, "domain": name, "relation": text, "triples": int(chosen_N.sum())}
                    rows.append(row | metrics(rank_N[chosen_N]))
    return rows


def ranks(graph: Graph, scores: Scores) -> np.ndarray:
    """The rank of the tail of each held-out triple, float64, in the order of `graph.part(True)`.

    Raises FloatingPointError if a score is NaN.
    """
    held_out, found = graph.part(is_held_out=True), np.zeros(int(graph.is_held_out_J.sum()))
    for relation in range(len(graph.relations)):
        rows_N = np.flatnonzero(held_out.relation_J == relation)
        heads_N, start = held_out.head_J[rows_N], graph.starts[relation]
        tail_N = held_out.tail_J[rows_N] - start
        of_relation = graph.relation_J == relation
        known_heads, known_tails = graph.head_J[of_relation], graph.tail_J[of_relation] - start  # sorted by head
        bounds = zip(*(np.searchsorted(known_heads, heads_N, side=side) for side in ("left", "right")), strict=True)
        scores_NK = scores(relation, heads_N)
        if np.isnan(scores_NK).any():
            raise FloatingPointError(f"relation {graph.relations[relation]!r}: a score is NaN")
        for row, scores_K, tail, (begin, end) in zip(rows_N, scores_NK, tail_N, bounds, strict=True):
            true_score = scores_K[tail]
            is_other_K = np.ones(len(scores_K), bool)
            is_other_K[known_tails[begin:end]] = False  # the tail itself is one of them
            others = scores_K[is_other_K]
            found[row] = 1 + np.count_nonzero(others > true_score) + np.count_nonzero(others == true_score) / 2
    return found


def metrics(rank_N: np.ndarray) -> dict[str, float]:
    """The mean reciprocal rank and Hits@k."""
    hits = {f"hits@{k}": float((rank_N <= k).mean()) for k in HITS}
    return {"mrr": float((1 / rank_N).mean()), **hits}


def model_scores(graph: Graph, score: Score, embeddings: Embeddings) -> Scores:
    """The scores of a model."""

    @jax.jit
    def block(heads_ND: jax.Array, relation_D: jax.Array, tails_KD: jax.Array) -> jax.Array:
        return jax.vmap(lambda head_D: score(head_D[None], relation_D[None], tails_KD[None])[0])(heads_ND)

    def scores(relation: int, heads_N: np.ndarray) -> np.ndarray:
        tails_KD = jnp.asarray(embeddings.tails[graph.starts[relation] : graph.starts[relation + 1]])
        relation_D = jnp.asarray(embeddings.relations[relation])
        padded_N = np.resize(heads_N, -(-len(heads_N) // BLOCK) * BLOCK)  # one shape, one compilation
        found = [
            np.asarray(block(jnp.asarray(embeddings.heads_ID[padded_N[n : n + BLOCK]]), relation_D, tails_KD))
            for n in range(0, len(padded_N), BLOCK)
        ]
        return np.concatenate([np.zeros((0, len(tails_KD)), np.float32), *found])[: len(heads_N)]

    return scores


def popularity_scores(graph: Graph) -> Scores:
    """The number of triples with a tail that are not held out."""
    count = np.bincount(graph.part(is_held_out=False).tail_J, minlength=len(graph.tails)).astype(np.float32)

    def scores(relation: int, heads_N: np.ndarray) -> np.ndarray:
        count_K = count[graph.starts[relation] : graph.starts[relation + 1]]
        return np.broadcast_to(count_K, (len(heads_N), len(count_K)))

    return scores

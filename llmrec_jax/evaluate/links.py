"""Link prediction: where the tail of a held-out triple ranks among the tails of its relation, given the head.

Other true tails of the same head and relation, trained on or held out, are not ranked ("filtered", Bordes et al. 2013).
The rank is 1 + the tails with a higher score + half of those with the same. Tails of other relations are known to be
wrong; to rank them last, as in the protocol with all tails of the graph, changes no rank. The baselines:

    popularity_of_tail        the number of training triples with the tail, ranked among all tails of the graph
    popularity_in_relation    the same, ranked among the tails of the relation

N held-out triples of a relation   K tails of the relation   X triples of the graph   I items of the joint catalogue
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from llmrec_jax.data.batches.triples import Graph
from llmrec_jax.losses.knowledge_graph import Score

HITS = (1, 3, 10)
BLOCK = 256  # triples scored at a time

Scores = Callable[[int, np.ndarray], np.ndarray]  # (relation, heads [N]) -> scores of its tails, float32 [N, K]


class Embeddings(NamedTuple):
    """What a trained model scores triples by, host arrays."""

    heads_ID: np.ndarray  # of the items, as `losses.knowledge_graph.heads` returns them
    relations: np.ndarray  # [relations, D]
    tails: np.ndarray  # [tails, D]
    biases: np.ndarray  # [tails]


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
      Rows {"method", "domain", "relation" (or "all"), "triples", "mrr", "hits@1", "hits@3", "hits@10"}; the method is
      "model" or a baseline. None for a domain without held-out triples.
    """
    methods = {
        "model": ranks(graph, model_scores(graph, score, embeddings)),
        "popularity_of_tail": popularity_ranks(graph),
        "popularity_in_relation": ranks(graph, popularity_scores(graph)),
    }
    held_out = graph.part(is_held_out=True)
    domain_N = np.searchsorted(np.cumsum([size for _, size in domains]), held_out.head_X, side="right")
    rows = []
    for method, rank_N in methods.items():
        for number, (name, _) in enumerate(domains):
            of_domain_N = domain_N == number
            for relation, text in [(None, "all"), *enumerate(graph.relations)]:
                chosen_N = of_domain_N if relation is None else of_domain_N & (held_out.relation_X == relation)
                if chosen_N.any():
                    row = {"method": method, "domain": name, "relation": text, "triples": int(chosen_N.sum())}
                    rows.append(row | metrics(rank_N[chosen_N]))
    return rows


def ranks(graph: Graph, scores: Scores) -> np.ndarray:
    """The rank of the tail of each held-out triple, float64, in the order of `graph.part(True)`.

    Raises FloatingPointError if a score is NaN.
    """
    held_out, known = graph.part(is_held_out=True), _known_tails(graph)
    found = np.zeros(len(held_out))
    for relation in range(len(graph.relations)):
        rows_N, start = np.flatnonzero(held_out.relation_X == relation), graph.starts[relation]
        scores_NK = scores(relation, held_out.head_X[rows_N])
        if np.isnan(scores_NK).any():
            raise FloatingPointError(f"relation {graph.relations[relation]!r}: a score is NaN")
        for row, scores_K in zip(rows_N, scores_NK, strict=True):
            found[row] = _rank(scores_K, held_out.tail_X[row] - start, known[row] - start)
    return found


def popularity_ranks(graph: Graph) -> np.ndarray:
    """The ranks by the number of training triples with a tail, among all tails of the graph."""
    held_out, count = graph.part(is_held_out=True), _counts(graph)
    pairs = zip(held_out.tail_X, _known_tails(graph), strict=True)
    return np.array([_rank(count, tail, known) for tail, known in pairs])


def _rank(scores: np.ndarray, tail: int, known: np.ndarray) -> float:
    """The rank of a tail among those that are not `known`; it is one of these."""
    is_other = np.ones(len(scores), bool)
    is_other[known] = False
    others, own = scores[is_other], scores[tail]
    return 1 + np.count_nonzero(others > own) + np.count_nonzero(others == own) / 2


def _known_tails(graph: Graph) -> list[np.ndarray]:
    """For each held-out triple, the true tails of its head and relation."""
    key_X = graph.head_X * len(graph.relations) + graph.relation_X
    order = np.argsort(key_X, kind="stable")
    wanted = key_X[graph.is_held_out_X]
    begins, ends = (np.searchsorted(key_X[order], wanted, side=side) for side in ("left", "right"))
    return [graph.tail_X[order[begin:end]] for begin, end in zip(begins, ends, strict=True)]


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
        bias_K = embeddings.biases[graph.starts[relation] : graph.starts[relation + 1]]
        return np.concatenate([np.zeros((0, len(tails_KD)), np.float32), *found])[: len(heads_N)] + bias_K

    return scores


def popularity_scores(graph: Graph) -> Scores:
    """The number of training triples with a tail."""
    count = _counts(graph)

    def scores(relation: int, heads_N: np.ndarray) -> np.ndarray:
        count_K = count[graph.starts[relation] : graph.starts[relation + 1]]
        return np.broadcast_to(count_K, (len(heads_N), len(count_K)))

    return scores


def _counts(graph: Graph) -> np.ndarray:
    return np.bincount(graph.part(is_held_out=False).tail_X, minlength=len(graph.tails)).astype(np.float32)

"""The knowledge graph of a run's domains in one numbering, and the triples of a training step.

Relations and tails of the same name in two domains are the same. The triples of a step are blocks of consecutive ones,
which are sorted by head, so that few items have to be encoded for them. Each comes with sampled tails of its relation.

X triples of the graph   N triples of a step   K sampled tails of a triple   I items of the joint catalogue
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np

from llmrec_jax.data.batches import streams
from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.graph import held_out
from llmrec_jax.types import Triples

BLOCKS, BLOCK = 64, 8  # of a step, and triples in each; a change increments `batch.BATCH_RULE`
NEGATIVES = 64  # sampled tails of a triple


@dataclasses.dataclass(frozen=True, eq=False)
class Graph:
    """Triples of items of the joint catalogue, sorted by head. The tails of relation r are starts[r]:starts[r + 1]."""

    head_X: np.ndarray  # int64: item number of the joint catalogue
    relation_X: np.ndarray  # int32
    tail_X: np.ndarray  # int32
    is_held_out_X: np.ndarray  # bool: for link prediction; never trained on
    relations: tuple[str, ...]
    tails: tuple[str, ...]
    starts: np.ndarray  # int64 [relations + 1]

    def __len__(self) -> int:
        return len(self.head_X)

    def part(self, is_held_out: bool) -> "Graph":
        """Only the triples that are held out, or only the others."""
        rows = np.flatnonzero(self.is_held_out_X == is_held_out)
        arrays = {name: getattr(self, name)[rows] for name in ("head_X", "relation_X", "tail_X", "is_held_out_X")}
        return dataclasses.replace(self, **arrays)

    @functools.cached_property
    def keys(self) -> np.ndarray:
        """A number for each pair of a head and a tail, ascending, int64 [X]."""
        return np.sort(self.head_X * len(self.tails) + self.tail_X)

    def has(self, head: np.ndarray, tail: np.ndarray) -> np.ndarray:
        """Whether the graph has triples of these heads and tails (arrays that broadcast), bool."""
        wanted = head * len(self.tails) + tail
        place = np.minimum(np.searchsorted(self.keys, wanted), len(self.keys) - 1)
        return self.keys[place] == wanted

    def log_missing(self, num_items: int) -> np.ndarray:
        """Log probability that no triple of a step has the item as its head, float64 [I]."""
        count_I = np.bincount(self.head_X, minlength=num_items)
        covering_I = np.where(count_I > 0, np.minimum(count_I + BLOCK - 1, len(self) - 1), 0)
        return BLOCKS * np.log1p(-covering_I / len(self))


def joint_graph(domains: Sequence[Domain], seed: int) -> Graph:
    """The graphs of all domains; `seed` draws the triples that are held out. It may have no triples."""
    heads, facts, is_out = [], [], []
    start = 0
    for domain in domains:
        if domain.facts:
            sizes = [len(own) for own in domain.facts]
            heads.append(start + np.repeat(np.arange(len(sizes)), sizes))
            facts += [fact for own in domain.facts for fact in own]
            is_out += held_out(domain.item_ids, domain.facts, seed)
        start += len(domain.item_ids)
    pairs = sorted(set(facts))
    relations = tuple(dict.fromkeys(relation for relation, _ in pairs))
    number = {fact: n for n, fact in enumerate(pairs)}
    relation_of = {relation: n for n, relation in enumerate(relations)}
    num_tails = np.bincount([relation_of[relation] for relation, _ in pairs], minlength=len(relations))
    return Graph(
        head_X=np.concatenate([np.zeros(0, np.int64), *heads]),
        relation_X=np.array([relation_of[relation] for relation, _ in facts], np.int32),
        tail_X=np.array([number[fact] for fact in facts], np.int32),
        is_held_out_X=np.concatenate([np.zeros(0, bool), *is_out]),
        relations=relations,
        tails=tuple(tail for _, tail in pairs),
        starts=np.concatenate([[0], np.cumsum(num_tails)]).astype(np.int64),
    )


def num_triples(multiple: int) -> int:
    """The number of triples of a step, N, which is a multiple of `multiple`."""
    return math.lcm(BLOCK, multiple) * -(-BLOCKS * BLOCK // math.lcm(BLOCK, multiple))


def sample(graph: Graph, seed: int, step: int, multiple: int) -> tuple[np.ndarray, Triples]:
    """The triples of a step: the items that are their heads, int64 [N], and the rest, with `head_N` still zero.

    Args:
      graph: triples to train on, at least one.
      seed: of the run.
      step: number of the step.
      multiple: N is a multiple of it.
    """
    rng = np.random.default_rng([seed, streams.TRIPLES, step])
    first = rng.integers(len(graph), size=num_triples(multiple) // BLOCK)
    rows_N = ((first[:, None] + np.arange(BLOCK)) % len(graph)).reshape(-1)
    relation_N, tail_N, head_N = graph.relation_X[rows_N], graph.tail_X[rows_N], graph.head_X[rows_N]
    begin_N, size_N = graph.starts[relation_N], np.diff(graph.starts)[relation_N]
    negative_NK = begin_N[:, None] + rng.integers(size_N[:, None], size=(len(rows_N), NEGATIVES))
    return head_N, Triples(
        head_N=np.zeros(len(rows_N), np.int32),
        relation_N=relation_N,
        tail_N=tail_N,
        negative_NK=negative_NK.astype(np.int32),
        is_negative_NK=~graph.has(head_N[:, None], negative_NK),
        log_q_N=np.log(NEGATIVES / size_N).astype(np.float32),
    )

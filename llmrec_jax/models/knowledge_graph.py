"""The embeddings of the relations and tails of a knowledge graph; its heads are item vectors.

Shape letters besides those of `types`, which in this file differ for K: N triples, K tails of a triple.
"""

from typing import NamedTuple

import jax
from flax import nnx

# An embedding is a parameter times this. The optimizer moves a parameter by about the learning rate in each step, and
# the entries of embeddings have to reach those of heads, which are about 1, in some hundred steps.
SCALE = 10.0


class Embedded(NamedTuple):
    """The embeddings of triples."""

    relation_ND: jax.Array
    tail_NKD: jax.Array
    bias_NK: jax.Array  # of the tails: how likely they are, whatever the head


class TripleEmbeddings(nnx.Module):
    """Relations [N] and tails [N, K] -> their embeddings."""

    def __init__(self, width: int, *, num_relations: int, num_tails: int, rngs: nnx.Rngs):
        """`width` is that of the item vectors."""
        small, large = nnx.initializers.normal(0.01), nnx.initializers.normal(0.05)
        self.relations = nnx.Embed(num_relations, width, embedding_init=large, rngs=rngs)
        self.tails = nnx.Embed(num_tails, width, embedding_init=small, rngs=rngs)
        self.biases = nnx.Embed(num_tails, 1, embedding_init=nnx.initializers.zeros, rngs=rngs)

    def __call__(self, relation_N: jax.Array, tail_NK: jax.Array) -> Embedded:
        """The embeddings, float32."""
        return Embedded(
            SCALE * self.relations(relation_N), SCALE * self.tails(tail_NK), SCALE * self.biases(tail_NK)[..., 0]
        )

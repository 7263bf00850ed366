"""The step benchmark: its model FLOPs equal those that the compiler counts."""

import jax
import numpy as np
import pytest
from flax import nnx

from benchmarks.step import stack_flops
from llmrec_jax.models.bert import Bert, BertConfig
from llmrec_jax.models.lora import add_adapters, is_adapter
from llmrec_jax.train.state import join, partition


@pytest.mark.parametrize("rank", [0, 64])
def test_flops_of_a_layer_are_those_that_xla_counts(rank):
    """In a loop over the layers, which XLA's count takes for one turn; there are a few percent beside the products."""
    config = BertConfig(vocab_size=8, max_positions=32, width=256, num_layers=3, num_heads=4, dropout=0.0, remat="none")
    encoder = Bert(config, rngs=nnx.Rngs(0))
    if rank:
        add_adapters(encoder, rank, 1.0, rngs=nnx.Rngs(1))
    graphdef, state = nnx.split(encoder)
    learning, fixed = partition(nnx.to_pure_dict(state), is_adapter if rank else lambda _: True)
    tokens_BL, mask_BL = np.ones((4, 32), np.int32), np.ones((4, 32), bool)

    def loss(learning, fixed):
        return nnx.merge(graphdef, join(learning, fixed))(tokens_BL, mask_BL).sum()

    counted = jax.jit(jax.grad(loss)).lower(learning, fixed).compile().cost_analysis()["flops"]
    one_layer = stack_flops(config, np.full(4, 32), rank) / config.num_layers
    assert one_layer == pytest.approx(counted, rel=0.1)

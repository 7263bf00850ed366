"""Adapters change no output before training; after training they are merged into the weights that are saved."""

import jax
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.models import from_pretrained, save_pretrained
from llmrec_jax.models.architectures import new_encoder
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.models.gpt2 import Gpt2Config
from llmrec_jax.models.lora import add_adapters, merge_adapters

SIZES = {"vocab_size": 50, "max_positions": 8, "width": 16, "num_layers": 2, "num_heads": 2}
ALPHA = 12.0


@pytest.mark.parametrize("config", [BertConfig(**SIZES), Gpt2Config(**SIZES)], ids=["bert", "gpt2"])
def test_adapters_start_as_nothing_and_end_as_weights(config, tmp_path):
    rng = np.random.default_rng(0)
    tokens_BL, mask_BL = rng.integers(50, size=(3, 8)), np.arange(8) < np.array([[8], [3], [5]])
    before, adapted = (new_encoder(config, nnx.Rngs(1)) for _ in range(2))
    add_adapters(adapted, rank=3, alpha=ALPHA, rngs=nnx.Rngs(2))
    np.testing.assert_array_equal(adapted(tokens_BL, mask_BL), before(tokens_BL, mask_BL))

    graphdef, params = nnx.split(adapted)
    params = jax.tree.map(lambda x: x + 0.1 * rng.standard_normal(x.shape, np.float32), params)
    adapted = nnx.merge(graphdef, params)
    expected_BLD = adapted(tokens_BL, mask_BL)
    assert np.abs(expected_BLD - before(tokens_BL, mask_BL)).max() > 0.1

    merged = merge_adapters(nnx.to_pure_dict(params), ALPHA)
    save_pretrained(nnx.merge(nnx.graphdef(before), merged), tmp_path)
    np.testing.assert_allclose(from_pretrained(tmp_path)(tokens_BL, mask_BL), expected_BLD, atol=1e-5)

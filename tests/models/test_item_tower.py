"""The item tower with fixed text vectors and bounded id vectors."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.item_tower import ItemTower

NUM_ITEMS, FEATURES, WIDTH = 6, 10, 4
ITEMS = jnp.arange(NUM_ITEMS)
TRAINED = jnp.array([1, 1, 1, 1, 1, 0], bool)


@pytest.fixture(scope="module")
def features_IF():
    return jnp.asarray(np.random.default_rng(0).normal(size=(NUM_ITEMS, FEATURES)), jnp.float32)


def tower(features, **config):
    made = ModelConfig(item_features=features, width=WIDTH, **config)
    return ItemTower(made, num_items=NUM_ITEMS, feature_width=FEATURES, rngs=nnx.Rngs(0))


def test_a_fixed_text_vector_has_the_last_components_and_no_parameters(features_IF):
    made = tower("text", text_map="fixed")
    assert not nnx.state(made)
    expected_ID = features_IF[:, -WIDTH:] / np.linalg.norm(features_IF[:, -WIDTH:], axis=1, keepdims=True)
    np.testing.assert_allclose(made(features_IF, ITEMS, TRAINED), expected_ID, 1e-5)


@pytest.mark.parametrize("text_map", ["fixed", "trained"])
def test_an_id_vector_moves_an_item_by_its_bound_at_most(features_IF, text_map):
    made = tower("text+id", text_map=text_map, max_id_norm=0.5)
    text_ID = made(features_IF, ITEMS, TRAINED)
    np.testing.assert_allclose(np.linalg.norm(text_ID, axis=1), 1, 1e-5)
    moves_ID = np.random.default_rng(1).normal(size=(NUM_ITEMS, WIDTH))
    moves_ID *= np.array([0, 0.3, 0.49, 0.51, 9, 9])[:, None] / np.linalg.norm(moves_ID, axis=1, keepdims=True)
    made.ids.embedding[...] = jnp.asarray(moves_ID, jnp.float32)
    moved_ID = made(features_IF, ITEMS, TRAINED) - text_ID
    np.testing.assert_allclose(np.linalg.norm(moved_ID, axis=1), [0, 0.3, 0.49, 0.5, 0.5, 0], atol=1e-5)
    np.testing.assert_allclose(moved_ID[1], moves_ID[1], atol=1e-5)  # within the bound it is not changed


def test_a_width_beyond_the_features_is_filled_with_zeros(features_IF):
    wide = ItemTower(ModelConfig(width=FEATURES + 2, text_map="fixed"), num_items=1, feature_width=FEATURES,
                     rngs=nnx.Rngs(0))  # fmt: skip
    vectors_ID = wide(features_IF, ITEMS, TRAINED)
    np.testing.assert_array_equal(vectors_ID[:, :2], 0)
    unit_IF = features_IF / np.linalg.norm(features_IF, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors_ID[:, 2:], unit_IF, 1e-5)

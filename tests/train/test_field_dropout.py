"""Fields left out at random: a training step reads some items by their title alone, nothing else ever does."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.config import Config, DataConfig, MeshConfig, ModelConfig, validate
from llmrec_jax.train import experiment as experiment_lib
from tests.train.tiny import SEVERAL_BUCKETS, assert_same_step, gradients_and_metrics, pretrained_config, tiny_config

RATE = 0.4


def build(config, **encoder):
    data = dataclasses.replace(config.data, field_dropout=RATE)
    return experiment_lib.build(
        dataclasses.replace(config, data=data, encoder=dataclasses.replace(config.encoder, **encoder))
    )


@pytest.mark.parametrize(
    "encoder",
    [{"chunk_size": 48}, {"mode": "frozen"}, {"frozen_layers": 1}],
    ids=["in the step, in chunks", "frozen", "frozen layers"],
)
def test_a_step_reads_some_items_by_their_title_alone(encoder, tmp_path):
    config = pretrained_config(tmp_path, "bert", num_layers=2)
    experiment = build(config, **encoder)
    titles = experiment.corpus.joint.titles
    params = experiment.with_pretrained(jax.jit(experiment.init_state)()).params
    model, items_U = nnx.merge(experiment.graphdef, params), np.arange(len(titles))
    catalog = jax.device_put(experiment.catalog)

    def vectors(key, rate):
        encode = jax.jit(lambda key: model.encode_items(items_U, catalog, key, field_dropout=rate))
        return np.asarray(encode(key))

    whole_UD, title_UD, some_UD = (vectors(jax.random.key(1), rate) for rate in (0.0, 1.0, RATE))
    is_title_U, is_whole_U = (np.abs(some_UD - known).max(axis=1) < 1e-5 for known in (title_UD, whole_UD))
    assert (is_title_U | is_whole_U).all()
    assert 0.3 < (is_title_U & ~is_whole_U).mean() < 0.5
    np.testing.assert_allclose(vectors(None, RATE), whole_UD, atol=1e-6)  # neither evaluation nor inference

    # The second half of the catalogue's texts are the titles.
    if experiment.catalog.tokens_IL is not None:
        rows = len(titles) + np.array([0, 7, 99])
        for row in rows:
            tokens = experiment.catalog.tokens_IL[row][experiment.catalog.token_mask_IL[row]]
            assert tokens.tolist() == experiment.tokenizer.encode(titles[row - len(titles)]).ids


def test_the_same_items_are_read_by_title_on_every_mesh(tmp_path):
    config = tiny_config(tmp_path, sources=(), **SEVERAL_BUCKETS)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, user_tower="mean"),
        adapt=dataclasses.replace(config.adapt, method="none"),
    )
    experiment = build(config)
    expected = gradients_and_metrics(experiment, MeshConfig(data=1))
    assert_same_step(gradients_and_metrics(experiment, MeshConfig(data=2, fsdp=2, tensor=2)), expected)
    _, without = gradients_and_metrics(experiment_lib.build(config), MeshConfig(data=1))
    assert abs(expected[1]["loss"] - without["loss"]) > 1e-4


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ({"data": DataConfig(field_dropout=1.0)}, r"data\.field_dropout=1\.0 must be at least 0 and below 1"),
        ({"data": DataConfig(field_dropout=-0.1)}, r"data\.field_dropout=-0\.1 must be"),
        (
            {"data": DataConfig(field_dropout=0.5), "model": ModelConfig(item_features="id")},
            r"data\.field_dropout=0\.5, but model\.item_features=id reads no text",
        ),
    ],
)
def test_refusals(sections, problem):
    with pytest.raises(ValueError, match=problem):
        validate(Config(**sections))

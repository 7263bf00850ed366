"""Field dropout: training steps read only the title of some items; evaluation and inference read the whole text."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.config import Config, DataConfig, MeshConfig, ModelConfig, validate
from llmrec_jax.train import experiment as experiment_lib
from tests.train.tiny import assert_same_step, gradients_and_metrics, pretrained_config, tiny_config

RATE = 0.4


def build(config, **encoder):
    data = dataclasses.replace(config.data, field_dropout=RATE)
    return experiment_lib.build(
        dataclasses.replace(config, data=data, encoder=dataclasses.replace(config.encoder, **encoder))
    )


@pytest.mark.parametrize(
    "encoder", [{"frozen_layers": 1, "chunk_size": 48}, {"mode": "frozen"}], ids=["in the step, in chunks", "frozen"]
)
def test_a_step_reads_some_items_by_their_title_alone(encoder, tmp_path):
    config = pretrained_config(tmp_path, "bert", num_layers=2)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, item_features="text"))
    experiment = build(config, **encoder)
    titles = experiment.corpus.joint.titles
    params = experiment.with_pretrained(experiment.init_state()).params
    model, catalog = nnx.merge(experiment.graphdef, params), jax.device_put(experiment.catalog)
    encode = jax.jit(
        lambda items_U, key: model.scored_items(
            model.raw_items(items_U, catalog, key, field_dropout=RATE), items_U, catalog
        )
    )

    # Without a key, in evaluation and inference, nothing is drawn. The catalogue's second half are the titles.
    whole_UD, title_UD = np.split(np.asarray(encode(np.arange(2 * len(titles)), None)), 2)
    assert (np.abs(whole_UD - title_UD).max(axis=1) > 1e-3).all()
    some_UD = np.asarray(encode(np.arange(len(titles)), jax.random.key(1)))
    is_whole_U, is_title_U = (np.abs(some_UD - known_UD).max(axis=1) < 1e-5 for known_UD in (whole_UD, title_UD))
    assert (is_title_U != is_whole_U).all()
    assert abs(is_title_U.mean() - RATE) < 0.08
    if catalog.token_mask_IL is not None:
        lengths = [len(experiment.data.tokenizer.encode(title).ids) for title in titles]
        assert catalog.token_mask_IL[len(titles) :].sum(axis=1).tolist() == lengths


def test_the_same_items_are_read_by_title_on_every_mesh():
    config = tiny_config(sources=())
    config = dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, num_layers=1),
        model=dataclasses.replace(config.model, user_tower="mean"),
        adapt=dataclasses.replace(config.adapt, method="none"),
    )
    experiment = build(config)
    expected = gradients_and_metrics(experiment, MeshConfig(data=1))
    assert_same_step(gradients_and_metrics(experiment, MeshConfig(data=2, fsdp=2, tensor=2)), expected)


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

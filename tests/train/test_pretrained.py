"""Training starts from the pretrained encoder, on any mesh; the baselines use it unchanged."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import nnx

from llmrec_jax.config import MeshConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.domains import demo
from llmrec_jax.data.texts.tokenizer import train_tokenizer
from llmrec_jax.models import save_pretrained
from llmrec_jax.models.architectures import new_encoder
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.step import train_step
from tests.train.tiny import tiny_config

POSITIONS = 20


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    tokenizer = train_tokenizer([item.title for item in demo._items("books")[0]], "bert", 300)
    sizes = BertConfig(vocab_size=300, max_positions=POSITIONS, width=32, num_layers=1, num_heads=2, dropout=0.0)
    save_pretrained(new_encoder(sizes, nnx.Rngs(7)), folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = tiny_config(sources=())
    encoder = dataclasses.replace(config.encoder, pretrained=str(folder), mode="full")
    model = dataclasses.replace(config.model, user_tower="mean")
    adapt = dataclasses.replace(config.adapt, method="none")
    return dataclasses.replace(config, encoder=encoder, model=model, adapt=adapt)


@pytest.mark.parametrize("mesh", [MeshConfig(data=1), MeshConfig(data=1, fsdp=8)])
def test_training_starts_there_and_leaves_it_alone(config, mesh):
    experiment = experiment_lib.build(config)
    pretrained = jax.device_get(nnx.to_pure_dict(nnx.state(experiment.data.pretrained)))
    layout = make_layout(mesh)
    state = layout.to_global(layout.init(experiment.init_state))
    random = jax.tree.map(lambda x: x.sharding, state)
    state = experiment.with_pretrained(state)
    assert jax.tree.map(lambda x: x.sharding, state) == random
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state.params["encoder"]), pretrained)

    state = layout.from_global(state)
    step = layout.compile(functools.partial(train_step, spec=experiment.spec), state)
    batch = layout.put_batch(make_batch(experiment.corpus.plan, 0))
    _, metrics = step(state, batch, layout.put_whole(experiment.catalog))
    assert np.isfinite(layout.metrics(metrics)["loss"])
    jax.tree.map(np.testing.assert_array_equal, nnx.to_pure_dict(nnx.state(experiment.data.pretrained)), pretrained)
    assert list(experiment.data.baselines) == ["popularity", "text_knn", "text_knn_decayed", "item_knn", "ease", "l3ae"]


def test_more_tokens_than_positions_are_refused(config):
    data = dataclasses.replace(config.data, max_tokens=POSITIONS + 1)
    with pytest.raises(ValueError, match=rf"data\.max_tokens=21, but .* has {POSITIONS} positions"):
        experiment_lib.build(dataclasses.replace(config, data=data))

"""Runs on the same data share what is prepared: a run assembled from shared data is the run built alone."""

import dataclasses

import jax
import numpy as np
import pytest

from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.errors import UserError
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train import prepared
from tests.train.tiny import tiny_config


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_config(tmp_path_factory.mktemp("cache"), sources=())


def other(config, **sections):
    changed = {name: dataclasses.replace(getattr(config, name), **fields) for name, fields in sections.items()}
    return dataclasses.replace(config, seed=7, **changed)


def test_another_seed_and_optimizer_on_shared_data_equal_a_run_built_alone(config, monkeypatch):
    config = dataclasses.replace(config, adapt=dataclasses.replace(config.adapt, method="none"))
    data = prepared.prepare(config)
    changed = other(config, optim={"learning_rate": 0.1}, train={"batch_size": 8}, loss={"ranking": "softmax"})
    alone = experiment_lib.build(changed)
    monkeypatch.setattr("llmrec_jax.data.corpus.load_domain", None)  # nothing is read again
    shared = experiment_lib.assemble(data, changed)
    assert shared.config == alone.config == changed
    assert shared.corpus.hashes == alone.corpus.hashes != data.corpus.hashes
    jax.tree.map(np.testing.assert_array_equal, shared.catalog, alone.catalog)
    for step in (0, 5):
        jax.tree.map(np.testing.assert_array_equal, *(make_batch(run.corpus.plan, step) for run in (shared, alone)))
    assert shared.data.baselines["popularity"]("test") is data.baselines["popularity"]("test")  # counted once


def test_a_run_that_needs_other_data_is_refused_with_the_fields(config):
    config = dataclasses.replace(config, adapt=dataclasses.replace(config.adapt, method="none"))
    data = prepared.prepare(config)
    changed = other(config, data={"max_tokens": 14}, encoder={"width": 32}, model={"width": 32})
    with pytest.raises(UserError) as raised:
        experiment_lib.assemble(data, changed)
    assert str(raised.value).split("\n  ") == [
        "the data was prepared with another configuration: prepare it again",
        "data.max_tokens: 12 there, 14 here",
        "encoder.width: 16 there, 32 here",
    ]

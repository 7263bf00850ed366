"""The training of a language model: the same step on any devices, and who is trained."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx, traverse_util

from llmrec_jax.config import MeshConfig
from llmrec_jax.errors import UserError
from llmrec_jax.inference import bundle
from llmrec_jax.losses.language_model import token_loss
from llmrec_jax.models.bert import BertConfig
from llmrec_jax.train import language_model
from llmrec_jax.train.encoder import mask_rule
from llmrec_jax.train.evaluation import evaluate_run
from llmrec_jax.train.prepared import prepare
from llmrec_jax.train.workdir import claim
from llmrec_jax.types import SINGLE_DEVICE
from tests.train.tiny import assert_same_step, gradients_and_metrics, pretrained_config, tiny_config


def of_texts(config, **encoder):
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, objective="language_model"),
        encoder=dataclasses.replace(config.encoder, **encoder),
    )


def test_masks_loss_and_gradients_equal_one_device(monkeypatch):
    """Under `jit` the gradients of a mesh are those of one device by construction; the step is compiled for two."""
    monkeypatch.setattr("llmrec_jax.data.batches.texts.GROUPS", 1)  # quick to compile
    config = of_texts(tiny_config(sources=()), num_layers=1)
    run = language_model.assemble(prepare(config), config)

    def loss(params):
        outputs = run.spec.forward(params, next(run.batches()), run.catalog, key, SINGLE_DEVICE)
        mean = token_loss(outputs, 0.0)["tokens"]
        return mean.total / mean.size

    state = run.init_state()
    key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), 0)
    expected = float(jax.jit(loss)(state.params))
    assert expected == pytest.approx(np.log(run.encoder_config.vocab_size), rel=0.05)  # untrained
    found = []
    for mesh in (MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(mode="pmap", data=8)):
        meshed = dataclasses.replace(config, mesh=mesh)
        found.append(gradients_and_metrics(language_model.assemble(run.data, meshed), mesh))
        assert found[-1][1]["loss"] == pytest.approx(expected, rel=1e-5)
        assert found[-1][1]["items"] == config.train.batch_size
    assert_same_step(*found)


def test_with_lora_the_adapters_and_the_output_layer_are_trained(tmp_path):
    config = of_texts(pretrained_config(tmp_path / "encoder", "bert", 1), mode="lora")
    run = language_model.assemble(prepare(config), config)
    state = run.start(run.init_state())
    tokens = state.params["encoder"]["tokens"]["embedding"]
    np.testing.assert_array_equal(tokens, nnx.to_pure_dict(nnx.state(run.data.pretrained))["tokens"]["embedding"])
    trained = {path for path in traverse_util.flatten_dict(state.params) if run.spec.trains(path)}
    assert {path[0] for path in trained} == {"encoder", "transform", "norm", "bias"}
    assert {path[-1] for path in trained if path[0] == "encoder"} == {"lora_a", "lora_b"}


def test_a_tokenizer_without_a_mask_token_is_refused():
    data = prepare(of_texts(tiny_config(sources=()), kind="gpt2"))
    with pytest.raises(UserError, match=r"masks tokens, but the tokenizer has no \[MASK\] or <mask>"):
        mask_rule(BertConfig(), data.tokenizer)


def test_the_work_folder_of_a_language_model_is_not_taken_for_a_recommender(tmp_path):
    claim(tmp_path, of_texts(tiny_config()))
    with pytest.raises(UserError, match=r"is a run with train.objective=language_model and has no recommender"):
        evaluate_run(tmp_path)
    with pytest.raises(
        UserError,
        match=r"config\.json: a run with train.objective=language_model, which writes encoder/ and no bundle/",
    ):
        bundle.load(tmp_path)

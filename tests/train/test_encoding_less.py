"""Adapters, cached frozen layers and chunks save compute or memory without changing the results."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks.aot.program import matmul_flops
from llmrec_jax.config import Config, EncoderConfig, LossConfig, MeshConfig, validate
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.models.rec_model import _in_chunks
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.step import train_step
from tests.train.tiny import assert_same_step, gradients_and_metrics, pretrained_config, shaken

ONE = MeshConfig(data=1)
LAYERS = 3
only_bert = pytest.mark.parametrize("config", ["bert"], indirect=True)


@pytest.fixture(scope="module", params=["bert", "gpt2"])
def config(request, tmp_path_factory):
    """Of a run that starts from a pretrained encoder."""
    return pretrained_config(tmp_path_factory.mktemp("pretrained"), request.param, LAYERS)


def build(config, **encoder):
    return experiment_lib.build(dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, **encoder)))


def traced(experiment):
    """The step on one device."""
    step = jax.jit(lambda *args: train_step(*args, spec=experiment.spec))
    state, batch = jax.eval_shape(experiment.init_state), make_batch(experiment.corpus.plan, 0)
    return step.trace(state, batch, experiment.catalog)


def num_bytes(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def full(config):
    experiment = build(config)
    return experiment, params_of(experiment)


@pytest.fixture(scope="module")
def step_of_full(full):
    """The gradients and metrics of the whole encoder."""
    return gradients_and_metrics(full[0], ONE, full[1])


def params_of(experiment, towers=None):
    """Parameters to start from, the towers' those of `towers` where given; whole host arrays."""
    params = jax.device_get(experiment.with_pretrained(experiment.init_state()).params)
    return params if towers is None else {**towers, "encoder": params["encoder"]}


def test_layers_above_cached_ones_learn_as_if_all_ran_in_the_step(full, step_of_full):
    (experiment, params), (gradients, metrics) = full, step_of_full
    frozen = build(experiment.config, frozen_layers=2)
    assert frozen.catalog.tokens_IL is None
    assert len(frozen.catalog.hidden_TF) == frozen.catalog.token_mask_IL.sum()
    got, got_metrics = gradients_and_metrics(frozen, ONE, params_of(frozen, params))

    above = jax.tree.map(lambda x: x[2:], gradients["encoder"]["stack"])
    kept = {name: gradients["encoder"][name] for name in got["encoder"].keys() - {"stack"}}
    expected = {**gradients, "encoder": {**kept, "stack": above}}
    got_metrics["grad_norm"] = metrics["grad_norm"]  # of all gradients: where nothing is frozen there are more
    assert_same_step((got, got_metrics), (expected, metrics))


@only_bert
def test_what_is_frozen_costs_neither_flops_nor_moments(full):
    experiment, _ = full
    frozen, adapters = build(experiment.config, frozen_layers=2), build(experiment.config, mode="lora", lora_rank=2)
    state, frozen_state, adapters_state = (jax.eval_shape(run.init_state) for run in (experiment, frozen, adapters))
    # Two moments each, and two counters of steps.
    assert num_bytes(state.opt_state) == 2 * num_bytes(state.params) + 8
    assert num_bytes(frozen_state.opt_state) == 2 * num_bytes(frozen_state.params) + 8
    towers = num_bytes({name: x for name, x in adapters_state.params.items() if name != "encoder"})
    thin = 4 * LAYERS * 2 * 2 * (32 * 2)  # float32; layers; query and value; A and B; width x rank
    assert num_bytes(adapters_state.opt_state) == 2 * (towers + thin) + 8

    whole = traced(experiment)
    assert matmul_flops(traced(frozen).jaxpr.jaxpr) < 0.5 * matmul_flops(whole.jaxpr.jaxpr)
    # Products whose result nobody reads stand in the trace and are gone in the program.
    flops, flops_adapters = (run.lower().compile().cost_analysis()["flops"] for run in (whole, traced(adapters)))
    assert flops_adapters < 0.8 * flops


@only_bert
@pytest.mark.parametrize("mesh", [ONE, MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(mode="pmap")], ids=repr)
def test_all_at_once_is_the_same_step_in_chunks_and_on_any_mesh(adapted, mesh):
    experiment, params, expected = adapted
    chunked = build(experiment.config, chunk_size=4 if mesh.mode == "pmap" else 32)
    assert max(len(items.ids_U) for items in make_batch(chunked.corpus.plan, 0).items) > 32
    assert_same_step(gradients_and_metrics(chunked, mesh, params), expected)


@pytest.fixture(scope="module")
def adapted(config):
    experiment = build(config, mode="lora", lora_rank=2, frozen_layers=1)
    params = params_of(experiment)
    attention = params["encoder"]["stack"]["layers"]["attention"]
    attention["query"] = shaken(attention["query"], 0.1)  # where B is zero A has no gradient
    expected = gradients_and_metrics(experiment, ONE, params)
    gradients = expected[0]["encoder"]["stack"]["layers"]["attention"]
    assert np.abs(gradients["query"]["lora_a"]).max() > 0
    assert np.abs(gradients["value"]["lora_b"]).max() > 0
    np.testing.assert_array_equal(gradients["query"]["kernel"], 0)
    np.testing.assert_array_equal(gradients["out"]["kernel"], 0)
    return experiment, params, expected


@only_bert
def test_chunks_change_neither_loss_nor_gradients_of_a_whole_encoder(full, step_of_full):
    experiment, params = full
    assert_same_step(gradients_and_metrics(build(experiment.config, chunk_size=24), ONE, params), step_of_full)


@pytest.mark.parametrize(("num_items", "size"), [(12, 4), (12, 5), (13, 4), (13, 12), (12, 12), (12, 99), (12, 0)])
def test_chunks_keep_the_order_and_the_size(num_items, size):
    seen = []

    def encode(items_U, key):
        seen.append(len(items_U))
        return jnp.stack([items_U, 10 * items_U], axis=1)

    items = np.arange(num_items)
    np.testing.assert_array_equal(_in_chunks(encode, items, None, size), np.stack([items, 10 * items], axis=1))
    assert all(number <= (size or num_items) for number in seen)


@only_bert
def test_chunks_bound_the_memory_of_the_encoder(config):
    config = dataclasses.replace(config, loss=LossConfig(ranking="softmax"))  # which encodes the whole catalogue

    def temporary_bytes(size):
        program = traced(build(config, chunk_size=size, remat="none")).lower().compile()
        return program.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(50) < temporary_bytes(0) / 3


def test_the_whole_encoder_says_of_tokens_what_the_step_says(config):
    """What a bundle is given: lower layers put back, adapters merged."""
    experiment = build(config, mode="lora", frozen_layers=1)
    params = shaken(params_of(experiment), 0.05)
    model, items_U = nnx.merge(experiment.graphdef, params), np.arange(0, 60, 7)
    expected_UF = model.encode_texts(items_U, experiment.catalog)
    tokens = build(config).catalog
    model.encoder = experiment.whole_encoder(params)
    assert model.encoder.config == experiment.data.pretrained.config
    np.testing.assert_allclose(model.encode_texts(items_U, tokens), expected_UF, atol=1e-4)


@only_bert
def test_more_frozen_layers_than_the_encoder_has_are_refused(config):
    with pytest.raises(ValueError, match=rf"frozen_layers={LAYERS}, but the encoder has {LAYERS} layers"):
        build(config, frozen_layers=LAYERS)


@pytest.mark.parametrize(
    ("encoder", "problem"),
    [
        ({"mode": "lora"}, "encoder.mode=lora needs encoder.pretrained"),
        ({"mode": "lora", "pretrained": "x", "lora_rank": 0}, "encoder.lora_rank=0 must be at least 1"),
        ({"frozen_layers": 2}, "encoder.frozen_layers=2 needs encoder.pretrained"),
        ({"frozen_layers": 2, "pretrained": "x", "mode": "frozen"}, "has no effect with encoder.mode=frozen"),
        ({"chunk_size": -1}, "encoder.chunk_size=-1 must be at least 0"),
    ],
)
def test_what_cannot_be_is_refused(encoder, problem):
    with pytest.raises(ValueError, match=problem):
        validate(Config(encoder=EncoderConfig(**encoder)))

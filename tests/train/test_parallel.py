"""A step gives the same results on 1 and 8 devices, under jit and pmap, for every sharding of the state."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from llmrec_jax import parallel
from llmrec_jax.config import AdaptConfig, LossConfig, MeshConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import experiment as experiment_lib
from tests.train.tiny import SEVERAL_BUCKETS, assert_same_step, gradients_and_metrics, tiny_config

LAYOUTS = {
    "jit, data 8": MeshConfig(data=8),
    "jit, fsdp 8": MeshConfig(data=1, fsdp=8),
    "jit, data 2 x fsdp 2 x tensor 2": MeshConfig(data=2, fsdp=2, tensor=2),
    "pmap, data 8": MeshConfig(mode="pmap", data=8),
}
# Each combination of losses under jit and under pmap, each mesh with one of them. `softmax` is on the tensor mesh,
# where devices that hold the same rows encode different shares of the catalogue. Only the first has several buckets:
# `softmax` encodes the whole catalogue, at one length.
CASES = {
    "coral, in_batch": ("jit, fsdp 8", "pmap, data 8"),
    "mmd, softmax": ("jit, data 2 x fsdp 2 x tensor 2", "pmap, data 8"),
    "dann, in_batch": ("jit, data 8", "pmap, data 8"),
    "none, sampled_softmax": ("jit, data 2 x fsdp 2 x tensor 2", "pmap, data 8"),
    "none, gbce": ("jit, fsdp 8", "pmap, data 8"),
}
MODELS = {
    "coral, in_batch": {"user_tower": "mean", "item_bias": True},
    "dann, in_batch": {"user_tower": "ligr"},
    "none, sampled_softmax": {"user_tower": "bert4rec", "recency_mean": False, "item_bias": True},
    "none, gbce": {"user_tower": "hstu", "score": "dot", "recency_mean": False},
}

GROUP_DRO = {"domain_weights": "group_dro", "domain_step_size": 0.5}
LOSSES: dict[str, Any] = {
    "mmd, softmax": {"mask_history": True, "logit_adjustment": 0.5, "focal": 1.0, **GROUP_DRO},
    "none, sampled_softmax": {"logit_adjustment": 0.5, "propensity": 0.5},
    "none, gbce": {"propensity": 0.5, **GROUP_DRO},
}


@pytest.fixture(scope="module", params=CASES)
def on_one_device(request):
    method, ranking = request.param.split(", ")
    data = SEVERAL_BUCKETS if method == "coral" else {}
    config = tiny_config(target_fraction=0.1, **data)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **MODELS.get(request.param, {})),
        adapt=AdaptConfig(method=method, weight=1.0, level="both"),
        loss=LossConfig(
            ranking=ranking, block_size=256, negatives=100, temperature=0.2, **LOSSES.get(request.param, {})
        ),
    )
    experiment = experiment_lib.build(config)
    assert (len(experiment.corpus.plan.lengths) > 1) == bool(data)
    return experiment, gradients_and_metrics(experiment, MeshConfig(data=1)), CASES[request.param]


@pytest.mark.slow
def test_loss_gradients_and_adaptation_statistics_equal_one_device(on_one_device):
    experiment, expected, layouts = on_one_device
    for layout in layouts:
        assert_same_step(gradients_and_metrics(experiment, LAYOUTS[layout]), expected)


@pytest.mark.slow
def test_every_layout_starts_from_the_same_state():
    config = tiny_config()
    model = dataclasses.replace(config.model, user_tower="mean")
    experiment = experiment_lib.build(dataclasses.replace(config, model=model, adapt=AdaptConfig()))
    expected = jax.device_get(jax.jit(experiment.init_state)())
    for mesh in LAYOUTS.values():
        layout = make_layout(mesh)
        found = jax.device_get(layout.to_global(layout.init(experiment.init_state)))
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_pmap_does_not_order_devices_by_their_links(monkeypatch):
    """On a TPU pod that order mixes the devices of different processes, whose shards of the batch would be swapped."""
    linked = parallel.Mesh(np.array(jax.devices()[::-1]).reshape(8, 1, 1), parallel.AXES)
    monkeypatch.setattr(jax, "make_mesh", lambda *_, **__: linked)
    assert make_layout(MeshConfig(data=8)).mesh is linked
    assert list(make_layout(MeshConfig(mode="pmap", data=8)).mesh.devices.flat) == jax.devices()


def test_items_that_no_training_event_names_get_no_id_vector(on_one_device):
    """They are negatives of the softmax all the same; so is their text, which learns."""
    experiment, (gradients, _), _ = on_one_device
    learns_I = np.abs(gradients["item_tower"]["ids"]["embedding"]).max(axis=1) > 0
    trained_I = experiment.catalog.trained_I
    assert 0 < trained_I.sum() < len(trained_I)
    assert not learns_I[~trained_I].any()
    if experiment.config.loss.ranking == "softmax":
        assert learns_I[trained_I].all()


def test_each_device_encodes_its_share_of_the_catalogue_alone():
    config = dataclasses.replace(tiny_config(), loss=LossConfig(ranking="softmax"))
    experiment = experiment_lib.build(config)
    assert len(experiment.catalog.domain_I) % 8  # the last shares have padding

    def flops_on_all_shares(mesh):
        def encode(state, batch, catalog, collectives):
            outputs = experiment.spec.forward(state.params, batch, catalog, None, collectives)
            return state, {"sum": sum(candidates.vectors_ND.sum() for candidates in outputs.candidates)}

        layout = make_layout(mesh)
        state = jax.eval_shape(experiment.init_state)
        if mesh.mode == "pmap":
            state = jax.tree.map(lambda x: jax.ShapeDtypeStruct((mesh.data, *x.shape), x.dtype), state)
        batch, catalog = layout.put_batch(make_batch(experiment.corpus.plan, 0)), layout.put_whole(experiment.catalog)
        compiled = layout.compile(encode, state).lower(state, batch, catalog).compile()
        return compiled.cost_analysis()["flops"] * layout.num_row_shards

    on_one_shard = flops_on_all_shares(MeshConfig(data=1))
    for name, mesh in LAYOUTS.items():
        assert flops_on_all_shares(mesh) < 1.25 * on_one_shard, name

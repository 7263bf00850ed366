"""The start from counts: which events are counted, and that it does not depend on the devices."""

import dataclasses

import jax
import numpy as np
import pytest

from llmrec_jax.baselines.start_vectors import co_purchase_vectors, popularity_biases
from llmrec_jax.config import MeshConfig
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import experiment as experiment_lib
from tests.train.tiny import tiny_config


def started(mesh=MeshConfig(data=1), **data):  # noqa: B008
    """The experiment of a tiny run with item biases that starts from counts, and its first parameters."""
    config = tiny_config(mesh=mesh, **data)
    quick = {"item_features": "id", "user_tower": "mean"}
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, start="counts", item_bias=True, **quick),
        adapt=dataclasses.replace(config.adapt, method="none"),
    )
    experiment, layout = experiment_lib.build(config), make_layout(mesh)
    return experiment, jax.device_get(experiment.start(layout.to_global(layout.init(experiment.init_state))).params)


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.0])
def test_only_events_that_are_trained_on_are_counted(fraction):
    experiment, params = started(target_fraction=fraction)
    corpus = experiment.corpus
    ids_ID, bias_I = params["item_tower"]["ids"]["embedding"], params["scoring"]["bias"]
    for domain, users in enumerate(corpus.plan.users):
        items = corpus.items(domain)
        events = corpus.train_events(domain, np.isin(np.arange(len(corpus.domains[domain].user_ids)), users))
        expected_ID = co_purchase_vectors(*events, items.stop - items.start, ids_ID.shape[1])
        np.testing.assert_array_equal(ids_ID[items], expected_ID)
        np.testing.assert_array_equal(bias_I[items], popularity_biases(events[0], items.stop - items.start))
        assert expected_ID.any() == (domain == 0 or fraction > 0)
    np.testing.assert_allclose(ids_ID[~experiment.catalog.trained_I], 0, atol=1e-6)


@pytest.mark.parametrize("mesh", [MeshConfig(data=1, fsdp=8), MeshConfig(mode="pmap", data=8)], ids=["fsdp", "pmap"])
def test_the_start_is_the_same_on_eight_devices(mesh):
    _, one = started()
    _, eight = started(mesh)
    jax.tree.map(np.testing.assert_array_equal, one["item_tower"]["ids"], eight["item_tower"]["ids"])
    np.testing.assert_array_equal(one["scoring"]["bias"], eight["scoring"]["bias"])

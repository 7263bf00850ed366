"""`train.init_from`: a run that starts from a bundle has its towers, its encoder and the ids of the shared items."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from flax import traverse_util

from llmrec_jax.config import validate
from llmrec_jax.errors import UserError
from llmrec_jax.models import from_pretrained
from llmrec_jax.models.hstu import TIME_BUCKETS
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.init_from import trained_on, with_bundle
from llmrec_jax.train.prepared import prepare
from tests.inference.untrained import untrained_run
from tests.train.tiny import pretrained_config, tiny_config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on films and books, its bundle, and the configuration of a run on books alone that starts from it."""
    from llmrec_jax.train.export import save_bundle

    folder = tmp_path_factory.mktemp("init")
    config = tiny_config()
    run = untrained_run(config)
    save_bundle(run, folder / "bundle")
    data = dataclasses.replace(config.data, sources=())
    train = dataclasses.replace(config.train, init_from=str(folder / "bundle"))
    adapt, encoder = dataclasses.replace(config.adapt, method="none"), dataclasses.replace(config.encoder, dropout=0.1)
    return run, dataclasses.replace(config, data=data, train=train, adapt=adapt, encoder=encoder)


def test_towers_encoder_and_known_ids_are_those_of_the_bundle(trained):
    before, config = trained
    experiment = experiment_lib.build(config)
    state = experiment.with_pretrained(experiment.init_state())
    after = traverse_util.flatten_dict(
        with_bundle(state, Path(config.train.init_from), experiment.corpus).params, sep="."
    )
    old = traverse_util.flatten_dict(before.params, sep=".")
    books = before.experiment.corpus.items(1)
    ids = "item_tower.ids.embedding"
    np.testing.assert_array_equal(after[ids], old[ids][books])
    compared = [name for name in after if name != ids]
    assert {name.split(".")[0] for name in compared} == {"encoder", "item_tower", "user_tower"}
    for name in compared:
        np.testing.assert_array_equal(after[name], old[name], err_msg=name)


def test_towers_of_another_size_are_refused(trained):
    _, config = trained
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, width=8))
    experiment = experiment_lib.build(config)
    state = experiment.init_state()
    with pytest.raises(
        UserError, match=r"do not fit this configuration\n  .*item_tower.*: \(.*8.*\) here, \(.*16.*\) there"
    ):
        with_bundle(state, Path(config.train.init_from), experiment.corpus)


def test_the_bias_for_times_starts_at_zero_if_the_other_run_had_no_times(trained, monkeypatch):
    _, config = trained
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, user_tower="hstu"))
    experiment = experiment_lib.build(config)
    state = experiment.init_state()
    arrays = {name: x + 1 for name, x in traverse_util.flatten_dict(jax.device_get(state.params), sep=".").items()}
    name = "user_tower.stack.layers.time_bias"
    assert not (arrays.pop(name) - 1).any()
    other = SimpleNamespace(arrays=arrays, items=[])
    monkeypatch.setattr("llmrec_jax.train.init_from.bundle_lib.load", lambda _: other)
    found = with_bundle(state, Path(config.train.init_from), experiment.corpus)
    after = traverse_util.flatten_dict(found.params, sep=".")
    assert after[name].shape == (config.model.num_layers, TIME_BUCKETS)
    assert not np.any(after[name])
    np.testing.assert_array_equal(after["user_tower.decay"], arrays["user_tower.decay"])


def test_a_folder_without_a_bundle_is_refused(trained, tmp_path):
    _, config = trained
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, init_from=str(tmp_path)))
    with pytest.raises(UserError, match="because its model reads no text"):
        experiment_lib.build(config)


def test_a_frozen_encoder_is_that_of_the_bundle_and_what_is_not_trained_reads_the_configured_one(trained, tmp_path):
    _, config = trained
    config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, mode="frozen"))
    validate(config)
    data = prepare(config)
    assert data.text_encoder is None  # TF-IDF, as without `init_from`
    bundle = Path(config.train.init_from)
    np.testing.assert_array_equal(
        data.pretrained.tokens.embedding[...], from_pretrained(bundle / "encoder").tokens.embedding[...]
    )
    same = dataclasses.replace(config.encoder, pretrained=str(bundle / "encoder"))
    data = prepare(dataclasses.replace(config, encoder=same))
    assert data.text_encoder is data.pretrained
    other = pretrained_config(tmp_path / "encoder", "bert", 1).encoder.pretrained
    with pytest.raises(UserError, match=r"has another vocabulary than encoder\.pretrained=.*encoder: set"):
        prepare(dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, pretrained=other)))


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            {"target_fraction": 0.0, "sources": ("demo:films",)},
            "100% of the users of books, here data.target_fraction=0.0",
        ),
        ({"split_seed": 1}, "data.split_seed=0, here 1"),
    ],
)
def test_a_run_does_not_start_from_one_that_learned_what_it_may_not_see(trained, data, problem):
    _, config = trained
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, **data))
    with pytest.raises(UserError) as raised:
        prepare(config)
    assert str(raised.value).split("\n  ") == [
        f"train.init_from={config.train.init_from}: its run was trained on events that this run may not use",
        problem,
    ]


def test_what_a_run_is_trained_on_includes_the_runs_before_it(trained):
    _, config = trained
    books = dataclasses.replace(config, data=dataclasses.replace(config.data, target_fraction=1.0))
    assert trained_on(books) == {"films": 1.0, "books": 1.0}

"""A training step on weighted events: the same on all devices, and independent of the scale of the weights."""

import dataclasses

import numpy as np
import pytest

from llmrec_jax.config import AdaptConfig, LossConfig, MeshConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.domains import demo
from llmrec_jax.train import experiment as experiment_lib
from tests.train.tiny import assert_same_step, gradients_and_metrics, tiny_config


def weighted_books(folder, scale=1):
    """The built-in books with weights of very different sizes; one in four is 0."""
    folder.mkdir()
    for name, content in demo.generate("books").items():
        if name == "interactions.csv":
            header, *rows = content.decode().splitlines()
            draws = np.random.default_rng(0)
            weights = np.where(draws.random(len(rows)) < 0.25, 0, draws.exponential(size=len(rows)) ** 3)
            lines = [f"{row},{scale * weight:.7g}" for row, weight in zip(rows, weights, strict=True)]
            content = "\n".join([f"{header},weight", *lines]).encode()
        (folder / name).write_bytes(content)
    return str(folder)


def experiment_of(tmp_path, sources, ranking, scale=1):
    target = weighted_books(tmp_path / f"books-{scale}", scale)
    config = tiny_config(tmp_path / "cache", sources=sources, target=target)
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, item_features="id", user_tower="mean"),  # quick to compile
        loss=LossConfig(ranking=ranking, block_size=256),
        adapt=AdaptConfig(method="none"),
    )
    return experiment_lib.build(config)


JIT, PMAP = MeshConfig(data=8), MeshConfig(mode="pmap", data=8)


@pytest.mark.parametrize(("ranking", "meshes"), [("in_batch", (JIT, PMAP)), ("softmax", (PMAP,))])
def test_a_weighted_step_is_the_same_on_one_and_eight_devices(tmp_path, ranking, meshes):
    experiment = experiment_of(tmp_path, ("demo:films",), ranking)
    films, books = make_batch(experiment.corpus.plan, 0).predictions
    np.testing.assert_array_equal(films.weight_P, films.mask_P)
    shards = books.weight_P.reshape(8, -1).sum(axis=1)
    assert shards.max() > 2 * np.median(shards) > 0  # a mean per device would differ
    expected = gradients_and_metrics(experiment, MeshConfig(data=1))
    for mesh in meshes:
        assert_same_step(gradients_and_metrics(experiment, mesh), expected)


def test_the_scale_of_the_only_domain_s_weights_changes_nothing(tmp_path):
    one, ten = (experiment_of(tmp_path, (), "in_batch", scale) for scale in (1, 10))
    assert one.corpus.hash != ten.corpus.hash
    mesh = MeshConfig(data=1)
    assert_same_step(gradients_and_metrics(ten, mesh), gradients_and_metrics(one, mesh))

"""Runs with tasks beside ranking: on several devices, in the report, and refused where the data has no such task."""

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from llmrec_jax import Recommender
from llmrec_jax.config import AdaptConfig, MeshConfig, TasksConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.errors import UserError
from llmrec_jax.losses import objective, tasks
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.prepared import prepare
from llmrec_jax.train.ratings import rating_tables
from llmrec_jax.train.task_metrics import perplexity_rows
from tests.train.rated import write_shop
from tests.train.tiny import assert_same_step, gradients_and_metrics, tiny_config

DOCUMENTATION = Path(__file__).parents[2] / "docs" / "tasks.md"
CASES = {
    "pcgrad": TasksConfig(rating="ordinal", rating_weight=1.0, click_weight=1.0, weighting="pcgrad"),
    "uncertainty": TasksConfig(rating="mse", weighting="uncertainty", log_conflicts=True),
}
MESHES = {  # both cases compare the gradients of the tasks, so this is tested on both meshes
    "pcgrad": MeshConfig(mode="pmap", data=8),
    "uncertainty": MeshConfig(data=8),
}


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rated")
    config = tiny_config(folder / "cache", sources=(), target=str(write_shop(folder / "shop")), min_rating=2)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, user_tower="mean", item_bias=True),
        adapt=AdaptConfig(),
        train=dataclasses.replace(config.train, steps=4, eval_every=0),
    )


@pytest.mark.slow
@pytest.mark.parametrize("weighting", CASES)
def test_a_step_on_eight_devices_equals_one(config, weighting):
    experiment = experiment_lib.build(dataclasses.replace(config, tasks=CASES[weighting]))
    expected = gradients_and_metrics(experiment, MeshConfig(data=1))
    gradients, metrics = expected
    assert -1 <= metrics["conflict/rating"] <= 1
    assert ("conflict/click" in metrics) == (weighting == "pcgrad")
    assert np.abs(gradients["heads"]["rating"]["down"]["kernel"]).max() > 1e-6
    if weighting == "uncertainty":
        assert metrics["weight/uncertainty/rating"] == 1  # exp(-0)
        assert gradients["heads"]["log_variance_rating"]["value"] != 0
    assert_same_step(gradients_and_metrics(experiment, MESHES[weighting]), expected)


def test_the_report_compares_the_task_with_its_baselines(config, tmp_path, monkeypatch):
    """In a run with a ranking loss and a task of one's own: that of the documentation."""
    monkeypatch.setitem(objective.RANKING, "mine", objective.RANKING["in_batch"])
    monkeypatch.setattr(tasks, "TASKS", dict(tasks.TASKS))
    exec(re.findall(r"```python\n(.*?)```", DOCUMENTATION.read_text(), flags=re.DOTALL)[-1], {})
    config = dataclasses.replace(
        config,
        loss=dataclasses.replace(config.loss, ranking="mine"),
        tasks=TasksConfig(rating="mse", click_weight=0.5),
    )
    trained = train_and_evaluate(config, tmp_path, Console(quiet=True), export=bundle_in(tmp_path))
    report = json.loads((tmp_path / "report.json").read_text())
    rows = {(row["split"], row["method"]): row for row in report["tasks"] if row["task"] == "rating"}
    methods = ["model", "global_mean", "biases", "biased_mf"]
    assert list(rows) == [(split, method) for split in ("valid", "test") for method in methods]
    assert rows["test", "biases"]["rmse"] < 0.9 * rows["test", "global_mean"]["rmse"]  # biases are what is planted
    for split in ("valid", "test"):
        assert abs(rows[split, "model"]["rmse"] - rows[split, "biased_mf"]["rmse"]) < 0.1  # four steps from it
        assert rows[split, "model"]["mae"] != rows[split, "biased_mf"]["mae"]
    clicks = [row for row in report["tasks"] if row["task"] == "click"]
    found = [(row["split"], row["method"], row["users"]) for row in clicks]
    assert found == [(split, method, 40) for split in ("valid", "test") for method in ("model", "popularity")]
    assert all(0.2 < row["auc"] < 0.8 for row in clicks)  # the lists are random
    assert all(row["ndcg@5"] == row["ndcg@10"] > row["auc"] / 2 for row in clicks)  # of four items
    assert rows["test", "model"]["events"] == rows["test", "model"]["users"] > 30
    heads = load_file(tmp_path / "bundle" / "heads.safetensors")
    np.testing.assert_array_equal(heads["rating.up.kernel"], trained.params["heads"]["rating"]["up"]["kernel"])
    assert heads["rating.prior.bias_I"].shape == (30,)
    assert Recommender.load(tmp_path / "bundle").recommend(["i3", "i4"], k=3)  # it reads no head
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["loss"] - 0.01 * last["loss/small/items"] == pytest.approx(
        last["loss/ranking/target"] + 0.1 * last["loss/rating/events"] + 0.5 * last["loss/click/lists"]
    )


def test_the_inputs_of_a_shop_whose_ratings_are_all_equal_are_finite(tmp_path):
    folder = write_shop(tmp_path / "shop")
    table = folder / "interactions.csv"
    table.write_text(re.sub(r",[1-5](?=,\d+,click)", ",5", table.read_text()))
    data = tiny_config(tmp_path / "cache", sources=(), target=str(folder)).data
    (found,) = rating_tables(load_corpus(data, 16, seed=0, selection="auto"))
    ratings_A, prior_A, scale_A, features_AF = found.columns
    assert set(ratings_A) == {5}
    np.testing.assert_allclose(prior_A, 5)
    np.testing.assert_array_equal(scale_A, 1)
    assert np.isfinite(features_AF).all()


def test_a_task_is_refused_where_no_event_has_what_it_needs(config, tmp_path):
    shop = write_shop(tmp_path / "shop")
    (shop / "domain.json").write_text('{"columns": {"rating": null}}')
    data = dataclasses.replace(config.data, target=str(shop), min_rating=None)
    asked = dataclasses.replace(config, data=data, tasks=TasksConfig(rating="mse"))
    with pytest.raises(UserError, match="the loss 'rating' needs ratings: no training event of shop has a rating"):
        prepare(asked)
    alone = dataclasses.replace(asked, tasks=TasksConfig(weighting="pcgrad"))
    with pytest.raises(UserError, match=r"tasks\.weighting=pcgrad compares tasks, but there is none"):
        prepare(alone)


def test_the_report_has_the_perplexity_of_the_stage_before(config, tmp_path):
    facts = {"perplexity": {"before": 90.5, "after": 12.5}, "held_out_texts": 7, "domains": ["films", "books"]}
    (tmp_path / "perplexity.json").write_text(json.dumps(facts))
    train = dataclasses.replace(config.train, init_from=str(tmp_path))
    rows = perplexity_rows(dataclasses.replace(config, train=train))
    assert [(row["method"], row["perplexity"]) for row in rows] == [("before", 90.5), ("after", 12.5)]
    assert rows[0]["domain"] == "films+books"
    assert perplexity_rows(config) == []

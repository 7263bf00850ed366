"""The candidates of `llmrec adapt` as text."""

import dataclasses
import json

import pytest
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.errors import UserError
from llmrec_jax.train import texts
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.points import Point, candidates
from tests.train.tiny import tiny_config


@pytest.fixture(scope="module")
def config():
    tiny = tiny_config(sources=("demo:films",), target="demo:books")
    return dataclasses.replace(tiny, train=dataclasses.replace(tiny.train, steps=10, checkpoint_every=4))


def test_none_is_first_and_every_run_is_a_candidate(config):
    runs, points = candidates(config, ["coral:1", "mmd:.3:gradient"])
    assert list(runs) == [point.name for point in points] == ["none", "coral:1", "mmd:.3:gradient"]
    adapt = {name: (run.adapt.method, run.adapt.weight, run.adapt.balance) for name, run in runs.items()}
    assert adapt["coral:1"] == ("coral", 1, "loss")
    assert adapt["mmd:.3:gradient"] == ("mmd", 0.3, "gradient")
    assert adapt["none"][0] == "none"
    assert {run.train.keep_checkpoints for run in runs.values()} == {2}


def test_checkpoints_means_and_interpolations(config):
    runs, points = candidates(config, ["coral:1@8", "none@all", "coral:1@average", "coral:1@8@wise:0.25", "@wise:0"])
    assert points == [
        Point("none", "none"),
        Point("coral:1", "coral:1"),
        Point("coral:1@8", "coral:1", (8,)),
        *(Point(f"none@{step}", "none", (step,)) for step in (4, 8, 10)),
        Point("coral:1@average", "coral:1", (8, 10)),
        Point("coral:1@8@wise:0.25", "coral:1", (8,), 0.25),
        Point("none@wise:0", "none", (), 0.0),
        Point("coral:1@wise:0", "coral:1", (), 0.0),
    ]
    assert {run.train.keep_checkpoints for run in runs.values()} == {10}
    config_lib.validate(runs["coral:1"])


def test_a_run_can_start_from_texts(config, tmp_path, monkeypatch):
    runs, points = candidates(config, ["texts:20", "texts:20@8"])
    assert [point.name for point in points] == ["none", "texts:20", "texts:20@8"]
    assert runs["texts:20"].adapt.method == "none"
    made = []

    def train(model, folder, console, interrupts):
        made.append((model.train.objective, model.train.steps, model.data))
        folder.mkdir(parents=True)
        (folder / "perplexity.json").write_text(json.dumps({"config": {"train": {"steps": model.train.steps}}}))

    monkeypatch.setattr(texts, "train_language_model", train)
    for _ in range(2):  # the second time, it is finished
        run = texts.started_from_texts(runs["texts:20"], 20, tmp_path / "run", Console(quiet=True), Interrupts())
    assert made == [("language_model", 20, config.data)]
    assert run == config_lib.changed(runs["texts:20"], {"train.init_from": str(tmp_path / "run" / "texts")})
    with pytest.raises(UserError, match=r"candidate 'texts:5': .*reads no text"):
        candidates(config_lib.changed(config, {"model.item_features": "id", "adapt.method": "none"}), ["texts:5"])


def test_merge_is_a_run_of_its_own(config):
    runs, points = candidates(config, ["merge", "coral:1", "@wise:0.5"])
    assert [point.name for point in points] == ["none", "coral:1", "merge", "none@wise:0.5", "coral:1@wise:0.5"]
    assert runs["merge"] == runs["none"]


@pytest.mark.parametrize(
    "spec", ["merge@average", "texts:0", "coral", "corl:1", "coral:x", "none:1", "coral:1e999", "coral:1:", "wise:0.5"]
)
def test_a_run_is_a_method_and_a_weight(config, spec):
    with pytest.raises(UserError, match="name a method and its weight, such as coral:1; methods: coral, mmd, "):
        candidates(config, [spec])


@pytest.mark.parametrize("where", ["", "5", "12", "al", "wise", "wise:1", "wise:-1", "8@8", "wise:0.5@8", "all@"])
def test_what_comes_after_an_at_is_checked(config, where):
    with pytest.raises(UserError, match=r"after @ comes a step, all, average, or wise:SHARE .* checkpoint: 4, 8, 10"):
        candidates(config, [f"none@{where}"])


@pytest.mark.parametrize(
    ("specs", "train", "message"),
    [
        (["coral:1:grad"], {}, r"candidate .coral:1:grad.: .*adapt\.balance"),
        (["coral:1", "coral:1"], {}, "candidate 'coral:1' is given twice"),
        (["@8", "none@8"], {}, "candidate 'none@8' is given twice"),
        (["@all"], {"patience": 1}, "set train.patience=0"),
        (["@average"], {"checkpoint_every": 10}, "lower train.checkpoint_every=10"),
    ],
)
def test_what_cannot_be_made_is_refused(config, specs, train, message):
    with pytest.raises(UserError, match=message):
        candidates(dataclasses.replace(config, train=dataclasses.replace(config.train, **train)), specs)

"""`fit` takes frames, dicts and folders to a trained recommender."""

import csv
import json

import pytest

import llmrec_jax
from llmrec_jax.data.domains import demo

TINY = {"encoder.pretrained": None, "encoder.mode": "full", "encoder.num_layers": 1, "encoder.width": 16,
        "encoder.num_heads": 2, "model.width": 16, "model.num_layers": 1, "data.max_tokens": 12, "data.vocab_size": 300,
        "train.steps": 2, "train.batch_size": 16, "train.eval_every": 0, "train.checkpoint_every": 2}  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """Items with a price, and events, of the built-in books."""
    folder = demo.write("books", tmp_path_factory.mktemp("demo"))
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    events = list(csv.DictReader((folder / "interactions.csv").read_text().splitlines()))
    return [item | {"price": 5.0 + n} for n, item in enumerate(items)], events


@pytest.mark.slow
def test_a_recommender_in_one_call(rows, tmp_path):
    items, events = rows
    recommender = llmrec_jax.fit(items, events, changes=TINY | {"data.cache_dir": str(tmp_path / "cache")})
    assert (recommender.target, len(recommender.items)) == ("shop", 450)
    found = recommender.recommend(["book-0001"], k=3, where={"price": {"max": 30}})
    assert all(recommender.item(item_id).attributes["price"] <= 30 for item_id in found.ids)
    assert recommender.search("a winter", k=1)
    recommender.save(tmp_path / "kept")
    folder = recommender._bundle.folder
    del recommender
    assert not folder.exists()  # temporary
    assert llmrec_jax.Recommender.load(tmp_path / "kept").recommend(["book-0001"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("folder", [{}]), "events: items is a folder, which already contains the events"),
        (([{"item_id": "a", "title": "A"}], None), "events"),
        ((["a"], []), "items"),
        (("nowhere",), "no domain '.*nowhere'"),
    ],
)
def test_wrong_arguments(arguments, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        llmrec_jax.fit(*arguments, changes=TINY | {"data.cache_dir": str(tmp_path)}, workdir=tmp_path / "run")


def test_wrong_changes(tmp_path):
    with pytest.raises(ValueError, match=r"there is no field train\.step; did you mean train\.steps\?"):
        llmrec_jax.fit([], [], changes={"train.step": 3})

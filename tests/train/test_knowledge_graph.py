"""Knowledge graph as a task: links are predicted far better than by popularity; the same on 1 and 8 devices."""

import dataclasses
import json

import numpy as np
import pytest
from rich.console import Console

from llmrec_jax import Recommender
from llmrec_jax.config import (
    AnswerConfig,
    Config,
    DataConfig,
    LossConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TasksConfig,
    TrainConfig,
    validate,
)
from llmrec_jax.errors import UserError
from llmrec_jax.inference.bundle import load
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.loop import train_and_evaluate
from tests.data.shops import folder_of
from tests.train.tiny import assert_same_step, gradients_and_metrics

ITEMS, GROUPS = 120, 6


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """A shop whose items have one fact in each of four relations. The facts depend on the item's group."""
    root, rng = tmp_path_factory.mktemp("graph"), np.random.default_rng(0)
    items = [json.dumps({"item_id": f"i{n}", "title": f"T{n}"}).encode() for n in range(ITEMS)]
    rows = [f"u{user},i{item}".encode() for user in range(30) for item in rng.permutation(ITEMS)[:8]]
    folder = folder_of(root / "shop", items, [b"user_id,item_id", *rows], order="sequence")
    facts = [f"i{n}\trelation {r}\ttail {(n + r) % GROUPS}" for n in range(ITEMS) for r in range(4)]
    (folder / "kg.tsv").write_text("\n".join(facts) + "\n")
    return Config(
        data=DataConfig(sources=(), target=str(folder), cache_dir=str(root / "cache"), max_history=6, vocab_size=300),
        model=ModelConfig(item_features="id", user_tower="mean", width=16),
        loss=LossConfig(ranking="in_batch"),
        tasks=TasksConfig(knowledge_graph="complex", knowledge_graph_weight=1.0),
        mesh=MeshConfig(data=1),
        optim=OptimConfig(learning_rate=3e-2, warmup_steps=4),
        train=TrainConfig(steps=150, batch_size=16, eval_every=0, checkpoint_every=150),
    )


@pytest.mark.parametrize(("name", "weight"), [("transe", None), ("complex", 1.0)])
def test_link_prediction_beats_the_popularity_of_tails(config, tmp_path, name, weight):
    tasks = dataclasses.replace(config.tasks, knowledge_graph=name)
    config = dataclasses.replace(config, tasks=tasks, answer=AnswerConfig(graph_weight=weight))
    trained = train_and_evaluate(config, tmp_path, Console(quiet=True), export=bundle_in(tmp_path))
    rows = json.loads((tmp_path / "report.json").read_text())["tasks"]
    assert {row["task"] for row in rows} == {"knowledge_graph"}
    mrr = {row["method"]: row["mrr"] for row in rows if row["relation"] == "all"}
    assert mrr["model"] > 2 * mrr["popularity_in_relation"] > 2 * mrr["popularity_of_tail"] > 0
    graph = trained.experiment.corpus.graph
    assert rows[0]["triples"] == graph.is_held_out_X.sum() > 10
    assert "heads" in trained.params  # saved with the model, and not needed to recommend
    assert not any(path.startswith("heads") for path in load(tmp_path).arrays)
    assert trained.answer.fit.weights["graph"] == (weight or 0.0)
    if weight:
        _check_new_items(Recommender.load(tmp_path))


def _check_new_items(recommender):
    """An item that is added with the facts of another one scores as it does under the graph."""
    facts = [[f"relation {r}", f"tail {r}"] for r in range(4)]  # those of items 0, 6, 12, ...
    recommender.add_items([{"item_id": "new", "title": "New", "facts": facts}, {"item_id": "none", "title": "None"}])
    found = recommender.recommend(["i6"], k=ITEMS + 2, explain=True)
    graph = {item.item_id: part["graph"] for item, part in zip(found, found.parts, strict=True)}
    assert graph["new"] == pytest.approx(graph["i0"])
    assert graph["new"] > graph["i1"] == graph["none"] == 0
    with pytest.raises(UserError, match=r"item 0: .*facts"):
        recommender.add_items([{"item_id": "newer", "title": "New", "facts": [["relation"]]}])
    with pytest.raises(UserError, match="item 0: tail is empty"):
        recommender.add_items([{"item_id": "newer", "title": "New", "facts": [["relation", ""]]}])


@pytest.mark.slow
@pytest.mark.parametrize("ranking", ["in_batch", "softmax"])
def test_a_step_is_the_same_on_several_devices(config, ranking):
    experiment = experiment_lib.build(dataclasses.replace(config, loss=LossConfig(ranking=ranking)))
    expected = gradients_and_metrics(experiment, MeshConfig(data=1))
    assert expected[1]["loss/knowledge_graph/triples"] > 0.5
    assert np.abs(expected[0]["heads"]["knowledge_graph"]["tails"]["embedding"]).max() > 0
    for mesh in (MeshConfig(mode="pmap", data=8), MeshConfig(data=1, fsdp=8)):
        assert_same_step(gradients_and_metrics(experiment, mesh), expected)


def test_heads_are_encoded_with_the_batch(config):
    experiment = experiment_lib.build(config)
    batch, plan = next(experiment.batches()), experiment.corpus.plan
    items_U = np.concatenate([items.ids_U for items in batch.items])
    assert plan.graph.has(items_U[batch.triples.head_N], batch.triples.tail_N).all()
    assert np.exp(experiment.catalog.log_q_I).min() > 0.7  # 64 blocks of 8 of 456 triples


def test_without_facts_the_task_is_refused(config, tmp_path):
    data = dataclasses.replace(config.data, target="demo:books", cache_dir=str(tmp_path))
    with pytest.raises(
        UserError, match=r"'knowledge_graph' needs facts of a knowledge graph: none of books has a kg.tsv"
    ):
        experiment_lib.build(dataclasses.replace(config, data=data))


def test_complex_numbers_need_an_even_width(config):
    model = dataclasses.replace(config.model, width=15)
    with pytest.raises(UserError, match=r"tasks.knowledge_graph=complex needs an even model.width, not 15"):
        validate(dataclasses.replace(config, model=model))

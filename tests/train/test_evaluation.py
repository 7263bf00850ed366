"""Step selection, and how a run reports its protocol: in its first lines, metrics and report."""

import dataclasses
import io
import json
import shutil

import numpy as np
import pytest
from rich.console import Console

from llmrec_jax.config import AdaptConfig
from llmrec_jax.data.domains import demo
from llmrec_jax.evaluate.verdict import ndcg
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.evaluation import Evaluator, hashes
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.summary import data_summary
from tests.train.tiny import metrics_of, tiny_config


def zero_shot(config):
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, target_fraction=0.0, unlabelled_items=8),
        adapt=dataclasses.replace(config.adapt, level="item"),
    )


@pytest.fixture(scope="module")
def left_out_run(tmp_path_factory):
    """Zero-shot from two sources, of which the smaller is left out."""
    root = tmp_path_factory.mktemp("shops")
    for shop in demo.SIZES:
        demo.write(shop, root).rename(root / shop)
    shutil.copytree(root / "films", root / "series")
    rows = (root / "series" / "interactions.csv").read_text().splitlines(keepends=True)
    (root / "series" / "interactions.csv").write_text("".join(rows[:2000]))
    config = tiny_config(root / "cache", root=str(root), sources=("films", "series"), target="books")
    return experiment_lib.build(zero_shot(config))


def test_a_left_out_source_selects_the_step_of_a_zero_shot_run(left_out_run):
    experiment = left_out_run
    mesh = make_mesh(experiment.config.mesh)
    evaluator = Evaluator(experiment, mesh)
    params = experiment.init_state().params
    users = int((experiment.corpus.splits[1].valid >= 0).sum())
    assert users >= 100
    assert evaluator.selection == {
        "validator": "left_out_source_valid_ndcg@10",
        "domain": "series",
        "users": users,
    }
    case = experiment.corpus.case(1, "valid")
    predictor = evaluator.predictor(params, 1)
    scores_NI = predictor.users(case.histories) @ predictor.items_ID.T
    for scores_I, history, target in zip(scores_NI, case.histories, case.target_N, strict=True):
        scores_I[history[history != target]] = -np.inf
    rank_N = 1.0 + (scores_NI > scores_NI[np.arange(users), case.target_N][:, None]).sum(axis=1)
    assert evaluator.validate(params) == pytest.approx(ndcg(rank_N).mean(), abs=2 / users)


def test_the_first_lines_say_whom_a_run_learns_from_and_what_selects_it(left_out_run):
    lines = [line for line in data_summary(left_out_run.corpus).split("\n") if not line.startswith(" ")]
    films, series, books, protocol = lines
    assert films.startswith("films: 1,500 of 1,500 users for training, 500 items, order timestamp")
    assert films.endswith("leave-one-out, 16 rows per batch")
    assert series.startswith("series: 0 of ")
    assert books.startswith("books: 0 of 1,200 users for training, 450 items, order timestamp")
    assert protocol == "zero-shot; step selected by left_out_source_valid_ndcg@10 (series)"


def test_the_hash_of_a_run_tells_what_decides_its_numbers(left_out_run):
    def hashes_of(**sections):
        changed = {
            name: dataclasses.replace(getattr(left_out_run.config, name), **fields) for name, fields in sections.items()
        }
        config = dataclasses.replace(left_out_run.config, **changed)
        return hashes(dataclasses.replace(left_out_run, config=config))

    ours = hashes_of()
    assert ours["split"] == left_out_run.corpus.hashes["split"]
    assert hashes_of(train={"eval_batch_size": 7, "checkpoint_every": 3}, mesh={"data": 8}) == ours
    other_encoder = hashes(dataclasses.replace(left_out_run, encoder_identity={"hash": "another"}))
    for changed in (other_encoder, hashes_of(optim={"learning_rate": 0.5}), hashes_of(train={"steps": 9}), hashes_of(loss={"temperature": 1.0})):  # fmt: skip # noqa: E501
        assert changed["run"] != ours["run"]
        assert changed["split"] == ours["split"]


@pytest.mark.slow
def test_a_zero_shot_run_with_one_source_takes_its_last_step_and_says_so(tmp_path):
    config = zero_shot(tiny_config())
    model = dataclasses.replace(config.model, user_tower="mean")  # quick to compile
    train = dataclasses.replace(config.train, steps=3, eval_every=1)
    config = dataclasses.replace(config, model=model, adapt=AdaptConfig(), train=train)
    out = io.StringIO()
    train_and_evaluate(config, tmp_path / "run", Console(file=out, soft_wrap=True))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["selection"] == {"validator": "last_step", "step": 3}
    assert not any("valid/ndcg@10" in line for line in metrics_of(tmp_path / "run"))
    assert "zero-shot; step selected by last_step\n" in out.getvalue()
    assert report["verdict"] in out.getvalue()
    assert report["regime"] == "zero-shot"
    with np.load(tmp_path / "run" / "ranks.npz") as ranks:
        assert len(ranks["user_ids"]) == len(ranks["model"]) == 1200

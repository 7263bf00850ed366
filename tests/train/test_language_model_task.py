"""A language model as a task beside ranking: on several devices, what it predicts, and that it learns."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from llmrec_jax.config import AdaptConfig, MeshConfig, TasksConfig
from llmrec_jax.data.batches.texts import hold_out
from llmrec_jax.errors import UserError
from llmrec_jax.losses import tasks
from llmrec_jax.losses.term import Term
from llmrec_jax.models.language_model import sample_texts
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.prepared import prepare
from llmrec_jax.types import SINGLE_DEVICE, Mean
from tests.train.tiny import SEVERAL_BUCKETS, assert_same_step, gradients_and_metrics, metrics_of, tiny_config

TEXTS = TasksConfig(language_model_weight=1.0, language_model_texts=16)


def config_of(kind="bert", **fields):
    config = tiny_config(sources=(), **SEVERAL_BUCKETS)
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, kind=kind, num_layers=1),
        model=dataclasses.replace(config.model, user_tower="mean"),
        adapt=AdaptConfig(),
        **{"tasks": TEXTS, **fields},
    )


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "weighting"), [("bert", "pcgrad"), ("gpt2", "uncertainty")])
def test_a_step_on_eight_devices_equals_one(kind, weighting):
    config = config_of(kind, tasks=dataclasses.replace(TEXTS, weighting=weighting))
    experiment = experiment_lib.build(config)
    expected = gradients_and_metrics(experiment, MeshConfig(data=1))
    assert expected[1]["loss/language_model/tokens"] == pytest.approx(np.log(1000), rel=0.1)  # untrained
    assert ("language_model" in expected[0]["heads"]) == (kind == "bert")  # GPT-2 has no output layer of its own
    for mesh in (MeshConfig(data=8), MeshConfig(mode="pmap", data=8)):
        assert_same_step(gradients_and_metrics(experiment, mesh), expected)


@pytest.fixture(scope="module")
def experiment():
    return experiment_lib.build(config_of())


def test_it_predicts_a_bounded_number_of_the_texts_of_a_batch_and_no_held_out_one(experiment):
    catalog, items = experiment.catalog, next(experiment.batches()).items
    assert np.flatnonzero(catalog.is_held_out_I).tolist() == hold_out(len(catalog.domain_I), 0).tolist()
    drawn = [sample_texts(items, catalog, jax.random.key(seed), SINGLE_DEVICE, 16) for seed in (0, 1, 1)]
    texts = [{int(text) for ids_U, mask_U in groups for text in ids_U[mask_U]} for groups in drawn]
    assert texts[0] != texts[1] == texts[2]
    for chosen in texts:
        assert 16 <= len(chosen) < 16 + len(items)
        assert chosen <= set(np.concatenate([ids_U[mask_U] for ids_U, mask_U in items]).tolist())
        assert not catalog.is_held_out_I[list(chosen)].any()
    every = sample_texts(items, catalog, jax.random.key(0), SINGLE_DEVICE, 10_000)
    allowed = sum(int((mask_U & ~catalog.is_held_out_I[ids_U]).sum()) for ids_U, mask_U in items)
    assert sum(int(mask_U.sum()) for _, mask_U in every) == allowed > 16


@pytest.mark.slow
def test_it_learns_resumes_exactly_and_its_perplexity_is_in_the_report(tmp_path):
    config = config_of()
    config = dataclasses.replace(
        config,
        optim=dataclasses.replace(config.optim, learning_rate=1e-2),
        train=dataclasses.replace(config.train, steps=40, eval_every=0, checkpoint_every=30),
    )
    trained = train_and_evaluate(config, tmp_path, Console(quiet=True), export=bundle_in(tmp_path))
    rows = json.loads((tmp_path / "report.json").read_text())["tasks"]
    assert [(row["task"], row["method"], row["domain"]) for row in rows] == [
        ("language_model", "start", "books"),
        ("language_model", "model", "books"),
    ]
    assert rows[0]["perplexity"] == pytest.approx(1000, rel=0.5)  # about the size of the vocabulary
    assert rows[1]["perplexity"] < 0.5 * rows[0]["perplexity"]
    heads = load_file(tmp_path / "bundle" / "heads.safetensors")
    saved = trained.params["heads"]["language_model"]["transform"]["kernel"]
    np.testing.assert_array_equal(heads["language_model.transform.kernel"], saved)
    lines = metrics_of(tmp_path)
    shutil.rmtree(tmp_path / "checkpoints" / "40")
    train_and_evaluate(config, tmp_path, Console(quiet=True), reports=False)
    assert metrics_of(tmp_path) == lines


def test_a_term_that_reads_tokens_is_refused_where_no_encoder_is_trained(monkeypatch):
    needs_tokens = Term(lambda outputs, progress: {"rows": Mean(0.0, 1.0)}, 1.0, {}, ("tokens",))
    monkeypatch.setitem(tasks.TASKS, "mine", lambda config, facts: needs_tokens)
    config = config_of(tasks=TasksConfig())
    model = dataclasses.replace(config.model, item_features="id")
    with pytest.raises(UserError, match="'mine' needs the tokens of texts that a trained encoder reads"):
        prepare(dataclasses.replace(config, model=model))

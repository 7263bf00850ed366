"""Training, checkpoint and bundle give the same scores: adapters above a frozen layer, every way to score."""

import dataclasses

import jax
import numpy as np
import pytest
from rich.console import Console

from llmrec_jax import Recommender
from llmrec_jax.blend import model_part
from llmrec_jax.config import AnswerConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.parallel import make_mesh
from llmrec_jax.predictor import Histories
from llmrec_jax.train.evaluation import Evaluator, evaluate_run
from llmrec_jax.train.export import save_bundle
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.types import SINGLE_DEVICE
from tests.inference.untrained import untrained_run
from tests.train.tiny import pretrained_config, tiny_config


@pytest.mark.slow
def test_checkpoint_and_bundle_of_adapters_above_a_frozen_layer_score_as_the_run_did(tmp_path):
    config = pretrained_config(tmp_path, "bert", num_layers=2)
    config = dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, mode="lora", lora_rank=2, frozen_layers=1),
        model=dataclasses.replace(config.model, item_features="text"),
        optim=dataclasses.replace(config.optim, learning_rate=0.03),
        answer=AnswerConfig(model_weight=1.0),
    )
    run = train_and_evaluate(config, tmp_path / "run", Console(quiet=True))
    assert np.abs(run.params["encoder"]["stack"]["layers"]["attention"]["query"]["lora_b"]).max() > 0.01
    assert evaluate_run(tmp_path / "run")[1].results == run.results

    save_bundle(run, tmp_path / "bundle")
    recommender, books = Recommender.load(tmp_path / "bundle"), run.experiment.corpus.domains[0]
    predictor = assert_same_scores(recommender, run)
    # From the text alone: the layer below is put back, and the adapters are in the weights.
    np.testing.assert_allclose(recommender.encode(books.texts), predictor.items_ID, atol=1e-5)


@pytest.mark.parametrize(
    "model",
    [
        {"score": "dot", "item_bias": True, "user_tower": "hstu", "item_features": "text"},
        {"item_bias": True, "user_tower": "bert4rec", "recency_mean": False},
    ],
    ids=["dot", "cosine"],
)
def test_a_bundle_scores_as_the_model_does_with_a_bias_and_any_blocks(tmp_path, model):
    config = tiny_config(tmp_path / "cache", sources=())
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **model),
        adapt=dataclasses.replace(config.adapt, method="none"),
        answer=AnswerConfig(model_weight=1.0),
    )
    run = untrained_run(config)
    save_bundle(run, tmp_path / "bundle")
    recommender, width = Recommender.load(tmp_path / "bundle"), config.model.width
    predictor = assert_same_scores(recommender, run)
    if config.model.user_tower == "hstu":
        assert_times_are_read_alike(recommender, run, predictor)
    assert np.abs(predictor.items_ID[:, width]).max() > 0
    texts = run.experiment.corpus.domains[0].texts
    vectors = recommender.encode(texts[:2])
    assert vectors.shape == (2, width)
    if config.model.item_features == "text":
        np.testing.assert_allclose(vectors, predictor.items_ID[:2, :width], atol=1e-4)
    recommender.add_items([{"item_id": "new", "title": "A new book"}])
    history = run.experiment.corpus.domains[0].item_ids[:3]
    assert "new" in [item_id for item_id, _, _ in recommender.recommend(history, k=10**6)]


def assert_same_scores(recommender, run):
    """The bundle's scores are those of the run's answer, its model part included; returns the model's predictor."""
    books = run.experiment.corpus.domains[0]
    predictor = Evaluator(run.experiment, make_mesh(run.experiment.config.mesh)).predictor(run.params, 0)
    histories = run.experiment.corpus.case(0, "test").histories[:3]
    for history, time, expected_I in zip(
        histories, histories.times, run.answer.blends["test"].scores(histories), strict=True
    ):
        found = recommender.recommend([books.item_ids[n] for n in history], k=10_000, times=time, explain=True)
        numbers = [books.item_ids.index(item_id) for item_id, _, _ in found]
        np.testing.assert_allclose([score for _, score, _ in found], expected_I[numbers], atol=1e-3)
        model_I = model_part(predictor).scores(Histories([history], [time]))[0]
        np.testing.assert_allclose([parts["model"] for parts in found.parts], model_I[numbers], atol=1e-3)
    return predictor


def assert_times_are_read_alike(recommender, run, predictor):
    """A training batch, the evaluation and the bundle give one user vector for a history with its times."""
    experiment = run.experiment
    assert recommender._network._dims.has_times
    batch = make_batch(experiment.corpus.plan, 0)
    _, catalog = experiment.for_inference()
    forward = jax.jit(lambda *inputs: experiment.spec.forward(*inputs, None, SINGLE_DEVICE).users_ND)
    trained_BD = forward(run.params, batch, catalog)
    ids_U = np.concatenate([items.ids_U for items in batch.items])
    users = range(len(batch.domain_B))
    places = [np.flatnonzero(batch.segment_RS.reshape(-1) == 1 + user) for user in users]
    items = [ids_U[batch.history_RS.reshape(-1)[own]] for own in places]
    times = [batch.time_RS.reshape(-1)[own].astype(np.int64) + 1_700_000_000 for own in places]
    evaluated_BD = predictor.users(Histories(items, times))
    np.testing.assert_allclose(evaluated_BD[:, :-1], trained_BD, atol=1e-5)
    without_BD = predictor.users(items)
    assert np.abs(evaluated_BD - without_BD).max() > 1e-3
    vectors_of, own_SD = recommender._network.user_vectors, predictor.items_ID[items[0]]
    both_BD = vectors_of([own_SD, own_SD], [times[0], None])
    np.testing.assert_allclose(both_BD, [evaluated_BD[0], without_BD[0]], atol=1e-5)
    ids, seconds = [experiment.corpus.joint.item_ids[item] for item in items[0]], times[0].tolist()
    with pytest.warns(UserWarning, match="1 of .* items are unknown"):
        found = recommender.recommend(["unknown", *ids], times=[seconds[0], *seconds])
    assert found == recommender.recommend(ids, times=seconds)

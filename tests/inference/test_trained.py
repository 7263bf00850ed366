"""Adapters above a frozen layer: training, checkpoint and bundle give the same scores."""

import dataclasses

import numpy as np
import pytest
from rich.console import Console

from llmrec_jax import Recommender
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train.evaluation import Evaluator, evaluate_run
from llmrec_jax.train.export import save_bundle
from llmrec_jax.train.loop import train_and_evaluate
from tests.train.tiny import pretrained_config


@pytest.mark.slow
def test_checkpoint_and_bundle_of_adapters_above_a_frozen_layer_score_as_the_run_did(tmp_path):
    config = pretrained_config(tmp_path, "bert", num_layers=2)
    config = dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, mode="lora", lora_rank=2, frozen_layers=1),
        model=dataclasses.replace(config.model, item_features="text"),
        optim=dataclasses.replace(config.optim, learning_rate=0.03),
    )
    run = train_and_evaluate(config, tmp_path / "run", Console(quiet=True))
    assert np.abs(run.params["encoder"]["stack"]["layers"]["attention"]["query"]["lora_b"]).max() > 0.01
    assert evaluate_run(tmp_path / "run")[1].results == run.results

    save_bundle(run, tmp_path / "bundle")
    recommender, books = Recommender.load(tmp_path / "bundle"), run.experiment.corpus.domains[0]
    predictor = Evaluator(run.experiment, make_mesh(config.mesh)).predictor(run.params, 0)
    for history in run.experiment.corpus.case(0, "test").histories[:3]:
        scores = dict(zip(books.item_ids, (predictor.users([history]) @ predictor.items_ID.T)[0], strict=True))
        found = recommender.recommend([books.item_ids[n] for n in history], k=len(scores))
        np.testing.assert_allclose([score for _, score, _ in found], [scores[i] for i, _, _ in found], atol=1e-5)
    # From the text alone: the layer below is put back, and the adapters are in the weights.
    np.testing.assert_allclose(recommender.encode(books.texts), predictor.items_ID, atol=1e-5)

"""An untrained run and its bundle, shared by the tests that read bundles."""

import dataclasses
import shutil

import jax
import numpy as np

from llmrec_jax.config import AnswerConfig
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.export import save_bundle
from llmrec_jax.train.loop import Trained
from tests.train.tiny import tiny_config


def run_and_bundle(tmp, item_features, method="coral"):
    """A run that took no step, its parameters random, and its bundle; the cache that it used is gone."""
    config = tiny_config(tmp / "cache")
    model = dataclasses.replace(config.model, item_features=item_features)
    config = dataclasses.replace(config, model=model, adapt=dataclasses.replace(config.adapt, method=method))
    config = dataclasses.replace(config, answer=AnswerConfig(model_weight=0.7))  # fitted, it would be 0
    run = untrained_run(config)
    save_bundle(run, tmp / "bundle")
    shutil.rmtree(tmp / "cache")
    return run, tmp / "bundle"


def untrained_run(config):
    """A run that took no step, its parameters random."""
    experiment = experiment_lib.build(config)
    rng = np.random.default_rng(0)
    params = experiment.init_state().params
    # Some parameters start at zero; a trained model has none that are.
    params = jax.tree.map(lambda x: np.asarray(x + 0.1 * rng.standard_normal(x.shape), np.float32), params)
    evaluator = Evaluator(experiment, make_mesh(config.mesh))
    return Trained(experiment, params, evaluator.item_vectors(params), evaluator.answer(params))

"""Exports the bundle of a finished run with `inference.writing`."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
from flax import traverse_util

from llmrec_jax.inference import bundle, writing
from llmrec_jax.inference.bundle import BundleItem
from llmrec_jax.inference.parts import Parts
from llmrec_jax.progress import shown
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.init_from import trained_on
from llmrec_jax.train.loop import Trained
from llmrec_jax.train.ratings import fitted, training_ratings
from llmrec_jax.train.state import Params


def bundle_in(workdir: Path) -> Callable[[Trained], None]:
    """The `export` of a run in `workdir`."""

    def export(trained: Trained) -> None:
        with shown("exporting the bundle"):
            save_bundle(trained, workdir / bundle.NAME)

    return export


def save_bundle(trained: Trained, folder: Path) -> None:
    """Write the bundle and replace the one that is there. Raises ValueError if something else is there."""
    experiment = trained.experiment
    params = {name: value for name, value in trained.params.items() if name not in ("encoder", "heads")}
    arrays = {path: np.asarray(array) for path, array in traverse_util.flatten_dict(params, sep=".").items()}
    arrays |= {"item_vectors": trained.item_vectors_ID, "popularity": experiment.corpus.popularity()}
    if experiment.data.whitening is not None:
        arrays |= {
            "whitening_mean": experiment.data.whitening.mean_F,
            "whitening_transform": experiment.data.whitening.transform_FF,
        }
    joint = experiment.corpus.joint
    encoder = None
    if experiment.config.model.item_features != "id":
        encoder = experiment.whole_encoder(trained.params)
        assert encoder is not None
    writing.write(
        folder,
        facts={
            "target": joint.domains[-1],
            "regime": experiment.corpus.protocol.regime,
            "config": dataclasses.asdict(experiment.config),
            "dims": dataclasses.asdict(experiment.dims),
            "data_hash": experiment.corpus.hash,
            "trained_on": trained_on(experiment.config),
        },
        arrays=arrays,
        items=[
            BundleItem(
                item.item_id,
                item.title,
                domain.name,
                item.category,
                item.brand,
                item.description,
                item.facts,
                item.attributes,
            )
            for domain in experiment.corpus.domains
            for item in domain.items
        ],
        tokenizer=experiment.data.tokenizer,
        encoder=encoder,
        answer=Parts(trained.answer.fit.weights, trained.answer.channels, trained.answer.calibration),
        # A frozen encoder serves both; a trained one differs from the one whose vectors the text part compares.
        heads=task_heads(experiment, trained.params),
        text_encoder=None if encoder is experiment.data.text_encoder else experiment.data.text_encoder,
    )


def task_heads(experiment: Experiment, params: Params) -> dict[str, np.ndarray]:
    """The parameters of the heads of the tasks by path, such as `rating.up.kernel`; those of the adaptation are not in.

    With the rating head also the matrix factorization of the target that it starts from: `rating.prior.bias_I`, ...
    """
    terms, corpus = experiment.spec.terms, experiment.corpus
    names = {name for term in ("ranking", *experiment.spec.tasks) for name in terms[term].heads}
    heads = {name: head for name, head in params.get("heads", {}).items() if name in names}
    arrays = {path: np.asarray(array) for path, array in traverse_util.flatten_dict(heads, sep=".").items()}
    if "rating" in heads:
        found, trains_A = training_ratings(corpus, corpus.target)
        if trains_A.any():
            prior = fitted(corpus, corpus.target, found, trains_A)
            arrays |= {f"rating.prior.{name}": np.asarray(value) for name, value in prior._asdict().items()}
    return arrays

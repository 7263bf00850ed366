"""A run's model and baselines on held-out events: to select a step, for the report, and again from the work folder."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from llmrec_jax import config as config_lib
from llmrec_jax.config import MeshConfig
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.baselines import Predictor
from llmrec_jax.evaluate.model_predictor import item_vectors, model_predictor
from llmrec_jax.evaluate.report import evaluate_predictor, evaluate_predictors
from llmrec_jax.parallel import make_mesh, state_shardings
from llmrec_jax.train import encoder_identity
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.checkpoint import Checkpoints, RunInfo
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.state import Params
from llmrec_jax.train.workdir import read_config


class Evaluator:
    """Evaluates parameters of one run; keeps the catalogue on the mesh."""

    def __init__(self, experiment: Experiment, mesh: Mesh):
        self._experiment, self._mesh = experiment, mesh
        self._graphdef, catalog = experiment.for_inference()
        self._catalog = jax.device_put(catalog, NamedSharding(mesh, jax.P()))
        corpus = experiment.corpus
        sources = range(len(corpus.domains) - 1)
        # Without users of the target to train on, its validation events are labels that a zero-shot run must not see.
        domains = list(sources) if corpus.zero_shot else [corpus.target]
        self.validator = "source_valid_ndcg@10" if corpus.zero_shot else "target_valid_ndcg@10"
        self._cases = [corpus.case(domain, "valid") for domain in domains]

    def predictor(self, params: Params, domain: int) -> Predictor:
        """The model as an predictor on one domain; `params` are global arrays on the mesh."""
        config = self._experiment.config
        return model_predictor(
            self._graphdef,
            params,
            self._catalog,
            self._experiment.corpus.items(domain),
            max_history=config.data.max_history,
            mesh=self._mesh,
            batch_size=config.train.eval_batch_size,
        )

    def item_vectors(self, params: Params) -> np.ndarray:
        """Vectors of the joint catalogue."""
        everything = slice(0, len(self._experiment.corpus.joint))
        size = self._experiment.config.train.eval_batch_size
        return item_vectors(self._graphdef, params, self._catalog, everything, self._mesh, size)

    def validate(self, params: Params) -> float:
        """NDCG@10 on the validation events that may be used, averaged over domains."""
        size = self._experiment.config.train.eval_batch_size
        rows = [
            evaluate_predictor(self.predictor(params, case.domain), case, "", mesh=self._mesh, batch_size=size)
            for case in self._cases
        ]
        return float(np.mean([row["ndcg@10"] for row in rows]))

    def report_rows(self, params: Params) -> list[dict[str, Any]]:
        """Rows of every predictor on the target's validation and test events."""
        corpus, size = self._experiment.corpus, self._experiment.config.train.eval_batch_size
        predictors = [*self._experiment.baselines(corpus.target), self.predictor(params, corpus.target)]
        return evaluate_predictors(predictors, corpus, corpus.target, mesh=self._mesh, batch_size=size)


def evaluate_run(workdir: Path, *, data_root: str | None = None, batch_size: int | None = None) -> list[dict[str, Any]]:
    """The rows of the report again, from the selected checkpoint of the run in `workdir`, on all devices at hand.

    Args:
      workdir: nothing in it is changed, so a run may still be writing there.
      data_root: where the domain folders lie now; None: where the run found them.
      batch_size: users on the devices at a time; None: as in the run.

    Raises:
      ValueError: there is no run or no checkpoint, or the data is not what the run was trained on.
    """
    config = read_config(workdir)
    data = dataclasses.replace(config.data, root=data_root or config.data.root)
    train = dataclasses.replace(config.train, eval_batch_size=batch_size or config.train.eval_batch_size)
    config = dataclasses.replace(config, data=data, train=train, mesh=MeshConfig())
    config_lib.validate(config)
    info = _selected(workdir)[1]
    experiment = experiment_lib.build(encoder_identity.pinned(config, info.encoder))
    mesh = make_mesh(config.mesh)
    return Evaluator(experiment, mesh).report_rows(_selected_params(workdir, experiment, mesh))


def _selected_params(workdir: Path, experiment: Experiment, mesh: Mesh) -> Params:
    abstract = jax.eval_shape(experiment.init_state)
    like = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        abstract,
        state_shardings(abstract, mesh),
    )
    step, info = _selected(workdir)  # again: building took a while, and a run that goes on deletes old checkpoints
    encoder_identity.check_same(workdir, experiment.config, info.encoder, experiment.encoder_identity)
    info.check_data(workdir, experiment.corpus.hash)
    return Checkpoints(workdir / "checkpoints", read_only=True).restore(step, like).params


def _selected(workdir: Path) -> tuple[int, RunInfo]:
    """The step that the newest intact checkpoint selects, and what that checkpoint holds beside arrays."""
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    step, problems = checkpoints.newest_intact()
    if step is None:
        raise UserError("\n  ".join([f"{workdir}: no checkpoint in it yet", *problems]))
    info = checkpoints.info(step)
    return int(info.best.get("step", step)), info

"""Evaluates model and baselines on held-out events: for step selection, the report and `llmrec evaluate`."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding

from llmrec_jax import config as config_lib
from llmrec_jax.config import MeshConfig
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.model_predictor import item_vectors, model_predictor
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import Evaluation, evaluate_target, rank_case
from llmrec_jax.parallel import make_mesh
from llmrec_jax.predictor import VectorPredictor
from llmrec_jax.progress import shown
from llmrec_jax.train import adaptation, encoder_identity
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.answer import Answer, Domains, make_answer
from llmrec_jax.train.checkpoint import Checkpoints, RunInfo
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.links import link_rows
from llmrec_jax.train.perplexity import first_params, perplexity_of
from llmrec_jax.train.state import Params, shapes
from llmrec_jax.train.task_metrics import click_rows, perplexity_rows, predictions_of, rating_rows
from llmrec_jax.train.workdir import as_json, read_config

# Prefixes of the fields left out of the hash of a run: those that do not change its results, and the locations of data
# and encoder, whose contents are hashed instead.
NOT_HASHED = (
    *("data.", "encoder.pretrained", "encoder.remat", "encoder.chunk_size", "loss.block_size"),
    *("mesh.", "train.checkpoint_every", "train.keep_checkpoints", "train.eval_batch_size"),
    "train.trackers",
)


class Evaluator:
    """Evaluates parameters of one run; keeps the catalogue on the mesh."""

    def __init__(self, experiment: Experiment, mesh: Mesh):
        self._experiment, self._mesh = experiment, mesh
        self._graphdef, catalog = experiment.for_inference()
        self._catalog = jax.device_put(catalog, NamedSharding(mesh, jax.P()))
        corpus, selection = experiment.corpus, experiment.corpus.protocol.selection
        self._case = None
        if selection.domain is not None:
            self._case = corpus.case(selection.domain, "valid", selection.users)

    metric = "valid/ndcg@10"  # that `validate` returns

    @property
    def validates(self) -> bool:
        """Whether there are validation events; if not, the last step is selected."""
        return self._case is not None

    @property
    def validator(self) -> str:
        """The name of the step selection, for messages."""
        return self._experiment.corpus.protocol.selection.validator

    @property
    def selection(self) -> dict[str, Any]:
        """For the report: the validator, its domain and its number of users."""
        corpus, chosen = self._experiment.corpus, self._experiment.corpus.protocol.selection
        if self._case is None:
            return {"validator": chosen.validator}
        return {
            "validator": chosen.validator,
            "domain": corpus.domains[self._case.domain].name,
            "users": len(self._case.users_N),
        }

    def predictor(self, params: Params, domain: int) -> VectorPredictor:
        """The model as a predictor on one domain; `params` are global arrays on the mesh."""
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
        """Item vectors of the joint catalogue."""
        everything = slice(0, len(self._experiment.corpus.joint))
        size = self._experiment.config.train.eval_batch_size
        return item_vectors(self._graphdef, params, self._catalog, everything, self._mesh, size)

    def observe(self, params: Params) -> dict[str, float]:
        """How far apart the domains are, if the run adapts; see `adaptation`."""
        if self._experiment.config.adapt.method == "none":
            return {}
        size = self._experiment.config.train.eval_batch_size
        vectors = functools.partial(
            item_vectors, self._graphdef, params, self._catalog, mesh=self._mesh, batch_size=size
        )
        return adaptation.observe(self._experiment.corpus, vectors, self._experiment.config.model.width)

    def validate(self, params: Params) -> float:
        """NDCG@10 over the users whose validation events may select the step (`Protocol.selection`)."""
        assert self._case is not None
        size = self._experiment.config.train.eval_batch_size
        with shown("validating"):
            predictor = self.predictor(params, self._case.domain)
            ranks = rank_case(predictor, self._case, mesh=self._mesh, batch_size=size)
        return metrics(ranks.rank_N)["ndcg@10"]

    def answer(self, params: Params) -> Answer:
        """The answer of the run, with its weights fitted."""
        domains = Domains(self._experiment.data.text_features, functools.partial(self.predictor, params))
        with shown("making the answer"):
            return make_answer(self._experiment.corpus, domains, self._experiment.config.answer)

    def evaluate(self, params: Params, answer: Answer) -> Evaluation:
        """The answer, the model and the baselines on the target's held-out events."""
        corpus, size = self._experiment.corpus, self._experiment.config.train.eval_batch_size
        model, baselines = self.predictor(params, corpus.target), self._experiment.data.baselines
        blends = answer.blends.__getitem__
        with shown("evaluating methods", len(baselines) + 2) as meter:  # and the model and the answer
            found = evaluate_target(
                corpus, baselines, model, blends, mesh=self._mesh, batch_size=size, on_method=meter.advance
            )
        tasks = perplexity_rows(self._experiment.config)
        if "rating" in self._experiment.spec.terms:
            head, width = self._experiment.spec.terms["rating"].heads["rating"], self._experiment.config.model.width
            predict = predictions_of(head, width, params["heads"]["rating"])
            tasks += rating_rows(corpus, model, predict)
        if "click" in self._experiment.spec.terms:
            tasks += click_rows(corpus, model)
        if "knowledge_graph" in self._experiment.spec.terms:
            learned = self._experiment.config.tasks.knowledge_graph
            tasks += link_rows(corpus, learned, params, self.item_vectors(params))
        if "language_model" in self._experiment.spec.terms:
            both = {"start": first_params(self._experiment, self._mesh), "model": params}
            domains = [domain.name for domain in corpus.domains]
            tasks += perplexity_of(self._graphdef, both, self._catalog, domains, self._mesh, size)
        return found._replace(tasks=tasks)


def hashes(experiment: Experiment) -> dict[str, str]:
    """`Corpus.hashes`, plus one of the run (data, encoder, configuration): equal run hashes, equal results."""
    config = config_lib.flatten(as_json(experiment.config))
    decides = {name: value for name, value in config.items() if not name.startswith(NOT_HASHED)}
    parts = [experiment.corpus.hash, experiment.encoder_identity.get("hash"), sorted(decides.items())]
    run = json.dumps(parts, allow_nan=False)
    return experiment.corpus.hashes | {"run": hashlib.sha256(run.encode()).hexdigest()}


def evaluate_run(
    workdir: Path, *, data_root: str | None = None, batch_size: int | None = None
) -> tuple[Experiment, Evaluation]:
    """Evaluate the run in `workdir` again, from its selected checkpoint, on all available devices.

    Args:
      workdir: only read, so the run may still be in progress.
      data_root: folder of the domain folders; None: as in the run.
      batch_size: users evaluated at a time; None: as in the run.

    Raises:
      ValueError: there is no run or no checkpoint, or the data is not what the run was trained on.
    """
    config = read_config(workdir)
    if config.train.objective == "language_model":
        raise UserError(
            f"{workdir} is a run with train.objective=language_model and has no recommender; its result "
            "is in perplexity.json"
        )
    data = dataclasses.replace(config.data, root=data_root or config.data.root)
    train = dataclasses.replace(config.train, eval_batch_size=batch_size or config.train.eval_batch_size)
    config = dataclasses.replace(config, data=data, train=train, mesh=MeshConfig())
    config_lib.validate(config)
    info = _selected(workdir)[1]
    experiment = experiment_lib.build(encoder_identity.pinned(config, info.encoder))
    mesh = make_mesh(config.mesh)
    evaluator, params = Evaluator(experiment, mesh), selected_params(workdir, experiment, mesh)
    return experiment, evaluator.evaluate(params, evaluator.answer(params))


def selected_params(workdir: Path, experiment: Experiment, mesh: Mesh, step: int | None = None) -> Params:
    """The parameters of the selected step of the run in `workdir`, or of another one that it kept; global arrays.

    Raises:
      ValueError: there is no such checkpoint, or data or encoder are not what the run was trained with.
    """
    selected, info = _selected(workdir)  # again: the run may have deleted the old checkpoint during the build
    encoder_identity.check_same(workdir, experiment.config, info.encoder, experiment.encoder_identity)
    info.check_data(workdir, experiment.corpus.hash)
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    if step is not None and (problem := checkpoints.problem(step)) is not None:
        raise UserError(f"{workdir} has no intact checkpoint of step {step}: {problem}")
    return checkpoints.restore(selected if step is None else step, shapes(experiment.init_state, mesh)).params


def _selected(workdir: Path) -> tuple[int, RunInfo]:
    """The step that the newest intact checkpoint selects, and the metadata of that checkpoint."""
    checkpoints = Checkpoints(workdir / "checkpoints", read_only=True)
    step, problems = checkpoints.newest_intact()
    if step is None:
        raise UserError("\n  ".join([f"{workdir}: no checkpoint in it yet", *problems]))
    info = checkpoints.info(step)
    return int(info.best.get("step", step)), info

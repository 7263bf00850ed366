"""Builds a run before its first step: batches, model, optimizer, terms of the loss.

`prepared` reads the data and encodes texts; no training step is taken here.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from llmrec_jax.config import Config
from llmrec_jax.data.batches.log_q import inverse_propensity, log_prior, log_q, trained_items
from llmrec_jax.data.batches.pipeline import batches, by_length, with_targets
from llmrec_jax.data.batches.texts import hold_out
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.losses import balance, objective, tasks
from llmrec_jax.losses.term import Term, heads, needs
from llmrec_jax.models import lora
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.forward import ForwardSpec, forward
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.rec_model import Dimensions, RecModel
from llmrec_jax.train import encoder_identity
from llmrec_jax.train.encoder import (
    make_encoder_config,
    mask_rule,
    new_trainable_encoder,
    trained_encoder,
    with_pretrained,
)
from llmrec_jax.train.feed import Batches
from llmrec_jax.train.impressions import impression_tables
from llmrec_jax.train.init_from import encoder_of, with_bundle
from llmrec_jax.train.optimizer import make_optimizer
from llmrec_jax.train.prepared import Data, prepare
from llmrec_jax.train.ratings import rating_tables
from llmrec_jax.train.start import with_counts
from llmrec_jax.train.state import Params, Trains, TrainState, new_state
from llmrec_jax.train.step import StepSpec
from llmrec_jax.train.terms import make_terms
from llmrec_jax.types import Batch, Catalog, Collectives, Head, Outputs


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """A run, ready to start."""

    config: Config
    data: Data
    corpus: Corpus  # of the data, with the batches of this run
    catalog: Catalog  # host arrays
    dims: Dimensions
    encoder_config: Any  # of the encoder inside the model; None if the catalogue holds vectors
    graphdef: Any  # of the `RecModel`
    spec: StepSpec
    encoder_identity: dict[str, str] = dataclasses.field(default_factory=dict)  # of `data.pretrained`

    def for_inference(self) -> tuple[Any, Catalog]:
        """The graph definition and catalogue for float32 inference, whatever dtype the run trains in.

        Evaluation, bundle vectors and `Recommender.encode` all compute in float32, so that they agree.
        """
        model = dataclasses.replace(self.config.model, compute_dtype="float32")
        encoder = self.encoder_config and dataclasses.replace(self.encoder_config, dtype=jnp.float32)
        config = dataclasses.replace(self.config, model=model)
        graphdef = _graphdef(config, self.dims, encoder, heads(self.spec.terms))
        return graphdef, self.catalog._replace(hidden_TF=self.data.hidden_TF)

    @property
    def may_keep_start(self) -> bool:
        """See `Run`."""
        return self.config.model.start == "counts" or self.config.train.init_from is not None

    def init_state(self) -> TrainState:
        """The initial state, with random parameters; traceable."""
        num_groups = len(self.spec.group_dro.parts) if self.spec.group_dro else 0
        return new_state(self._init_params, self.spec.tx, self.config.seed, self.spec.trains, num_groups)

    @property
    def data_hash(self) -> str:
        """See `Run`."""
        return self.corpus.hash

    def batches(self) -> Batches:
        """See `Run`."""
        return batches(self.corpus.plan, self.config.train.steps)

    def start(self, state: TrainState) -> TrainState:
        """See `Run`: the pretrained encoder, then counts, then the towers of `train.init_from`."""
        state, init_from = self.with_pretrained(state), self.config.train.init_from
        if self.config.model.start == "counts":
            state = with_counts(state, self.corpus)
        return state if init_from is None else with_bundle(state, Path(init_from), self.corpus)

    def with_pretrained(self, state: TrainState) -> TrainState:
        """`state` with the random encoder parameters replaced by the pretrained ones, sharded the same way."""
        if self.encoder_config is None:
            return state
        return with_pretrained(state, self.data.pretrained, frozen=self.config.encoder.frozen_layers)

    def whole_encoder(self, params: Params) -> Bert | Gpt2 | None:
        """The encoder with these parameters (host arrays), including frozen layers, with adapters merged."""
        if self.encoder_config is None:
            return self.data.pretrained
        return trained_encoder(self.config.encoder, self.data.pretrained, self.graphdef, params)

    def _init_params(self, key: jax.Array) -> Params:
        model = make_model(self.config, self.dims, self.encoder_config, heads(self.spec.terms), nnx.Rngs(key))
        return nnx.to_pure_dict(nnx.state(model))


def make_model(
    config: Config, dims: Dimensions, encoder_config: Any, heads: Mapping[str, Head], rngs: nnx.Rngs
) -> RecModel:
    """A recommender with random parameters."""
    encoder = None if encoder_config is None else new_trainable_encoder(config.encoder, encoder_config, rngs)
    return RecModel(config.model, dims, encoder, heads=heads, rngs=rngs)


def _graphdef(config: Config, dims: Dimensions, encoder_config: Any, heads: Mapping[str, Head]) -> Any:
    return nnx.graphdef(nnx.eval_shape(lambda: make_model(config, dims, encoder_config, heads, nnx.Rngs(0))))


def build(config: Config, on_data: Callable[[Corpus], None] = lambda _: None) -> Experiment:
    """Prepare and assemble a run; see `prepare` for the arguments."""
    return assemble(prepare(config, on_data), config)


def assemble(data: Data, config: Config) -> Experiment:
    """Make a run on prepared data: batches, model, optimizer, step.

    Raises:
      ValueError: the data was prepared with a configuration that differs in one of the fields that decide it, or the
        configuration is invalid.
    """
    data.check(config)
    config = encoder_of(config)
    corpus, items = data.corpus_of(config), data.items
    if data.pretrained is not None:
        encoder_identity.check_fields(config, data.pretrained)
    encoder_config, tokens = make_encoder_config(config, data.tokenizer, data.pretrained), None
    if config.tasks.language_model_weight:
        tokens = {"config": encoder_config, "rule": mask_rule(encoder_config, data.tokenizer)}
    terms = make_terms(config, corpus, tokens)
    makers = {"ratings": rating_tables, "impressions": impression_tables}
    if targets := {name: make(corpus) for name, make in makers.items() if name in needs(terms)}:
        corpus = dataclasses.replace(corpus, plan=with_targets(corpus.plan, targets))
    if isinstance(items, TokenTable):
        corpus = dataclasses.replace(corpus, plan=by_length(corpus.plan, np.diff(items.offsets)[: len(corpus.joint)]))
    dims = Dimensions(
        num_items=len(corpus.joint),
        feature_width=items.shape[1] if isinstance(items, np.ndarray) else encoder_config.width,
        max_history=config.data.max_history,
        pooling=config.encoder.pooling,
        has_times=corpus.plan.has_times,
    )
    graphdef = _graphdef(config, dims, encoder_config, heads(terms))
    task = ForwardSpec(
        lengths=corpus.plan.lengths,
        starts=tuple(int(start) for start in corpus.joint.starts),
        whole_catalogue="catalogue" in needs(terms),
        chunk_size=config.encoder.chunk_size,
        field_dropout=config.data.field_dropout,
        token_texts=config.tasks.language_model_texts if "tokens" in needs(terms) else 0,
    )
    catalog = corpus.joint.to_catalog(items, log_q(corpus.plan), trained_items(corpus.plan))
    if tokens is not None:
        held_out = hold_out(len(corpus.joint), config.data.split_seed)
        catalog = catalog._replace(is_held_out_I=np.isin(np.arange(len(corpus.joint)), held_out))
    if config.loss.logit_adjustment:
        catalog = catalog._replace(log_prior_I=log_prior(corpus.plan))
    if config.loss.propensity:
        weight_I = inverse_propensity(log_prior(corpus.plan), corpus.joint.starts, config.loss.propensity)
        catalog = catalog._replace(weight_I=weight_I)
    if data.hidden_TF is not None:
        assert isinstance(items, TokenTable)
        catalog = catalog._replace(
            tokens_IL=None,
            hidden_TF=data.hidden_TF.astype(jnp.dtype(config.model.compute_dtype)),
            hidden_start_I=items.offsets[:-1].astype(np.int32),
        )
    return Experiment(
        config=config,
        data=data,
        corpus=corpus,
        catalog=catalog,
        dims=dims,
        encoder_config=encoder_config,
        graphdef=graphdef,
        spec=make_step_spec(config, graphdef, task, terms),
        encoder_identity=data.encoder_identity,
    )


def make_step_spec(config: Config, graphdef: Any, task: ForwardSpec, terms: Mapping[str, Term]) -> StepSpec:
    """The constants of the training step."""

    def forward_params(
        params: Params, batch: Batch, catalog: Catalog, key: jax.Array, collectives: Collectives
    ) -> Outputs:
        return forward(nnx.merge(graphdef, params), batch, catalog, key, collectives, task=task)

    return StepSpec(
        forward=forward_params,
        terms=terms,
        tx=make_optimizer(config.optim, config.train.steps),
        num_steps=config.train.steps,
        trains=trainable_in(config),
        group_dro=balance.group_dro(config.loss, num_domains=len(task.starts) - 1),
        gradient_share=objective.gradient_share(config.adapt),
        tasks=tuple(name for name in terms if name in tasks.TASKS),
        weighting=config.tasks.weighting,
        logs_conflicts=config.tasks.log_conflicts,
    )


def trainable_in(config: Config) -> Trains:
    """Which parameters a run trains."""
    return _adapters_and_towers if config.encoder.mode == "lora" else _everything


def _everything(_: tuple[str, ...]) -> bool:
    return True


def _adapters_and_towers(path: tuple[str, ...]) -> bool:
    return path[0] != "encoder" or lora.is_adapter(path)

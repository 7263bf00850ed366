"""A run that trains the text encoder alone, as a language model on the item texts of all domains.

It reads no histories: the texts of the target are no labels. It writes `encoder/` (a Hugging Face folder, which
`train.init_from` and `encoder.pretrained` read) and `perplexity.json`, on texts that were held out.
"""

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding
from rich.console import Console

from llmrec_jax.config import Config
from llmrec_jax.data.batches.texts import TextPlan, hold_out, plan_texts, text_batches
from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.losses.language_model import token_loss
from llmrec_jax.losses.term import Term
from llmrec_jax.models import hf
from llmrec_jax.models.bert import Bert, BertConfig
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.language_model import LanguageModel, MaskRule, TokenHead, forward
from llmrec_jax.parallel import make_layout, to_host
from llmrec_jax.progress import shown
from llmrec_jax.train import session, trackers
from llmrec_jax.train.encoder import (
    make_encoder_config,
    mask_rule,
    new_trainable_encoder,
    trained_encoder,
    with_pretrained,
)
from llmrec_jax.train.experiment import trainable_in
from llmrec_jax.train.feed import Batches
from llmrec_jax.train.init_from import PERPLEXITY, encoder_of, trained_on
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.loop import reading
from llmrec_jax.train.optimizer import make_optimizer
from llmrec_jax.train.perplexity import TextLoss, first_params, mean_loss
from llmrec_jax.train.prepared import Data
from llmrec_jax.train.state import Params, TrainState, new_state
from llmrec_jax.train.step import StepSpec
from llmrec_jax.train.workdir import as_json
from llmrec_jax.types import Catalog, Collectives, TextBatch, TokenOutputs


@dataclasses.dataclass(frozen=True, eq=False)
class LanguageModelRun:
    """A `Run` of a language model."""

    config: Config
    data: Data
    catalog: Catalog  # host arrays, with tokens
    plan: TextPlan
    held_out: np.ndarray  # texts that are not trained on
    encoder_config: Any
    graphdef: Any  # of the `LanguageModel`
    spec: StepSpec

    @property
    def encoder_identity(self) -> dict[str, str]:
        """See `Run`."""
        return self.data.encoder_identity

    @property
    def data_hash(self) -> str:
        """See `Run`."""
        return self.data.corpus.hash

    @property
    def may_keep_start(self) -> bool:
        """See `Run`: its output layer is random."""
        return False

    def init_state(self) -> TrainState:
        """See `Run`."""
        return new_state(self._init_params, self.spec.tx, self.config.seed, self.spec.trains)

    def start(self, state: TrainState) -> TrainState:
        """See `Run`: the pretrained encoder."""
        return with_pretrained(state, self.data.pretrained, frozen=0)

    def batches(self) -> Batches:
        """See `Run`."""
        return text_batches(self.plan, self.config.train.steps)

    def _init_params(self, key: jax.Array) -> Params:
        rule = mask_rule(self.encoder_config, self.data.tokenizer)
        return nnx.to_pure_dict(nnx.state(_model(self.config, self.encoder_config, rule, nnx.Rngs(key))))


class HeldOutTexts:
    """Judges parameters by the log-likelihood of the held-out texts. See `Validator`."""

    validator, metric = "held_out_texts", "valid/log_likelihood"

    def __init__(self, run: LanguageModelRun, mesh: Mesh):
        self._run, self.mesh = run, mesh
        self._catalog = jax.device_put(run.catalog, NamedSharding(mesh, jax.P()))

    @property
    def validates(self) -> bool:
        """Whether any texts are held out."""
        return len(self._run.held_out) > 0

    def observe(self, params: Params) -> dict[str, float]:
        """Nothing besides the perplexity."""
        return {}

    def validate(self, params: Params) -> float:
        """The mean log-likelihood of a predicted token, which is minus the logarithm of the perplexity."""
        run = self._run
        loss = TextLoss(run.graphdef, _parts)
        with shown("validating"):
            return -mean_loss(loss, run.held_out, (params, self._catalog), self.mesh, run.config.train.eval_batch_size)


def train_language_model(config: Config, workdir: Path, console: Console, interrupts: Interrupts | None = None) -> None:
    """Run `config`, or resume the run, in `workdir`; see `train_and_evaluate` for arguments and errors."""

    def make(config: Config) -> LanguageModelRun:
        return assemble(reading(config, console), config)

    with session.held(config, workdir, console), trackers.opened(config, workdir, console) as tracked:
        fitted = session.fit(config, workdir, console, interrupts or Interrupts(), make, HeldOutTexts, tracked)
        run, evaluator = fitted.run, fitted.evaluator
        perplexity = {}
        if evaluator.validates:
            for name, params in (("before", first_params(run, evaluator.mesh)), ("after", fitted.state.params)):
                perplexity[name] = math.exp(-evaluator.validate(params))
        params = to_host(fitted.state.params)
        if jax.process_index() == 0:
            with shown("exporting the encoder"):
                encoder = trained_encoder(config.encoder, run.data.pretrained, run.graphdef, params)
                hf.save_pretrained(encoder, workdir / "encoder", run.data.tokenizer)
            facts = {
                "perplexity": perplexity,
                "predicted": "masked tokens" if isinstance(run.encoder_config, BertConfig) else "next tokens",
                "held_out_texts": len(run.held_out),
                "texts": len(run.data.corpus.joint),
                "domains": run.data.corpus.joint.domains,
                "selection": fitted.best,
                "trained_on": trained_on(config),
                "config": as_json(config),
                "hashes": run.data.corpus.hashes,
                "seconds": {name: round(value, 2) for name, value in fitted.seconds.items()},
            }
            temporary = workdir / "perplexity.tmp"
            temporary.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")
            os.replace(temporary, workdir / PERPLEXITY)
            tracked.report(config.train.steps, {f"perplexity/{name}": value for name, value in perplexity.items()})
        if perplexity:
            line = f"perplexity of {len(run.held_out):,} held-out texts: {perplexity['before']:.2f} before, "
            console.print(f"{line}{perplexity['after']:.2f} after", markup=False, highlight=False)


def assemble(data: Data, config: Config) -> LanguageModelRun:
    """Make a run on prepared data. Raises ValueError if the tokenizer has no mask token, see also `Data.check`."""
    data.check(config)
    config = encoder_of(config)
    assert isinstance(data.items, TokenTable), "config.rules: the encoder is trained"
    joint = data.corpus.joint
    encoder_config = make_encoder_config(config, data.tokenizer, data.pretrained)
    rule = mask_rule(encoder_config, data.tokenizer)
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: _model(config, encoder_config, rule, nnx.Rngs(0))))
    held_out = hold_out(len(joint), config.data.split_seed)
    tokens_N = np.diff(data.items.offsets)[: len(joint)]
    num_shards = make_layout(config.mesh).num_row_shards
    plan = plan_texts(tokens_N, held_out, config.train.batch_size, config.seed, num_shards=num_shards)
    nothing = np.zeros(len(joint))
    catalog = joint.to_catalog(data.items, nothing, nothing.astype(bool))

    def forward_params(
        params: Params, batch: TextBatch, catalog: Catalog, key: jax.Array, collectives: Collectives
    ) -> TokenOutputs:
        return forward(nnx.merge(graphdef, params), batch, catalog, key, collectives, lengths=plan.lengths)

    spec = StepSpec(
        forward=forward_params,
        terms={"language_model": Term(token_loss, 1.0)},
        tx=make_optimizer(config.optim, config.train.steps),
        num_steps=config.train.steps,
        trains=trainable_in(config),
    )
    return LanguageModelRun(config, data, catalog, plan, held_out, encoder_config, graphdef, spec)


def _model(config: Config, encoder_config: Any, rule: MaskRule | None, rngs: nnx.Rngs) -> LanguageModel:
    return LanguageModel(new_trainable_encoder(config.encoder, encoder_config, rngs), rule, rngs=rngs)


def _parts(model: LanguageModel) -> tuple[Bert | Gpt2, TokenHead]:
    return model.encoder, model

"""From a configuration to all that a run needs before its first step: data, tokenizer, encoder, model, spec.

Reads files and the cache, computes frozen text vectors; takes no step.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx, traverse_util
from tokenizers import Tokenizer

from llmrec_jax.config import Config
from llmrec_jax.data.batches.log_q import log_q
from llmrec_jax.data.batches.pipeline import by_length
from llmrec_jax.data.corpus import Corpus, cache_folder, load_corpus
from llmrec_jax.data.texts.catalog import token_table
from llmrec_jax.data.texts.tfidf import tfidf
from llmrec_jax.data.texts.tokenizer import TokenTable, load_tokenizer, train_tokenizer
from llmrec_jax.data.texts.whitening import Whitening, half_whitening
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.baselines import Predictor, popularity, text_knn, text_knn_decayed
from llmrec_jax.losses import objective
from llmrec_jax.models import frozen_layers, hf, lora
from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.locate import locate
from llmrec_jax.models.rec_model import Dimensions, ForwardSpec, RecModel, forward
from llmrec_jax.parallel import make_layout
from llmrec_jax.train.features import cached_features, cached_hidden_states
from llmrec_jax.train.optimizer import make_optimizer
from llmrec_jax.train.state import Params, TrainState, new_state
from llmrec_jax.train.step import StepSpec
from llmrec_jax.types import Batch, Catalog, Collectives, Outputs

KNN_TOKENS = 64  # of the text that the k-NN baselines read, whatever the model reads


@dataclasses.dataclass(frozen=True, eq=False)
class Experiment:
    """A run, ready to start."""

    config: Config
    corpus: Corpus
    tokenizer: Tokenizer
    pretrained: Bert | Gpt2 | None  # the encoder as it was loaded
    catalog: Catalog  # host arrays
    whitening: Whitening | None  # of a frozen encoder's vectors
    dims: Dimensions
    encoder_config: Any  # of the encoder inside the model; None where the catalogue holds vectors
    graphdef: Any  # of the `RecModel`
    spec: StepSpec

    def init_state(self) -> TrainState:
        """The state before the first step, with random parameters; can be traced."""
        return new_state(self._init_params, self.spec.tx, self.config.seed, self.spec.trains)

    def with_pretrained(self, state: TrainState) -> TrainState:
        """`state` with the pretrained encoder's parameters in place of random ones, laid out like those."""
        if self.pretrained is None or self.encoder_config is None:
            return state
        loaded = traverse_util.flatten_dict(
            frozen_layers.upper_params(self.pretrained, self.config.encoder.frozen_layers)
        )
        # Copies: the first step takes its state's buffers, and the k-NN baselines read the pretrained ones at the end.
        encoder = {
            path: jax.device_put(np.array(loaded[path]), random.sharding) if path in loaded else random
            for path, random in traverse_util.flatten_dict(state.params["encoder"]).items()
        }
        return state._replace(params={**state.params, "encoder": traverse_util.unflatten_dict(encoder)})

    def whole_encoder(self, params: Params) -> Bert | Gpt2 | None:
        """From tokens on, with adapters merged: the encoder of a model with these parameters (host arrays)."""
        if self.encoder_config is None:
            return self.pretrained
        if self.pretrained is None:
            return nnx.merge(self.graphdef, params).encoder
        merged = lora.merge_adapters(params["encoder"], self.config.encoder.lora_alpha)
        return frozen_layers.rejoin(self.pretrained, merged, self.config.encoder.frozen_layers)

    def baselines(self, domain: int) -> list[Predictor]:
        """The untrained predictors for one domain."""
        texts = self.corpus.domains[domain].texts
        features_IF = tfidf(texts)
        if self.pretrained is not None:
            max_tokens = min(KNN_TOKENS, self.pretrained.config.max_positions)
            features_IF = _text_vectors(self.config, self.pretrained, self.tokenizer, texts, max_tokens, "mean")
        return [popularity(self.corpus.train_counts(domain)), text_knn(features_IF), text_knn_decayed(features_IF)]

    def _init_params(self, key: jax.Array) -> Params:
        model = make_model(self.config, self.dims, self.encoder_config, nnx.Rngs(key))
        return nnx.to_pure_dict(nnx.state(model))


def make_model(config: Config, dims: Dimensions, encoder_config: Any, rngs: nnx.Rngs) -> RecModel:
    """A recommender with random parameters."""
    encoder = None if encoder_config is None else new_encoder(encoder_config, rngs)
    if encoder is not None and config.encoder.mode == "lora":
        lora.add_adapters(encoder, config.encoder.lora_rank, config.encoder.lora_alpha, rngs=rngs)
    return RecModel(config.model, dims, encoder, discriminator=config.adapt.method == "dann", rngs=rngs)


def build(config: Config, on_data: Callable[[Corpus], None] = lambda _: None) -> Experiment:
    """Prepare a run.

    Args:
      config: of the run.
      on_data: called as soon as the data is read, before any text is encoded.

    Raises:
      ValueError: the configuration or the data does not allow a run; the message has the reason.
    """
    num_shards = make_layout(config.mesh).num_row_shards
    corpus = load_corpus(config.data, config.train.batch_size, config.seed, num_shards=num_shards)
    on_data(corpus)
    pretrained, tokenizer = load_encoder(config, corpus.joint.texts)
    encoder_config = _encoder_config(config, tokenizer, pretrained)
    items, whitening = _item_inputs(config, corpus, pretrained, tokenizer)
    if isinstance(items, TokenTable):
        corpus = dataclasses.replace(corpus, plan=by_length(corpus.plan, np.diff(items.offsets)))
    dims = Dimensions(
        num_items=len(corpus.joint),
        feature_width=items.shape[1] if isinstance(items, np.ndarray) else encoder_config.width,
        max_history=config.data.max_history,
        pooling=config.encoder.pooling,
    )
    graphdef = nnx.graphdef(nnx.eval_shape(lambda: make_model(config, dims, encoder_config, nnx.Rngs(0))))
    task = ForwardSpec(
        lengths=corpus.plan.lengths,
        starts=tuple(int(start) for start in corpus.joint.starts),
        whole_catalogue=config.loss.ranking == "softmax",
        chunk_size=config.encoder.chunk_size,
    )
    catalog = corpus.joint.to_catalog(items, log_q(corpus.plan))
    if isinstance(items, TokenTable) and pretrained is not None and (frozen := config.encoder.frozen_layers):
        hidden_TF = cached_hidden_states(
            frozen_layers.lower_encoder(pretrained, frozen), items, cache_folder(config.data, "features")
        )
        catalog = catalog._replace(
            tokens_IL=None, hidden_TF=hidden_TF, hidden_start_I=items.offsets[:-1].astype(np.int32)
        )
    return Experiment(
        config=config,
        corpus=corpus,
        tokenizer=tokenizer,
        pretrained=pretrained,
        catalog=catalog,
        whitening=whitening,
        dims=dims,
        encoder_config=encoder_config,
        graphdef=graphdef,
        spec=make_step_spec(config, graphdef, task),
    )


def make_step_spec(config: Config, graphdef: Any, task: ForwardSpec) -> StepSpec:
    """What the training step of a run is made of."""

    def forward_params(
        params: Params, batch: Batch, catalog: Catalog, key: jax.Array, collectives: Collectives
    ) -> Outputs:
        return forward(nnx.merge(graphdef, params), batch, catalog, key, collectives, task=task)

    return StepSpec(
        forward=forward_params,
        terms=objective.build(config.loss, config.adapt, num_domains=len(task.starts) - 1),
        tx=make_optimizer(config.optim, config.train.steps),
        num_steps=config.train.steps,
        trains=_adapters_and_towers if config.encoder.mode == "lora" else _everything,
    )


def _everything(_: tuple[str, ...]) -> bool:
    return True


def _adapters_and_towers(path: tuple[str, ...]) -> bool:
    return path[0] != "encoder" or lora.is_adapter(path)


def load_encoder(config: Config, texts: list[str]) -> tuple[Bert | Gpt2 | None, Tokenizer]:
    """The pretrained encoder with its tokenizer, or none and a tokenizer trained on the catalogue's texts."""
    if config.encoder.pretrained is None:
        return None, train_tokenizer(texts, config.encoder.kind, config.data.vocab_size)
    folder = locate(config.encoder.pretrained)
    dtype = jnp.dtype(config.model.compute_dtype)
    encoder = hf.from_pretrained(folder, dtype=dtype, remat=config.encoder.remat, attention=config.encoder.attention)
    if config.data.max_tokens > encoder.config.max_positions:
        raise UserError(
            f"data.max_tokens={config.data.max_tokens}, but {folder} has {encoder.config.max_positions} positions"
        )
    return encoder, load_tokenizer(folder)


def _encoder_config(config: Config, tokenizer: Tokenizer, pretrained: Bert | Gpt2 | None) -> Any:
    if config.encoder.mode == "frozen" or config.model.item_features == "id":
        return None
    if pretrained is not None:
        return frozen_layers.upper_config(pretrained.config, config.encoder.frozen_layers)
    return ENCODERS[config.encoder.kind].config(
        vocab_size=tokenizer.get_vocab_size(),
        max_positions=config.data.max_tokens,
        width=config.encoder.width,
        num_layers=config.encoder.num_layers,
        num_heads=config.encoder.num_heads,
        dropout=config.encoder.dropout,
        remat=config.encoder.remat,
        attention=config.encoder.attention,
        dtype=jnp.dtype(config.model.compute_dtype),
    )


def _item_inputs(
    config: Config, corpus: Corpus, pretrained: Bert | Gpt2 | None, tokenizer: Tokenizer
) -> tuple[TokenTable | np.ndarray, Whitening | None]:
    """What the catalogue holds of each item: tokens, a frozen encoder's vectors, or (ids only) nothing."""
    if config.model.item_features == "id":
        return np.zeros((len(corpus.joint), 1), np.float32), None
    if config.encoder.mode != "frozen":
        return token_table(corpus.joint.texts, tokenizer, config.data.max_tokens, config.data.cache_dir), None
    parts = [
        _text_vectors(config, pretrained, tokenizer, domain.texts, config.data.max_tokens, config.encoder.pooling)
        for domain in corpus.domains
    ]
    whitening = half_whitening(np.concatenate(parts))
    return whitening(np.concatenate(parts)), whitening


def _text_vectors(
    config: Config, encoder: Any, tokenizer: Tokenizer, texts: list[str], max_tokens: int, pooling: Any
) -> np.ndarray:
    table = token_table(texts, tokenizer, max_tokens, config.data.cache_dir)
    return cached_features(encoder, table, pooling, cache_folder(config.data, "features"))

"""What the runs on one data set share: domains, tokenizer, encoder, text inputs, baselines. Read and computed once.

`experiment.assemble` makes a run from it, so that several seeds or configurations in one process prepare once.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from llmrec_jax.baselines.standard import standard_baselines
from llmrec_jax.config import Config, flatten
from llmrec_jax.data.corpus import Corpus, load_corpus, of_source
from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.progress import reading_shown
from llmrec_jax.data.protocol import LAST_STEP
from llmrec_jax.data.texts.tfidf import tfidf
from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.data.texts.whitening import Whitening
from llmrec_jax.errors import UserError
from llmrec_jax.inference.network import TEXT_PART_TOKENS
from llmrec_jax.losses import objective
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.parallel import make_layout
from llmrec_jax.predictor import Predictor
from llmrec_jax.progress import shown
from llmrec_jax.train import encoder_identity
from llmrec_jax.train.encoder import load_encoder
from llmrec_jax.train.init_from import check_regime, encoder_of
from llmrec_jax.train.item_inputs import frozen_states, item_inputs, text_vectors
from llmrec_jax.train.terms import make_terms

# Prefixes of the fields that decide the data. Runs on the same data agree in all of them.
DECISIVE = ("data.", "encoder.", "model.item_features", "train.init_from")


@dataclasses.dataclass(frozen=True, eq=False)
class Data:
    """The data of one or more runs."""

    config: Config  # that it was prepared with
    corpus: Corpus  # of that configuration
    tokenizer: Tokenizer
    pretrained: Bert | Gpt2 | None  # the encoder before training; None if it starts from random parameters
    text_encoder: Bert | Gpt2 | None  # of the k-NN baselines and the answer's text part; None: these use TF-IDF
    encoder_identity: dict[str, str]  # of `pretrained`
    items: TokenTable | np.ndarray  # the text inputs of the joint catalogue, see `ItemInputs`
    whitening: Whitening | None  # of the vectors of a frozen encoder
    hidden_TF: np.ndarray | None  # output of the encoder's frozen layers for each token, float32

    def check(self, config: Config) -> None:
        """Raises ValueError, which names the fields, if a run of `config` needs other data."""
        theirs, ours = (flatten(dataclasses.asdict(c)) for c in (self.config, encoder_of(config)))
        if differences := [
            f"{name}: {theirs[name]!r} there, {value!r} here"
            for name, value in ours.items()
            if name.startswith(DECISIVE) and theirs[name] != value
        ]:
            raise UserError(
                "\n  ".join(["the data was prepared with another configuration: prepare it again", *differences])
            )

    def corpus_of(self, config: Config) -> Corpus:
        """The corpus of a run, whose batches depend on more than the data."""
        return self.corpus if config == self.config else _corpus(config, self.corpus.domains)

    @functools.cached_property
    def baselines(self) -> dict[str, Callable[[str], Predictor]]:
        """Constructors of the baselines for the target, see `standard_baselines`; each is fitted once and kept."""
        target = self.corpus.target

        def vectors() -> Any:
            features_IF = self.text_features(target)
            return tfidf(self.corpus.domains[target].texts) if features_IF is None else features_IF

        made = standard_baselines(self.corpus, target, vectors)
        return {name: functools.cache(make) for name, make in made.items()}

    def text_features(self, domain: int) -> np.ndarray | None:
        """Vectors of the texts of a domain from `text_encoder`, float32 [I, F]; None if there is none.

        They do not depend on the run's `max_tokens` and pooling. Cached on disk.
        """
        if self.text_encoder is None:
            return None
        texts = self.corpus.domains[domain].texts
        max_tokens = min(TEXT_PART_TOKENS, self.text_encoder.config.max_positions)
        return text_vectors(self.config, self.text_encoder, self.tokenizer, texts, max_tokens, "mean")


def prepare(config: Config, on_data: Callable[[Corpus], None] = lambda _: None) -> Data:
    """Read the domains and compute the inputs of the model.

    Args:
      config: the configuration of a run.
      on_data: called once the domains are read, before any text is encoded.

    Raises:
      ValueError: the configuration or the data is invalid.
    """
    check_regime(config)
    objective.method_of(config.adapt), objective.ranking_of(config.loss)  # refuses an unknown one before reading data
    configured, config = config, encoder_of(config)
    with reading_shown():
        corpus = _corpus(config)
    on_data(corpus)
    if config.train.objective == "ranking":
        make_terms(config, corpus)  # refuses terms that the data cannot serve, before texts are encoded
    with shown("loading the encoder" if config.encoder.pretrained else "training the tokenizer"):
        pretrained, tokenizer = load_encoder(config, corpus.joint.texts)
    if pretrained is not None:
        encoder_identity.check_fields(config, pretrained)
    items, whitening = item_inputs(config, corpus, pretrained, tokenizer)
    hidden_TF = None
    if isinstance(items, TokenTable) and pretrained is not None and config.encoder.frozen_layers:
        hidden_TF = frozen_states(config, pretrained, items)
    identity = encoder_identity.identify(config, pretrained, tokenizer)
    text_encoder = pretrained
    if config is not configured:
        text_encoder = _untrained(configured, pretrained, tokenizer, identity)
    return Data(config, corpus, tokenizer, pretrained, text_encoder, identity, items, whitening, hidden_TF)


def _untrained(
    config: Config, initial: Bert | Gpt2 | None, tokenizer: Tokenizer, identity: dict[str, str]
) -> Bert | Gpt2 | None:
    """The configured encoder, where that of `train.init_from` is trained: what is not trained reads its vectors.

    It is `initial`, the encoder of `train.init_from`, if their weights are the same.
    """
    if config.encoder.pretrained is None:
        return None
    encoder, its_tokenizer = load_encoder(config, [])
    if its_tokenizer.get_vocab() != tokenizer.get_vocab():
        raise UserError(
            f"train.init_from={config.train.init_from} has another vocabulary than encoder.pretrained="
            f"{config.encoder.pretrained}: set encoder.pretrained to the encoder that its run started from, or to none"
        )
    return initial if encoder_identity.identify(config, encoder, its_tokenizer)["hash"] == identity["hash"] else encoder


def _corpus(config: Config, domains: Sequence[Domain] | None = None) -> Corpus:
    corpus = load_corpus(
        config.data,
        config.train.batch_size,
        config.seed,
        num_shards=make_layout(config.mesh).num_row_shards,
        selection=config.train.selection if config.train.eval_every else LAST_STEP,
        num_negatives=config.loss.negatives if "negatives" in objective.ranking_of(config.loss).needs else 0,
        mask_rate=config.model.mask_rate if config.model.user_tower == "bert4rec" else 0.0,
        reads_times=config.model.user_tower == "hstu",
        reads_graph=config.tasks.knowledge_graph != "none",
        domains=domains,
    )
    source = config.train.only_source
    return corpus if source is None else of_source(corpus, source, config.data)

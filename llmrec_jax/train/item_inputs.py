"""The text inputs of the catalogue: tokens, hidden states of frozen layers, or vectors of a frozen encoder.

Computed once per run and cached; hidden states and vectors are float32, whatever dtype the run trains in.

Shape letters: those of `types`.
"""

import itertools
from typing import Any, NamedTuple

import jax
import numpy as np
from tokenizers import Tokenizer

from llmrec_jax.config import Config
from llmrec_jax.data.corpus import Corpus, cache_folder
from llmrec_jax.data.domains.records import item_text
from llmrec_jax.data.texts.catalog import token_table
from llmrec_jax.data.texts.tokenizer import TokenTable
from llmrec_jax.data.texts.whitening import Whitening, half_whitening
from llmrec_jax.losses import adaptation
from llmrec_jax.models import frozen_layers
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.progress import shown
from llmrec_jax.train.features import cached_features, cached_hidden_states


class ItemInputs(NamedTuple):
    """Tokens if the encoder runs in the step, else vectors [I, F]."""

    items: TokenTable | np.ndarray  # of the texts; with `data.field_dropout`, followed by those of the titles
    whitening: Whitening | None  # of the vectors of a frozen encoder


def item_inputs(config: Config, corpus: Corpus, pretrained: Bert | Gpt2 | None, tokenizer: Tokenizer) -> ItemInputs:
    """The inputs of the joint catalogue for the configured encoder; zeros [I, 1] if items have no text."""
    if config.model.item_features == "id":
        return ItemInputs(np.zeros((len(corpus.joint), 1), np.float32), None)
    parts = [domain.texts for domain in corpus.domains]
    if config.data.field_dropout:
        parts.append([item_text(title, None, None, None) for title in corpus.joint.titles])
    data = config.data
    if config.encoder.mode != "frozen":
        with shown("tokenizing texts"):
            table = token_table(list(itertools.chain(*parts)), tokenizer, data.max_tokens, data.cache_dir)
        return ItemInputs(table, None)
    features_NF = np.concatenate(
        [text_vectors(config, pretrained, tokenizer, texts, data.max_tokens, config.encoder.pooling) for texts in parts]
    )
    if config.encoder.whitening == "domain":
        return _whitened_by_domain(features_NF, corpus.joint.starts)
    whitening = half_whitening(features_NF[: len(corpus.joint)])
    return ItemInputs(whitening(features_NF), whitening)


def _whitened_by_domain(features_NF: np.ndarray, starts: np.ndarray) -> ItemInputs:
    """Each domain's vectors whitened with its own mean and covariance; new items are whitened as those of the target.

    The symmetric root keeps the directions of the encoder's space, so that vectors of different domains compare. A
    large epsilon, because a small domain has no variance in most directions.
    """
    whitened_NF = np.empty_like(features_NF)
    num_items = int(starts[-1])
    for start, end in itertools.pairwise(starts.tolist()):
        own_NF = features_NF[start:end]
        domain_N, mask_N = np.zeros(len(own_NF), np.int32), np.ones(len(own_NF), bool)
        mean_GF, matrix_GFF = adaptation.whitening_parameters(own_NF, domain_N, mask_N, num_domains=1, epsilon=0.1)
        whitening = Whitening(np.asarray(mean_GF[0]), np.asarray(matrix_GFF[0]))
        for first in range(0, len(features_NF), num_items):  # the texts, then the titles
            whitened_NF[first + start : first + end] = whitening(features_NF[first + start : first + end])
    return ItemInputs(whitened_NF, whitening)


def text_vectors(
    config: Config, encoder: Any, tokenizer: Tokenizer, texts: list[str], max_tokens: int, pooling: Any
) -> np.ndarray:
    """One vector per text from a frozen encoder, float32 [N, F]; cached."""
    with shown("tokenizing texts"):
        table = token_table(texts, tokenizer, max_tokens, config.data.cache_dir)
    with jax.default_matmul_precision("highest"):  # like the CPU, on which a bundle encodes texts
        return cached_features(encoder, table, pooling, cache_folder(config.data, "features"))


def frozen_states(config: Config, pretrained: Bert | Gpt2, table: TokenTable) -> np.ndarray:
    """The output of the encoder's frozen layers for each token, float32 [T, F]; cached."""
    lower = frozen_layers.lower_encoder(pretrained, config.encoder.frozen_layers)
    with jax.default_matmul_precision("highest"):
        return cached_hidden_states(lower, table, cache_folder(config.data, "features"))

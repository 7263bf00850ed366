"""A language model on the text encoder: masked tokens for BERT, the next token for GPT-2.

The output weights are the token embeddings. BERT's output layer (a projection, a layer norm, a bias) is new, and is
dropped after the training.

Shape letters: those of `types`, K being the predictions of a text.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.layers import ACTIVATIONS, layer_norm, linear
from llmrec_jax.types import SINGLE_DEVICE, Catalog, Collectives, TextBatch, TokenOutputs

PERCENT = 15  # of a text's tokens are masked


@dataclasses.dataclass(frozen=True)
class MaskRule:
    """The tokens that masking needs to know."""

    mask_id: int
    special_ids: tuple[int, ...]  # never masked


class LanguageModel(nnx.Module):
    """Texts -> the vectors that their tokens are predicted from."""

    def __init__(self, encoder: Bert | Gpt2, rule: MaskRule | None, *, rngs: nnx.Rngs):
        """With a `rule` masked tokens are predicted, without one the next tokens."""
        self.encoder, self.rule, config = encoder, rule, encoder.config
        if rule is not None:
            self.transform = linear(config.width, config.width, config, rngs)
            self.norm = layer_norm(config)
            self.bias = nnx.Param(jnp.zeros(config.vocab_size))

    def predictions(
        self, tokens_UL: jax.Array, mask_UL: jax.Array, mask_key_U: jax.Array, dropout_key: jax.Array | None
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What is predicted in some texts.

        Args:
          tokens_UL: the texts, padded on the right.
          mask_UL: False on padding.
          mask_key_U: keys that choose the masked tokens; not used without a `rule`.
          dropout_key: None for no dropout.

        Returns:
          Vectors [U, K, D], float32; the token to predict from each [U, K]; whether it is a prediction [U, K].
        """
        rngs = None if dropout_key is None else nnx.Rngs(dropout=dropout_key)
        if self.rule is None:
            hidden_ULD = self.encoder(tokens_UL, mask_UL, rngs=rngs).astype(jnp.float32)
            return hidden_ULD[:, :-1], tokens_UL[:, 1:], mask_UL[:, 1:]
        config = self.encoder.config
        masked_UL, place_UK, is_masked_UK = mask_tokens(tokens_UL, mask_UL, mask_key_U, self.rule, config.vocab_size)
        hidden_ULD = self.encoder(masked_UL, mask_UL, rngs=rngs)
        hidden_UKD = jnp.take_along_axis(hidden_ULD, place_UK[:, :, None], axis=1)
        hidden_UKD = self.norm(ACTIVATIONS[config.activation](self.transform(hidden_UKD)))
        return hidden_UKD, jnp.take_along_axis(tokens_UL, place_UK, axis=1), is_masked_UK

    @property
    def output(self) -> tuple[jax.Array, jax.Array | None]:
        """Weights [V, D] and bias [V] of the output."""
        return self.encoder.tokens.embedding[...], None if self.rule is None else self.bias[...]


def mask_tokens(
    tokens_UL: jax.Array, mask_UL: jax.Array, key_U: jax.Array, rule: MaskRule, vocab_size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mask tokens as BERT does: 15 % of each text's, at least one, special tokens excluded.

    Of these, 80 % become the mask token, 10 % a random token, and 10 % stay.

    Returns:
      The texts with masked tokens [U, L]; the places of the masked tokens [U, K]; whether each is one [U, K].
    """
    length = tokens_UL.shape[1]

    def draw(key: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        order, action, token = jax.random.split(key, 3)
        return (
            jax.random.uniform(order, (length,)),
            jax.random.uniform(action, (length,)),
            jax.random.randint(token, (length,), 0, vocab_size),
        )

    order_UL, action_UL, random_UL = jax.vmap(draw)(key_U)
    may_UL = mask_UL & ~jnp.isin(tokens_UL, jnp.array(rule.special_ids))
    order_UL = jnp.where(may_UL, order_UL, 2.0)  # after all others
    place_UL = jnp.argsort(order_UL, axis=1)
    possible_U = may_UL.sum(axis=1)
    number_U = jnp.minimum(jnp.maximum(_share(possible_U), 1), possible_U)
    is_chosen_UL = jnp.argsort(place_UL, axis=1) < number_U[:, None]
    new_UL = jnp.where(action_UL < 0.8, rule.mask_id, jnp.where(action_UL < 0.9, random_UL, tokens_UL))
    most = max(_share(length), 1)
    is_masked_UK = jnp.arange(most)[None] < number_U[:, None]
    return jnp.where(is_chosen_UL, new_UL, tokens_UL), place_UL[:, :most], is_masked_UK


def predict(
    model: LanguageModel,
    texts_U: jax.Array,
    catalog: Catalog,
    mask_key: jax.Array,
    dropout_key: jax.Array | None = None,
    *,
    length: int | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`LanguageModel.predictions` of texts of the catalogue; what is masked depends on the key and the text alone."""
    assert catalog.tokens_IL is not None
    assert catalog.token_mask_IL is not None
    tokens_UL, mask_UL = (x[:, :length][texts_U] for x in (catalog.tokens_IL, catalog.token_mask_IL))
    key_U = jax.vmap(jax.random.fold_in, (None, 0))(mask_key, texts_U)
    return model.predictions(tokens_UL, mask_UL, key_U, dropout_key)


def forward(
    model: LanguageModel,
    batch: TextBatch,
    catalog: Catalog,
    key: jax.Array,
    collectives: Collectives = SINGLE_DEVICE,
    *,
    lengths: tuple[int, ...],
) -> TokenOutputs:
    """The predictions of a batch, or of one device's shard of it.

    Args:
      model: the language model.
      batch: texts of the catalogue.
      catalog: with tokens.
      key: for masking and dropout, the same on every device.
      collectives: communication between devices.
      lengths: padded length of each group of texts.
    """
    mask_key, dropout_key = jax.random.split(key)
    dropout_keys = jax.random.split(jax.random.fold_in(dropout_key, collectives.axis_index()), len(lengths))
    parts = []
    for items, length, part_key in zip(batch.items, lengths, dropout_keys, strict=True):
        hidden_UKD, target_UK, is_predicted_UK = predict(model, items.ids_U, catalog, mask_key, part_key, length=length)
        is_predicted_UK &= items.mask_U[:, None]
        parts.append((hidden_UKD.reshape(-1, hidden_UKD.shape[2]), target_UK.reshape(-1), is_predicted_UK.reshape(-1)))
    embedding_VD, bias_V = model.output
    hidden_ND, target_N, is_predicted_N = (jnp.concatenate(x) for x in zip(*parts, strict=True))
    return TokenOutputs(hidden_ND, target_N, is_predicted_N, embedding_VD, bias_V)


def _share(number: int | jax.Array) -> Any:
    """15 %, rounded."""
    return (PERCENT * number + 50) // 100

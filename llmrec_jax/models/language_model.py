"""A language model on the text encoder: masked tokens for BERT, the next token for GPT-2.

The output weights are the token embeddings. BERT's output layer (a projection, a layer norm, a bias) is new. A stage of
its own (`LanguageModel`) drops it after the training; as a task beside ranking it is a head of the model.

Shape letters: those of `types`, K being the predictions of a text.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.layers import ACTIVATIONS, layer_norm, linear
from llmrec_jax.types import SINGLE_DEVICE, Catalog, Collectives, Items, TextBatch, TokenOutputs

PERCENT = 15  # of a text's tokens are masked


@dataclasses.dataclass(frozen=True)
class MaskRule:
    """The tokens that masking needs to know."""

    mask_id: int
    special_ids: tuple[int, ...]  # never masked


class TokenHead(nnx.Module):
    """Hidden states of the text encoder -> the vectors that tokens are predicted from."""

    def __init__(self, width: int = 0, *, config: Any, rule: MaskRule | None, rngs: nnx.Rngs):
        """With a `rule` masked tokens are predicted, without one the next tokens.

        Args:
          width: not used; that of the encoder counts.
          config: of the encoder.
          rule: see above.
          rngs: stream "params".
        """
        self.rule = rule
        if rule is not None:
            self.transform = linear(config.width, config.width, config, rngs)
            self.norm = layer_norm(config)
            self.bias = nnx.Param(jnp.zeros(config.vocab_size))

    def predictions(
        self,
        encoder: Bert | Gpt2,
        tokens_UL: jax.Array,
        mask_UL: jax.Array,
        mask_key_U: jax.Array,
        dropout_key: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """What is predicted in some texts.

        Args:
          encoder: of the configuration that the head was made for.
          tokens_UL: the texts, padded on the right.
          mask_UL: False on padding.
          mask_key_U: keys that choose the masked tokens; not used without a `rule`.
          dropout_key: None for no dropout.

        Returns:
          Vectors [U, K, D], float32; the token to predict from each [U, K]; whether it is a prediction [U, K].
        """
        rngs = None if dropout_key is None else nnx.Rngs(dropout=dropout_key)
        if self.rule is None:
            hidden_ULD = encoder(tokens_UL, mask_UL, rngs=rngs).astype(jnp.float32)
            return hidden_ULD[:, :-1], tokens_UL[:, 1:], mask_UL[:, 1:]
        config = encoder.config
        masked_UL, place_UK, is_masked_UK = mask_tokens(tokens_UL, mask_UL, mask_key_U, self.rule, config.vocab_size)
        hidden_ULD = encoder(masked_UL, mask_UL, rngs=rngs)
        hidden_UKD = jnp.take_along_axis(hidden_ULD, place_UK[:, :, None], axis=1)
        hidden_UKD = self.norm(ACTIVATIONS[config.activation](self.transform(hidden_UKD)))
        return hidden_UKD, jnp.take_along_axis(tokens_UL, place_UK, axis=1), is_masked_UK

    def output(self, encoder: Bert | Gpt2) -> tuple[jax.Array, jax.Array | None]:
        """Weights [V, D] and bias [V] of the output."""
        return encoder.tokens.embedding[...], None if self.rule is None else self.bias[...]


class LanguageModel(TokenHead):
    """A text encoder with the head that predicts its tokens."""

    def __init__(self, encoder: Bert | Gpt2, rule: MaskRule | None, *, rngs: nnx.Rngs):
        """See `TokenHead`."""
        super().__init__(config=encoder.config, rule=rule, rngs=rngs)
        self.encoder = encoder


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
    encoder: Bert | Gpt2,
    head: TokenHead,
    texts_U: jax.Array,
    catalog: Catalog,
    mask_key: jax.Array,
    dropout_key: jax.Array | None = None,
    *,
    length: int | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`TokenHead.predictions` of texts of the catalogue; what is masked depends on the key and the text alone."""
    assert catalog.tokens_IL is not None
    assert catalog.token_mask_IL is not None
    tokens_UL, mask_UL = (x[:, :length][texts_U] for x in (catalog.tokens_IL, catalog.token_mask_IL))
    key_U = jax.vmap(jax.random.fold_in, (None, 0))(mask_key, texts_U)
    return head.predictions(encoder, tokens_UL, mask_UL, key_U, dropout_key)


def forward(
    model: LanguageModel,
    batch: TextBatch,
    catalog: Catalog,
    key: jax.Array,
    collectives: Collectives = SINGLE_DEVICE,
    *,
    lengths: tuple[int, ...],
) -> TokenOutputs:
    """The predictions of a batch, or of one device's shard of it; see `token_outputs`."""
    return token_outputs(model.encoder, model, batch.items, catalog, key, collectives, lengths=lengths)


def sample_texts(
    groups: Sequence[Items], catalog: Catalog, key: jax.Array, collectives: Collectives, number: int
) -> tuple[Items, ...]:
    """About `number` random texts of a ranking batch, from its groups by length in proportion to their sizes.

    Those of `Catalog.is_held_out_I` are left out. The choice depends on the key and on the global batch, not on the
    number of devices.

    Args:
      groups: the items of the batch, or one device's shard of them.
      catalog: with `is_held_out_I`.
      key: the same on every device.
      collectives: communication between devices.
      number: rounded up in every group.

    Returns:
      The texts of each group, on each device its share of them.
    """
    assert catalog.is_held_out_I is not None
    whole = [Items(*(collectives.all_gather(array) for array in items)) for items in groups]
    total, shards, chosen = sum(len(ids_U) for ids_U, _ in whole), collectives.num_shards, []
    for ids_U, mask_U in whole:
        may_U = mask_U & ~catalog.is_held_out_I[ids_U]
        draw_U = jax.vmap(lambda text: jax.random.uniform(jax.random.fold_in(key, text)))(ids_U)
        order_U = jnp.argsort(jnp.where(may_U, draw_U, 2.0))[: -(-number * len(ids_U) // total)]
        padding = (0, -len(order_U) % shards)
        padded = jnp.pad(ids_U[order_U], padding), jnp.pad(may_U[order_U], padding)
        chosen.append(Items(*(collectives.local_shards(x.reshape(shards, -1)).reshape(-1) for x in padded)))
    return tuple(chosen)


def token_outputs(
    encoder: Bert | Gpt2,
    head: TokenHead,
    groups: Sequence[Items],
    catalog: Catalog,
    key: jax.Array,
    collectives: Collectives,
    *,
    lengths: Sequence[int],
) -> TokenOutputs:
    """The predicted tokens of some texts.

    Args:
      encoder: the text encoder.
      head: its output.
      groups: texts of the catalogue by length; on each device its own.
      catalog: with tokens.
      key: for masking and dropout, the same on every device.
      collectives: communication between devices.
      lengths: padded length of each group.
    """
    mask_key, dropout_key = jax.random.split(key)
    dropout_keys = jax.random.split(jax.random.fold_in(dropout_key, collectives.axis_index()), len(lengths))
    parts = []
    for items, length, part_key in zip(groups, lengths, dropout_keys, strict=True):
        predicted = predict(encoder, head, items.ids_U, catalog, mask_key, part_key, length=length)
        hidden_UKD, target_UK, is_predicted_UK = predicted
        is_predicted_UK &= items.mask_U[:, None]
        parts.append((hidden_UKD.reshape(-1, hidden_UKD.shape[2]), target_UK.reshape(-1), is_predicted_UK.reshape(-1)))
    embedding_VD, bias_V = head.output(encoder)
    hidden_ND, target_N, is_predicted_N = (jnp.concatenate(x) for x in zip(*parts, strict=True))
    return TokenOutputs(hidden_ND, target_N, is_predicted_N, embedding_VD, bias_V)


def _share(number: int | jax.Array) -> Any:
    """15 %, rounded."""
    return (PERCENT * number + 50) // 100

"""User tower: a history of item vectors -> a user vector after every step. A row may hold several packed histories.

By default a user vector is the recency-weighted mean of the item vectors, as in a k-NN, plus the output of a causal
stack of blocks, whose output projection is initialized to zero, so training starts from the k-NN. Without the mean it
is the output of the stack after a layer norm, as in SASRec (Kang and McAuley 2018). `scoring` turns it into the vector
to score.

BERT4Rec (Sun et al. 2019, arXiv:1904.06690) is bidirectional: a step sees the whole history, in which some items are
replaced by a learned vector, and the user vector at a masked step predicts its item. To recommend, a masked step is
appended to the history.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from llmrec_jax.config import ModelConfig
from llmrec_jax.models.bert import BertBlock
from llmrec_jax.models.gpt2 import Gpt2Block
from llmrec_jax.models.hstu import HstuBlock
from llmrec_jax.models.layers import Stack, StackConfig, dropout, embedding, layer_norm, split_key
from llmrec_jax.models.ligr import LigrBlock
from llmrec_jax.models.scoring import l2_normalize


def blocks(max_history: int, has_times: bool) -> dict[str, Callable[..., nnx.Module]]:
    """The block of each `model.user_tower`; "mean" has none."""
    return {
        "transformer": Gpt2Block,
        "ligr": LigrBlock,
        "bert4rec": BertBlock,
        "hstu": functools.partial(HstuBlock, max_history=max_history, has_times=has_times),
    }


class UserTower(nnx.Module):
    """Histories of item vectors in rows [R, S, D] -> user vectors [R, S, D]; see the file's head."""

    def __init__(self, config: ModelConfig, *, max_history: int, has_times: bool = False, rngs: nnx.Rngs):
        """`max_history`: the longest S. `has_times`: HSTU reads the times of events."""
        self.reads_times = has_times and config.user_tower == "hstu"
        self.dropout, self.dtype = config.dropout, jnp.dtype(config.compute_dtype)
        self.is_cosine = config.score == "cosine"
        self.mask = nnx.Param(jnp.zeros(config.width)) if config.user_tower == "bert4rec" else None
        # The weight of an item relative to the next one.
        self.decay = nnx.Param(jnp.float32(0.65)) if config.recency_mean else None
        if config.user_tower == "mean":
            self.stack = None
        else:
            sizes = StackConfig(
                width=config.width,
                num_layers=config.num_layers,
                num_heads=config.num_heads,
                dropout=config.dropout,
                dtype=self.dtype,
            )
            steps = max_history if self.mask is None else max_history + 1
            self.positions = embedding(steps, config.width, rngs)
            self.stack = Stack(blocks(max_history, has_times)[config.user_tower], sizes, rngs=rngs)
            self.norm = layer_norm(sizes)
            if config.recency_mean:
                self.out = nnx.Linear(config.width, config.width, kernel_init=nnx.initializers.zeros_init(), rngs=rngs)

    def __call__(
        self,
        items_RSD: jax.Array,
        segment_RS: jax.Array,
        key: jax.Array | None = None,
        masked_RS: jax.Array | None = None,
        time_RS: jax.Array | None = None,
    ) -> jax.Array:
        """User vectors, float32.

        Args:
          items_RSD: item vectors: unit vectors if scores are cosines.
          segment_RS: positive id of each step's history; 0 on padding (on the right), where the output is
            meaningless. A history is contiguous within a row. With one history per row, this may be a boolean mask.
          key: for dropout; None is deterministic.
          masked_RS: BERT4Rec only: the steps to predict. None: the output at the last step of the only history of a
            row is the user vector after it, as in the other towers, and the other outputs are meaningless.
          time_RS: int32 seconds since the first event of the history, -1 if unknown; only read with `has_times`.
        """
        if self.mask is not None:
            if masked_RS is None:
                return self(*_with_masked_step(items_RSD, segment_RS, key))[:, 1:]
            items_RSD = jnp.where(masked_RS[..., None], self.mask[...], items_RSD)
        segment_RS, step_S = segment_RS.astype(jnp.int32), jnp.arange(segment_RS.shape[1])
        begins_RS = jnp.diff(segment_RS, axis=1, prepend=-1) != 0
        first_RS = jax.lax.cummax(jnp.where(begins_RS, step_S[None], 0), axis=1)
        if self.decay is None:
            return self._transform(items_RSD, segment_RS, step_S[None] - first_RS, time_RS, key)
        mean_RSD = recency_mean(items_RSD, first_RS, self.decay[...])
        if self.stack is None:
            return mean_RSD
        mean_RSD = l2_normalize(mean_RSD) if self.is_cosine else mean_RSD
        return mean_RSD + self.out(self._transform(items_RSD, segment_RS, step_S[None] - first_RS, time_RS, key))

    def _transform(
        self,
        items_RSD: jax.Array,
        segment_RS: jax.Array,
        position_RS: jax.Array,
        time_RS: jax.Array | None,
        key: jax.Array | None,
    ) -> jax.Array:
        """The output of the stack after its last layer norm, float32."""
        assert self.stack is not None
        embed_key, stack_key = split_key(key, 2)
        scale = items_RSD.shape[-1] ** 0.5 if self.is_cosine else 1.0  # unit vectors -> entries of size one
        x_RSD = scale * items_RSD + self.positions(position_RS)
        x_RSD = dropout(x_RSD, self.dropout, embed_key).astype(self.dtype)
        more = (time_RS,) if self.reads_times and time_RS is not None else ()
        return self.norm(self.stack(x_RSD, segment_RS, stack_key, *more))


def recency_mean(items_RSD: jax.Array, first_RS: jax.Array, decay: jax.Array) -> jax.Array:
    """Sum of the items from `first_RS` to each step, weighted by `decay ** age` with the age in steps."""
    step_S = jnp.arange(items_RSD.shape[1])
    age_SS = step_S[:, None] - step_S[None, :]
    weight_SS = jnp.where(age_SS >= 0, jnp.clip(decay, 0.01, 1.0) ** jnp.maximum(age_SS, 0), 0.0)
    weight_RSS = jnp.where(step_S[None, None] >= first_RS[..., None], weight_SS[None], 0)
    return jnp.einsum("rst,rtd->rsd", weight_RSS, items_RSD)


def _with_masked_step(
    items_RSD: jax.Array, segment_RS: jax.Array, key: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array | None, jax.Array]:
    """The arguments of `UserTower` for one history per row with a masked step after its last."""
    length_R1 = jnp.sum(segment_RS > 0, axis=1, keepdims=True)
    masked_RS = jnp.arange(segment_RS.shape[1] + 1)[None] == length_R1
    segment_RS = jnp.pad(segment_RS > 0, ((0, 0), (0, 1))) | masked_RS
    return jnp.pad(items_RSD, ((0, 0), (0, 1), (0, 0))), segment_RS.astype(jnp.int32), key, masked_RS

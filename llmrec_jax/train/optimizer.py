"""AdamW with warm-up, then cosine decay or a constant rate; the encoder's learning rate can be scaled.

The heads of the adaptation have 10 times the learning rate of the other parameters, as is usual for discriminators: if
the vectors move faster than the discriminator, its accuracy falls far below .5 and the vectors oscillate.
"""

from typing import Any

import jax
import optax

from llmrec_jax.config import OptimConfig
from llmrec_jax.losses.sides import LEVELS

HEAD_SCALE = 10.0  # of the learning rate of the adaptation's heads


def make_optimizer(config: OptimConfig, num_steps: int) -> optax.GradientTransformation:
    """The optimizer of a run of `num_steps` steps.

    Weight decay applies to kernels, adapters and embedding tables, not to biases, norms and scalars.
    """
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm),
        optax.scale_by_adam(b2=0.98),
        optax.add_decayed_weights(config.weight_decay, mask=_is_matrix),
        optax.masked(optax.scale(config.encoder_scale), _in_encoder),
        optax.scale_by_learning_rate(learning_rate(config, num_steps)),
        optax.masked(optax.scale(HEAD_SCALE), _in_adaptation_head),
    )


def learning_rate(config: OptimConfig, num_steps: int) -> optax.Schedule:
    """The learning rate of each step, counted from 0. The encoder's is `encoder_scale` times as large."""
    if config.schedule == "constant":  # independent of num_steps: a run can be extended
        start = 0.0 if config.warmup_steps else config.learning_rate  # optax stays at the start without a warm-up
        return optax.warmup_constant_schedule(start, config.learning_rate, config.warmup_steps)
    warmup = min(config.warmup_steps, num_steps // 2)
    return optax.warmup_cosine_decay_schedule(0.0, config.learning_rate, warmup, max(num_steps, 1))


def _is_matrix(params: Any) -> Any:
    """True on kernels, adapters and embedding tables, except a pooler's, which is not trained."""
    names = ("kernel", "lora_a", "lora_b", "embedding")

    def decays(path: Any, _: Any) -> bool:
        return path[-1].key in names and "pooler" not in {part.key for part in path}

    return jax.tree_util.tree_map_with_path(decays, params)


def _in_encoder(params: Any) -> Any:
    """True on the parameters of the text encoder."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == "encoder", params)


def _in_adaptation_head(params: Any) -> Any:
    """True on the parameters of the adaptation's heads, which are named by their level."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[0].key == "heads" and path[1].key in LEVELS, params)

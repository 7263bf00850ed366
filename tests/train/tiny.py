"""A tiny run on the built-in shops, shared by the tests of the trainer."""

import dataclasses
from pathlib import Path

from llmrec_jax.config import (
    AdaptConfig,
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)


def tiny_config(cache_dir: Path, *, mesh: MeshConfig | None = None, **data: object) -> Config:
    """Films and books, a two-layer BERT of width 16, both kinds of rows, adaptation on both levels, no dropout."""
    return Config(
        data=dataclasses.replace(
            DataConfig(max_history=6, max_tokens=12, vocab_size=300, cache_dir=str(cache_dir)),
            **data,  # type: ignore[arg-type]
        ),
        encoder=EncoderConfig(num_layers=2, width=16, num_heads=2, dropout=0.0),
        model=ModelConfig(item_features="text+id", width=16, num_layers=2, num_heads=2, dropout=0.0),
        loss=LossConfig(ranking="in_batch"),
        adapt=AdaptConfig(method="coral", weight=10.0, level="both"),
        mesh=mesh or MeshConfig(data=1),
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=4),
        train=TrainConfig(steps=8, batch_size=16, eval_every=4, checkpoint_every=4),
    )

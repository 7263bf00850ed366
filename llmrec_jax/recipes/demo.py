"""The two built-in shops for `llmrec demo`: films and the histories of the bookshop's readers, a minute of training.

Command:   llmrec demo, or llmrec train demo without the page
Hardware:  2 CPU cores.
Time:      TODO.
Result:    TODO
"""

from llmrec_jax.config import (
    AdaptConfig,
    AnswerConfig,
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
        data=DataConfig(
            sources=("demo:films",),
            target="demo:books",
            target_fraction=0.0,
            regime="transductive",
            max_history=16,
            max_tokens=48,
            vocab_size=2048,
            unlabelled_items=128,
        ),
        encoder=EncoderConfig(kind="bert", num_layers=1, width=64, num_heads=2),
        model=ModelConfig(width=64, num_layers=1, num_heads=2),
        loss=LossConfig(ranking="in_batch", temperature=0.07),
        adapt=AdaptConfig(method="mmd", weight=1.0),
        answer=AnswerConfig(model_weight=3.0),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=20),
        train=TrainConfig(steps=150, batch_size=64, eval_every=150, checkpoint_every=150),
    )

"""From films to books in four stages, on the built-in shops: texts, the source, both with adaptation, the target.

Command:   python train.py configs/staged.py
Hardware:  2 CPU cores.
Time:      5 minutes of CPU time.
Result:    test NDCG@10 / Recall@10 on the books: answer .165 / .321, model .158 / .337 (ease .163 / .310,
           text_knn_decayed .063 / .139); perplexity of masked tokens of held-out texts 2,128 before, 41 after the first
           stage. The built-in shops are synthetic: this shows how stages work, not whether they help.

The first stage trains the encoder, a small BERT, as a masked language model on the texts of both shops.
The second trains on the films alone, the third on both shops, and the last on the books at a lower learning rate.
"""

from llmrec_jax.config import (
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    ModelConfig,
    OptimConfig,
    Stage,
    TrainConfig,
)


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(
            sources=("demo:films",),
            target="demo:books",
            max_history=16,
            max_tokens=48,
            vocab_size=2048,
        ),
        encoder=EncoderConfig(kind="bert", num_layers=1, width=64, num_heads=2),
        model=ModelConfig(width=64, num_layers=1, num_heads=2),
        loss=LossConfig(ranking="in_batch", temperature=0.07),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=20),
        train=TrainConfig(steps=150, batch_size=64, eval_every=50, checkpoint_every=50),
        stages=(
            Stage("texts", {"train.objective": "language_model", "train.steps": 200}),
            Stage("source", {"data.target_fraction": 0.0, "train.steps": 100}),
            Stage("joint", {"data.unlabelled_items": 128, "adapt.method": "coral", "adapt.weight": 1.0}),
            Stage("target", {"data.sources": (), "optim.learning_rate": 5e-4, "train.steps": 50}),
        ),
    )

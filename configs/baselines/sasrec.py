"""SASRec with the exact softmax over all items, ids only.

SASRec (Kang and McAuley 2018, arXiv:1808.09781) as a pre-norm transformer, trained with cross entropy over the whole
catalogue instead of one negative a positive. Scores are cosines.

Command:   python train.py configs/baselines/sasrec.py --data.root DATA
Data:      Amazon 2014 Beauty (5-core: 22,363 users, 12,101 items) as the domain folder `beauty` under DATA; ids only.
Hardware:  2 CPU cores.
Time:      not measured.
Result:    not measured.
"""

from llmrec_jax.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(sources=(), target="beauty", max_history=50),
        model=ModelConfig(
            item_features="id",
            user_tower="transformer",
            recency_mean=False,
            width=64,
            num_layers=2,
            num_heads=2,
            dropout=0.4,
        ),
        loss=LossConfig(ranking="softmax", temperature=0.05),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=2100, batch_size=256, eval_every=700, checkpoint_every=3500, eval_batch_size=2048),
    )

"""gSASRec: SASRec with the generalized binary cross entropy, ids only.

Petrov and Macdonald, RecSys 2023 (arXiv:2308.07192): binary cross entropy with 512 negatives a step, calibrated with
t = .75; see losses/sampled.py for two differences from the paper. Scores are cosines.

Command:   python train.py configs/baselines/sasrec_gbce.py --data.root DATA
Data:      Amazon 2014 Beauty (5-core: 22,363 users, 12,101 items) as the domain folder `beauty` under DATA; ids only.
Hardware:  2 CPU cores.
Time:      6 minutes of training, with other programs running on the same cores.
Result:    test NDCG@10 / Recall@10 .0509 / .0840 (text_knn_decayed .0447 / .0740, ease .0443 / .0762).
           Measured with the same step, batches and ranking, but not by the command above.
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
        loss=LossConfig(ranking="gbce", negatives=512, temperature=0.05),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=2100, batch_size=256, eval_every=700, checkpoint_every=3500, eval_batch_size=2048),
    )

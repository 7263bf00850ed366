"""eSASRec: LiGR blocks and sampled softmax, ids only.

Gated residual connections and SwiGLU (arXiv:2508.06450). A step samples 512 negatives, which all its predictions
share, with the logQ correction. Scores are cosines.

Command:   python train.py configs/baselines/esasrec.py --data.root DATA
Data:      Amazon 2014 Beauty (5-core: 22,363 users, 12,101 items) as the domain folder `beauty` under DATA; ids only.
Hardware:  2 CPU cores.
Time:      8 minutes, plus 3 for the report, with other programs running on the same cores.
Result:    test NDCG@10 / Recall@10 of the model .0553 / .0909, mean of three seeds (text_knn_decayed .0447 / .0740,
           ease .0443 / .0762); published by its authors .0523 / .0928. See docs/results.md.
"""

from llmrec_jax.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(sources=(), target="beauty", max_history=50),
        model=ModelConfig(
            item_features="id", user_tower="ligr", recency_mean=False, width=64, num_layers=2, num_heads=2, dropout=0.4
        ),
        loss=LossConfig(ranking="sampled_softmax", negatives=512, temperature=0.05),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=3500, batch_size=256, eval_every=700, checkpoint_every=3500, eval_batch_size=2048),
    )

"""HSTU with sampled softmax, ids only.

Pointwise attention with a gated output (Zhai et al., ICML 2024, arXiv:2402.17152), with a bias per relative position.
If a domain has times (this one has none), the time between two events also has a bias. A step samples 512
negatives, with the logQ correction. Scores are cosines.

Command:   python train.py configs/baselines/hstu.py --data.root DATA
Data:      Amazon 2014 Beauty (5-core: 22,363 users, 12,101 items) as the domain folder `beauty` under DATA; ids only.
Hardware:  2 CPU cores.
Time:      3 minutes of training, with other programs running on the same cores.
Result:    test NDCG@10 / Recall@10 of the model .0524 / .0864, one seed (text_knn_decayed .0447 / .0740, ease .0443 /
           .0762); published .0439 / .0788, as measured by eSASRec's authors. See docs/results.md.
"""

from llmrec_jax.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(sources=(), target="beauty", max_history=50),
        model=ModelConfig(
            item_features="id", user_tower="hstu", recency_mean=False, width=64, num_layers=2, num_heads=2, dropout=0.4
        ),
        loss=LossConfig(ranking="sampled_softmax", negatives=512, temperature=0.05),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=2100, batch_size=256, eval_every=700, checkpoint_every=3500, eval_batch_size=2048),
    )

"""BERT4Rec: bidirectional blocks that predict masked items of the history, ids only.

Sun et al. 2019 (arXiv:1904.06690), with the sampled softmax of `esasrec`, which shares 512 negatives among all
predictions of a step, with the logQ correction. Scores are cosines.

Command:   python train.py configs/baselines/bert4rec.py --data.root DATA
Data:      Amazon 2014 Beauty (5-core: 22,363 users, 12,101 items) as the domain folder `beauty` under DATA; ids only.
Hardware:  2 CPU cores.
Time:      2 minutes on one H100 beside other programs; not measured on a CPU.
Result:    test NDCG@10 / Recall@10 of the model .0150 / .0305, one seed (ease .0443 / .0762). It trains slowly: after
           these 3,500 steps the validation still improves.
"""

from llmrec_jax.config import Config, DataConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(sources=(), target="beauty", max_history=50),
        model=ModelConfig(
            item_features="id", user_tower="bert4rec", recency_mean=False, mask_rate=0.4, width=64, num_layers=2,
            num_heads=2, dropout=0.4,
        ),
        loss=LossConfig(ranking="sampled_softmax", negatives=512, temperature=0.05),
        optim=OptimConfig(learning_rate=2e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=3500, batch_size=256, eval_every=700, checkpoint_every=3500, eval_batch_size=2048),
    )  # fmt: skip

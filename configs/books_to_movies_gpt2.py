"""From books to films: a small GPT-2 trained from scratch with the recommender on titles, authors, genres and plots.

Command:   python train.py configs/books_to_movies_gpt2.py --data.root DATA
Data:      goodbooks-10k (a sample) and MovieLens latest-small as domain folders `books` and `movies` under DATA.
Hardware:  2 CPU cores.
Time:      5 minutes at commit b58e19b.
Result:    not measured at this version. Commit b58e19b, 2026-11-26: test NDCG@10 / Recall@10 on movies .0502 / .1016
           (popularity .0172 / .0361, ease .0605 / .1098). Since then CORAL is computed on standardized vectors
           (docs/adaptation.md), and its weight of 1 has not been measured again.
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
        data=DataConfig(sources=("books",), target="movies", max_history=20, max_tokens=32, vocab_size=8192),
        encoder=EncoderConfig(kind="gpt2", num_layers=2, width=64, num_heads=2, pooling="mean"),
        model=ModelConfig(item_features="text", width=64, num_layers=2, num_heads=2, dropout=0.2),
        loss=LossConfig(ranking="in_batch", temperature=0.07),
        adapt=AdaptConfig(method="coral", weight=1.0, level="item"),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=50),
        train=TrainConfig(steps=800, batch_size=32, eval_every=100, checkpoint_every=200),
    )

"""The model of `llmrec demo`: learns from films, recommends in the bookshop, whose histories are counted only.

Command:   llmrec demo, or llmrec train demo without the page
Hardware:  2 CPU cores.
Time:      one to two minutes: 109 s of CPU time in all, until the page is served.
Result:    test NDCG@10 / Recall@10 on the books: answer .181 / .358, model .126 / .269; the best baseline, item_knn,
           .163 / .319. One seed.

As in `quickstart`, the weight of the model is set here: with a single source, none can be left out to fit it on.
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
        train=TrainConfig(steps=100, batch_size=64, eval_every=100, checkpoint_every=100),
    )

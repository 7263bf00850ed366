"""Zero-shot transfer from films to books, two built-in shops: a small BERT trained from scratch with the recommender.

Command:   llmrec train quickstart (`make quickstart` also installs)
Hardware:  2 CPU cores. The batch size is a multiple of 8, so it also runs on 8 devices.
Time:      100 s.
Result:    test NDCG@10 / Recall@10 on the books: answer .167 / .324, model .167 / .338 (text_knn .035 / .077,
           text_knn_decayed .063 / .139).

With a single source, no source can be left out to fit the weight of the model in the answer. So it is set here.
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
        train=TrainConfig(steps=250, batch_size=64, eval_every=50, checkpoint_every=50),
    )

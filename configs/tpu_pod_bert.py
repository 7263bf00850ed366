"""BERT-base (110M) trained end to end on a TPU pod: three shops as sources, films as the target.

Command:   python train.py configs/tpu_pod_bert.py --data.root DATA --workdir RUN, on every worker; RUN must be on
           storage that all workers share (a bucket mounted with Cloud Storage FUSE, Filestore, NFS).
Hardware:  meant for 256 TPU v5e chips (mesh data 32 x fsdp 8) in bfloat16; any multiple of 8 chips works.
Time:      not measured. The tests trace the step; it has not run on a TPU.
Result:    not measured. Nor was the weight of 1 for CORAL, on these domains or at this size: compare with
           --adapt.method none, or choose by llmrec adapt (docs/adaptation.md).
"""

from llmrec_jax.config import (
    AdaptConfig,
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)


def config() -> Config:
    """The experiment."""
    return Config(
        data=DataConfig(sources=("beauty", "scientific", "books"), target="movies", max_history=50, max_tokens=64),
        encoder=EncoderConfig(
            kind="bert",
            pretrained="google-bert/bert-base-uncased",
            mode="full",
            pooling="mean",
            num_layers=12,
            width=768,
            num_heads=12,
        ),
        model=ModelConfig(item_features="text", width=256, num_layers=4, num_heads=4, compute_dtype="bfloat16"),
        loss=LossConfig(ranking="in_batch", temperature=0.05),
        adapt=AdaptConfig(method="coral", weight=1.0, level="both"),
        mesh=MeshConfig(data=-1, fsdp=8),
        optim=OptimConfig(learning_rate=3e-4, encoder_scale=0.3, warmup_steps=200),
        train=TrainConfig(steps=5000, batch_size=1024, eval_every=500, checkpoint_every=500, eval_batch_size=16384),
    )

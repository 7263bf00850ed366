"""The interface of a run for the training loop; implemented by `experiment` and `language_model`."""

from typing import Protocol

from llmrec_jax.config import Config
from llmrec_jax.train.feed import Batches
from llmrec_jax.train.state import Params, TrainState
from llmrec_jax.train.step import StepSpec
from llmrec_jax.types import Catalog


class Run(Protocol):
    """A run, ready to start."""

    @property
    def config(self) -> Config:
        """Its configuration."""

    @property
    def spec(self) -> StepSpec:
        """The constants of its training step."""

    @property
    def catalog(self) -> Catalog:
        """The catalogue that a step reads; host arrays."""

    @property
    def encoder_identity(self) -> dict[str, str]:
        """Of the pretrained encoder."""

    @property
    def data_hash(self) -> str:
        """Hash of the data and of all settings that affect the batches."""

    @property
    def may_keep_start(self) -> bool:
        """Whether its first parameters are worth validating: a run may select them instead of a step."""

    def init_state(self) -> TrainState:
        """The initial state, with random parameters; traceable."""

    def start(self, state: TrainState) -> TrainState:
        """`state` (global arrays) with the parameters that do not start at random, sharded the same way."""

    def batches(self) -> Batches:
        """The batches of all steps, an iterator with `get_state` and `set_state`."""


class Validator(Protocol):
    """Judges the parameters of a run during the training."""

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on; if not, the last step is selected."""

    @property
    def validator(self) -> str:
        """The name of the step selection, for messages."""

    @property
    def metric(self) -> str:
        """The name of the value of `validate` in `metrics.jsonl`."""

    def observe(self, params: Params) -> dict[str, float]:
        """What else `metrics.jsonl` tells of the parameters (global arrays), at the first step and each validation."""

    def validate(self, params: Params) -> float:
        """The value of the parameters (global arrays); the step with the highest is selected."""

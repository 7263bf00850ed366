"""The space of a sweep: fields of the configuration and the values that they may take.

optim.learning_rate=1e-4:1e-2:log     between two numbers, on a logarithmic scale
model.dropout=0:0.5                   between two numbers
model.num_layers=1:4                  whole numbers, both included, where the field is one
loss.ranking=softmax,in_batch         one of these
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config, flatten
from llmrec_jax.errors import UserError
from llmrec_jax.train.prepared import DECISIVE

FORMS = "write FIELD=LOW:HIGH, FIELD=LOW:HIGH:log or FIELD=VALUE,VALUE"


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of several values."""

    values: tuple[Any, ...]

    def draw(self, trial: Any, name: str) -> Any:
        """A value for a trial of Optuna."""
        return trial.suggest_categorical(name, self.values)

    @property
    def size(self) -> float:
        """How many values there are."""
        return len(self.values)


@dataclasses.dataclass(frozen=True)
class Range:
    """A number between two, both included."""

    low: float
    high: float
    is_log: bool
    is_int: bool

    def draw(self, trial: Any, name: str) -> Any:
        """A value for a trial of Optuna."""
        if self.is_int:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.is_log)
        return trial.suggest_float(name, self.low, self.high, log=self.is_log)

    @property
    def size(self) -> float:
        """How many values there are."""
        return self.high - self.low + 1 if self.is_int else math.inf

    @property
    def values(self) -> tuple[Any, ...]:
        """The ends."""
        return tuple(int(end) if self.is_int else end for end in (self.low, self.high))


Dimension = Choice | Range


def parse_space(texts: Sequence[str], config: Config) -> dict[str, Dimension]:
    """The dimensions by field.

    Raises:
      ValueError: a text has another form, a field does not exist, decides the data, or does not take such a value.
    """
    if not texts:
        raise UserError(f"--space is empty: {FORMS}")
    found: dict[str, Dimension] = {}
    for text in texts:
        name, _, values = text.partition("=")
        name = name.strip().replace("-", "_")
        if not values or name in found:
            raise UserError(f"--space {text}: " + (f"{name} is given twice" if name in found else FORMS))
        if name.startswith(DECISIVE):
            raise UserError(
                f"--space {text}: {name} changes the prepared data, which all trials share; run one sweep per value"
            )
        found[name] = _dimension(text, values, flatten(dataclasses.asdict(config)).get(name))
        for value in found[name].values:
            changed_by(config, {name: value})
    return found


def changed_by(config: Config, values: Mapping[str, Any]) -> Config:
    """The configuration with these values. Raises ValueError if a field does not exist or the values are invalid."""
    changed = config_lib.changed(config, values)
    config_lib.validate(changed)
    return changed


def _dimension(text: str, values: str, present: Any) -> Dimension:
    bounds = values.split(":")
    if len(bounds) == 1:
        return Choice(tuple(_value(value) for value in values.split(",")))
    try:
        low, high = (float(bound) for bound in bounds[:2])
    except ValueError:
        raise UserError(f"--space {text}: {FORMS}") from None
    is_log = bounds[2:] == ["log"]
    if (bounds[2:] and not is_log) or not low < high or (is_log and low <= 0):
        wrong = "the ends of a logarithmic range are above 0" if is_log and low <= 0 else FORMS
        raise UserError(f"--space {text}: {wrong if low < high else 'LOW has to be below HIGH'}")
    is_int = isinstance(present, int) and not isinstance(present, bool)
    if is_int and not (low.is_integer() and high.is_integer()):
        raise UserError(f"--space {text}: this field takes whole numbers")
    return Range(low, high, is_log, is_int)


def _value(text: str) -> Any:
    """A number, true, false or null, as in JSON; any other text is itself."""
    text = text.strip()
    if text in ("none", "None", "True", "False"):  # as on the command line
        return {"True": True, "False": False}.get(text, None if text == "None" else "none")
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text

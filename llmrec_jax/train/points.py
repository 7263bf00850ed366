"""Parses the candidates of `llmrec adapt`.

    RUN                METHOD:WEIGHT, METHOD:WEIGHT:BALANCE (see `adapt.balance`), `none`, or texts:STEPS, which is
                       `none` after STEPS steps of a language model (see `texts`): its selected step
    RUN@STEP           its checkpoint of that step
    RUN@all            each of its checkpoints
    RUN@average        the mean of its checkpoints in the second half of the training
    RUN@wise:SHARE     SHARE of the trained parameters and 1 - SHARE of those before the training (WiSE-FT)
    RUN@STEP@wise:SHARE, RUN@average@wise:SHARE    the same of a checkpoint or of the mean
    @...               that of every run
    merge              the sum of task vectors of runs on one source each (MergeRec), see `merge`

Only runs are trained; what follows an @ takes disk space for the checkpoints, and an evaluation.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.losses.methods import METHODS
from llmrec_jax.train.texts import language_model

NONE = "none"  # the run without adaptation
RUN = re.compile(r"(?P<method>[a-z_]+):(?P<weight>[0-9]*\.?[0-9]+)(:(?P<balance>[a-z_]+))?")
SHARE = re.compile(r"wise:(0?\.[0-9]+|0)")
ALL, AVERAGE = "all", "average"
MERGE = "merge"
TEXTS = re.compile(r"texts:([1-9][0-9]*)")


class Point(NamedTuple):
    """A candidate: parameters that a run gives without further training."""

    name: str
    run: str
    steps: tuple[int, ...] = ()  # whose checkpoints are averaged; (): the selected step
    share: float = 1.0  # of the trained parameters; the rest is from before the training


def candidates(config: Config, specs: Sequence[str]) -> tuple[dict[str, Config], list[Point]]:
    """The configurations of the runs, by name, and the candidates. `none` is the first of both, so that it wins ties.

    The selected step of every run is a candidate.

    Args:
      config: what the runs have in common.
      specs: see the head of this file; `none` need not be among them.

    Raises:
      ValueError: a text that is no candidate, the same candidate twice, or an invalid configuration.
    """
    runs = {NONE: config_lib.changed(config, {"adapt.method": NONE})}
    config_lib.validate(runs[NONE])
    for spec in specs:
        if (name := spec.partition("@")[0]) and name not in runs and spec != MERGE:
            runs[name] = _config_of(config, name, spec)
    given = [spec for spec in specs if "@" not in spec and spec != NONE]
    points = [Point(name, name) for name in runs]
    if MERGE in specs:
        points.append(Point(MERGE, MERGE))
    for spec in specs:
        if "@" in spec:
            name, _, where = spec.partition("@")
            found = [point for run in ([name] if name else runs) for point in _points(config, run, where, spec)]
            points += found
            given += [point.name for point in found]
    if twice := [name for name in given if given.count(name) > 1]:
        raise UserError(f"candidate {twice[0]!r} is given twice")
    for run in {point.run for point in points if point.steps}:
        runs[run] = config_lib.changed(runs[run], {"train.keep_checkpoints": config.train.steps})
    return runs | ({MERGE: runs[NONE]} if MERGE in specs else {}), points


def _config_of(config: Config, name: str, spec: str) -> Config:
    """The configuration of the run that a candidate names; for texts:STEPS, of the run that follows."""
    if texts := TEXTS.fullmatch(name):
        _validate(language_model(config, int(texts[1])), spec)
        return config_lib.changed(config, {"adapt.method": NONE})
    found = RUN.fullmatch(name)
    if not found or found["method"] not in METHODS or found["method"] == NONE:
        known = ", ".join(name for name in METHODS if name != NONE)
        raise UserError(f"candidate {spec!r}: name a method and its weight, such as coral:1; methods: {known}")
    changes = {"adapt.method": found["method"], "adapt.weight": float(found["weight"])}
    try:
        balance = {"adapt.balance": found["balance"]} if found["balance"] else {}
        made = config_lib.changed(config, changes | balance)
    except UserError as error:
        raise UserError(f"candidate {spec!r}: {error}") from error
    _validate(made, spec)
    return made


def _validate(config: Config, spec: str) -> None:
    try:
        config_lib.validate(config)
    except UserError as error:
        raise UserError(f"candidate {spec!r}: {error}") from error


def _points(config: Config, run: str, where: str, spec: str) -> Iterable[Point]:
    """The candidates `run@where`."""
    place, _, blend = where.rpartition("@")
    if SHARE.fullmatch(blend):
        share = float(blend.removeprefix("wise:"))
    else:
        place, blend, share = where, "", 1.0
    if blend and not place:
        yield Point(f"{run}@{blend}", run, (), share)
        return
    for name, steps in _checkpoints(config, place, spec):
        yield Point("@".join(filter(None, (run, name, blend))), run, steps, share)


def _checkpoints(config: Config, place: str, spec: str) -> list[tuple[str, tuple[int, ...]]]:
    """The name and the steps of each set of checkpoints that `place` names."""
    train = config.train
    saved = [*range(train.checkpoint_every, train.steps, train.checkpoint_every), train.steps]
    if train.patience:
        raise UserError(f"candidate {spec!r}: with train.patience={train.patience} a run may end before its "
                        "checkpoints: set train.patience=0")  # fmt: skip
    if place == ALL:
        return [(str(step), (step,)) for step in saved]
    if place == AVERAGE:
        late = tuple(step for step in saved if 2 * step >= train.steps)
        if len(late) < 2:
            raise UserError(f"candidate {spec!r}: one checkpoint in the second half of the training: lower "
                            f"train.checkpoint_every={train.checkpoint_every}")  # fmt: skip
        return [(AVERAGE, late)]
    if place.isdecimal() and int(place) in saved:
        return [(str(int(place)), (int(place),))]
    raise UserError(
        f"candidate {spec!r}: after @ comes a step, all, average, or wise:SHARE with a share from 0 to below 1; steps "
        f"with a checkpoint: {', '.join(map(str, saved))}"
    )

"""The stages of a configuration: the configuration and the folder of each, and the fields that all must share."""

import dataclasses
import itertools
import re
from pathlib import Path
from typing import NamedTuple

from llmrec_jax.config.fields import Config
from llmrec_jax.config.files import changed
from llmrec_jax.errors import UserError

# The target's held-out events depend on these.
SAME = ("data.split", "data.split_seed", "data.min_rating", "data.train_on")
NOT_IN_A_STAGE = ("stages", "train.init_from", *SAME)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


class StageRun(NamedTuple):
    """One stage as a run."""

    name: str  # "" if the configuration has no stages
    config: Config  # without stages
    workdir: Path


def in_stages(config: Config, workdir: Path) -> list[StageRun]:
    """The runs of a configuration in order: its stages, or itself if it has none.

    All but the last are in `workdir/stages/NAME`, the last one in `workdir`. Each starts from the one before, the first
    from `train.init_from`.

    Raises:
      ValueError: two stages have one name, a stage changes a field that it may not change, one learns more of the
        target than the last one's regime allows, or a language model follows a recommender.
    """
    if not config.stages:
        return [StageRun("", config, workdir)]
    names = [stage.name for stage in config.stages]
    problems = [f"stage {name!r}: a name has letters, digits, - and _" for name in names if not NAME.fullmatch(name)]
    if len(set(names)) < len(names):
        problems.append(f"two stages have the same name: {', '.join(names)}")
    for stage in config.stages:
        fixed = [name for name in stage.changes if name in NOT_IN_A_STAGE]
        problems += [f"stage {stage.name}: {name} is the same for all stages: set it outside them" for name in fixed]
    if problems:
        raise UserError("\n  ".join(problems))
    runs: list[StageRun] = []
    for stage in config.stages:
        try:
            changes = dict(stage.changes) | ({"train.init_from": str(runs[-1].workdir)} if runs else {})
            run = changed(dataclasses.replace(config, stages=()), changes)
        except UserError as error:
            raise UserError(f"stage {stage.name}: {error}") from error
        is_last = stage is config.stages[-1]
        runs.append(StageRun(stage.name, run, workdir if is_last else workdir / "stages" / stage.name))
    if problems := [*_leaks(runs), *_dropped_towers(runs)]:
        raise UserError("\n  ".join(problems))
    return runs


def _leaks(runs: list[StageRun]) -> list[str]:
    """Stages that train on users of the last stage's target whom that stage may not see."""
    last = runs[-1].config.data
    return [
        f"stage {name} trains on {share:.0%} of the users of {last.target}, the last stage on "
        f"{last.target_fraction:.0%}: so the last stage would use more target users than its regime allows"
        for name, config, _ in runs[:-1]
        if (share := users_of(config).get(domain_name(last.target), 0.0)) > last.target_fraction
    ]


def _dropped_towers(runs: list[StageRun]) -> list[str]:
    """Stages that keep nothing but the encoder of the one before."""
    return [
        f"stage {after.name} trains a language model, which has no towers: those of stage {before.name} would be lost"
        for before, after in itertools.pairwise(runs)
        if (before.config.train.objective, after.config.train.objective) == ("ranking", "language_model")
    ]


def users_of(config: Config) -> dict[str, float]:
    """The share of its users that a run trains on, by name of the domain."""
    if config.train.objective == "language_model":
        return {}
    sources = {domain_name(source): 1.0 for source in config.data.sources}
    return sources | {domain_name(config.data.target): config.data.target_fraction}


def domain_name(spec: str) -> str:
    """The name of a domain given by a name, a path or `demo:NAME`."""
    return Path(spec.removeprefix("demo:")).name

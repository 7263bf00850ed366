"""Runs the stages of a configuration one after another, each from the parameters of the one before.

A finished stage is not run again, and an interrupted one resumes. A configuration without stages is a single run.
"""

import functools
import json
import os
from pathlib import Path

import jax
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.cluster import from_first
from llmrec_jax.config import Config, StageRun
from llmrec_jax.errors import UserError
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.language_model import train_language_model
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.prepared import Data
from llmrec_jax.train.workdir import check

FINISHED = "stage.json"  # in the folder of a finished stage


def run_stages(
    config: Config,
    workdir: Path,
    console: Console,
    interrupts: Interrupts | None = None,
    data: Data | None = None,
) -> None:
    """Run or resume the stages of `config`; the last one's report and bundle are in `workdir`.

    Args:
      config: validated first.
      workdir: the folder of the last stage; the others are in it.
      console: prints the progress.
      interrupts: see `train_and_evaluate`.
      data: prepared data, for a configuration without stages; None: it is prepared here.

    Raises:
      ValueError: see `train_and_evaluate`; that of a later stage is raised before the first one starts, if it does not
        depend on the data.
    """
    stages = config_lib.in_stages(config, workdir)
    for _, stage_config, folder in stages:
        config_lib.validate(stage_config)
        from_first(functools.partial(check, folder, stage_config))

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    if config.stages:
        say("stages: " + ", ".join(f"{name} ({config.train.steps:,} steps)" for name, config, _ in stages))
    for number, stage in enumerate(stages, 1):
        is_last = number == len(stages)
        if not is_last and from_first(functools.partial(_is_finished, stage)):
            say(f"stage {stage.name}: finished in {stage.workdir}")
            continue
        if config.stages:
            say(f"stage {stage.name}, {number} of {len(stages)}, in {stage.workdir}")
        _run(stage, console, interrupts, data, reports=is_last)
        if not is_last and jax.process_index() == 0:
            temporary = stage.workdir / f"{FINISHED}.tmp"
            temporary.write_text(json.dumps({"steps": stage.config.train.steps}) + "\n")
            os.replace(temporary, stage.workdir / FINISHED)


def _run(stage: StageRun, console: Console, interrupts: Interrupts | None, data: Data | None, *, reports: bool) -> None:
    _, config, workdir = stage
    if config.train.objective == "language_model":
        train_language_model(config, workdir, console, interrupts)
    else:
        train_and_evaluate(
            config,
            workdir,
            console,
            export=bundle_in(workdir),
            interrupts=interrupts,
            data=data,
            reports=reports,
        )


def _is_finished(stage: StageRun) -> bool:
    path, steps = stage.workdir / FINISHED, stage.config.train.steps
    if not path.exists():
        return False
    if (found := json.loads(path.read_text())["steps"]) != steps:
        raise UserError(
            f"stage {stage.name} is finished with {found} steps in {stage.workdir}, the configuration says {steps}: "
            "later stages may have started from it; choose another --workdir"
        )
    return True

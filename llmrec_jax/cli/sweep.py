"""The command `sweep`: a search for the best fields of a configuration."""

import contextlib
import json as json_lib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from rich.console import Console

from llmrec_jax.cli.training import parsed
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError, one_line_errors
from llmrec_jax.train.interrupts import Interrupts

Flag = tyro.conf.FlagCreatePairsOff


class Arguments(NamedTuple):
    """Of the command."""

    config: Config
    workdir: Path
    space: tuple[str, ...]
    trials: int
    json: bool


def sweep(arguments: Sequence[str], prog: str = "llmrec sweep") -> int:
    """`llmrec sweep NAME|CONFIG.py --space FIELD=... [--trials N] [--json] [--SECTION.FIELD VALUE ...]`; return the
    exit code.
    """
    with one_line_errors() as status:
        given = parsed(arguments, prog, parser, "--space optim.learning_rate=1e-4:1e-2:log [--trials 20]")
        # With --json, standard output has the object alone.
        progress = contextlib.redirect_stdout(sys.stderr) if given.json else contextlib.nullcontext()
        with Interrupts() as interrupts:
            with progress:
                facts = _run(given, interrupts)
            if given.json:
                print(json_lib.dumps(facts, allow_nan=False))
    return status.code


def parser(defaults: Config, name: str) -> Callable[..., Arguments]:
    """The arguments of `sweep` for tyro; `defaults` is the configuration of the experiment `name`."""

    def parse(
        experiment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|CONFIG.py")],
        workdir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs") / f"{name}-sweep",
        space: tuple[str, ...] = (),
        trials: int = 20,
        json: Annotated[bool, Flag] = False,
        config: Annotated[Config, tyro.conf.arg(name="")] = defaults,
    ) -> Arguments:
        """Search fields of a configuration for the best validation (Optuna; pip install 'llmrec_jax[tune]'). The same
        command again resumes; started in several shells, the processes share the trials.

        Example: llmrec sweep my_shop --data.target FOLDER --space optim.learning_rate=1e-4:1e-2:log

        Args:
          experiment: A recipe or a configuration file, *.py.
          workdir: Folder for trials/ and best.py, the best configuration.
          space: The fields to search: FIELD=LOW:HIGH, FIELD=LOW:HIGH:log or FIELD=VALUE,VALUE.
          trials: How many trials to finish, those of earlier calls included.
          json: Print one JSON object.
          config: The fields of the configuration.
        """
        return Arguments(config, workdir, space, trials, json)

    return parse


def _run(given: Arguments, interrupts: Interrupts) -> dict[str, Any]:
    from llmrec_jax import config as config_lib
    from llmrec_jax.models.fetch import ensure
    from llmrec_jax.tuning.space import parse_space

    try:
        from llmrec_jax.tuning.sweep import sweep as run_sweep
    except ImportError as error:
        raise UserError(f"llmrec sweep needs Optuna ({error}): pip install 'llmrec_jax[tune]'") from error

    config_lib.validate(given.config)
    if given.trials < 1:
        raise UserError(f"--trials {given.trials}: at least 1")
    space = parse_space(given.space, given.config)
    if given.config.encoder.pretrained:
        ensure(given.config.encoder.pretrained)
    console = Console(soft_wrap=True)
    found = run_sweep(given.config, given.workdir, space, given.trials, console, interrupts)
    console.print(f"best: validation {found['value']:.4f}, {found['best']}; configuration {found['config']}",
                  markup=False, highlight=False)  # fmt: skip
    return found

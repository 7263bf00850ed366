"""The command `doctor`: checks of the machine and of a configuration on it."""

import contextlib
import json as json_lib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import tyro
from rich.console import Console

from llmrec_jax.cli.printing import clean
from llmrec_jax.cli.training import parsed
from llmrec_jax.config import Config
from llmrec_jax.errors import one_line_errors

Flag = tyro.conf.FlagCreatePairsOff
SIGNS = {"ok": "[green]ok     [/]", "warning": "[yellow]warning[/]", "problem": "[red]problem[/]"}


class Arguments(NamedTuple):
    """Of the command."""

    config: Config
    experiment: str
    workdir: Path
    json: bool


def doctor(arguments: Sequence[str], prog: str = "llmrec doctor") -> int:
    """`llmrec doctor [NAME|CONFIG.py] [--workdir DIR] [--json] [--SECTION.FIELD VALUE ...]`; return the exit code."""
    with one_line_errors() as status:
        if arguments and (not arguments[0].startswith("-") or arguments[0] in ("-h", "--help")):
            given = parsed(arguments, prog, parser, "[--json]")
        else:
            given = tyro.cli(parser(Config(), ""), args=list(arguments), prog=prog)
        status.code = _run(given)
    return status.code


def parser(defaults: Config, name: str) -> Callable[..., Arguments]:
    """The arguments of `doctor` for tyro; `defaults` is the configuration of the experiment `name`."""

    def parse(
        experiment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|CONFIG.py")] = "",
        workdir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs"),
        json: Annotated[bool, Flag] = False,
        config: Annotated[Config, tyro.conf.arg(name="")] = defaults,
    ) -> Arguments:
        """Check this machine: versions, devices, disk, clock and caches. With a configuration also the device mesh, the
        speed of the input pipeline, and the GPU memory that a step needs. Exit code 2 if there is a problem.

        Example: llmrec doctor my_shop --data.target FOLDER --encoder.mode full

        Args:
          experiment: A recipe or a configuration file, *.py; none: only the machine.
          workdir: Folder that a run would write to.
          json: Print one JSON object.
          config: The fields of the configuration.
        """
        return Arguments(config, experiment, workdir, json)

    return parse


def _run(given: Arguments) -> int:
    from llmrec_jax import config as config_lib
    from llmrec_jax.tuning import machine

    # With --json, standard output has the object alone.
    with contextlib.redirect_stdout(sys.stderr) if given.json else contextlib.nullcontext():
        found = [*machine.versions(), *machine.devices(), *machine.disk(given.workdir), *machine.clock(given.workdir)]
        found += machine.caches(Path(given.config.data.cache_dir))
        if given.experiment:
            config_lib.validate(given.config)
            from llmrec_jax.models.fetch import ensure
            from llmrec_jax.tuning import run_checks

            if given.config.encoder.pretrained:
                ensure(given.config.encoder.pretrained)
            found += run_checks.of_config(given.config)
    if given.json:
        print(json_lib.dumps({"findings": [finding._asdict() for finding in found]}, allow_nan=False))
    else:
        console = Console(soft_wrap=True, highlight=False)
        for finding in found:
            console.print(f"{SIGNS[finding.level]}  [bold]{finding.check}[/]  ", end="")
            console.print(clean(finding.text), markup=False)
            if finding.fix:
                console.print(f"         -> {clean(finding.fix)}", markup=False)
    return 2 if any(finding.level == "problem" for finding in found) else 0

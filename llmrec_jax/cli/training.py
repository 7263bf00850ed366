"""The verb `train`: one run from a configuration file, with overrides from the command line."""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError, one_line_errors
from llmrec_jax.train.interrupts import Interrupts, Saved, leave

USAGE = "usage: train.py CONFIG.py [--workdir DIR] [--SECTION.FIELD VALUE ...]  (train.py CONFIG.py --help: all fields)"


def train(arguments: Sequence[str]) -> int:
    """`train.py CONFIG.py [--workdir DIR] [--SECTION.FIELD VALUE ...]`; return the exit code."""
    with one_line_errors() as status:
        if arguments and arguments[0] in ("-h", "--help"):
            print(USAGE)
            return 0
        if not arguments or arguments[0].startswith("-"):
            raise UserError(USAGE)
        config_path = Path(arguments[0])
        defaults = config_lib.load(config_path)

        def parse(
            config: Annotated[Config, tyro.conf.arg(name="")] = defaults,
            workdir: Path = Path("runs") / config_path.stem,
            fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        ) -> tuple[Config, Path, bool]:
            """Train, or go on with the run in the work folder.

            Args:
              config: The fields of the configuration.
              workdir: Where the run keeps its metrics, checkpoints, report and bundle.
              fresh: Start anew, in a folder named after the work folder and the time.
            """
            return config, workdir, fresh

        config, workdir, fresh = tyro.cli(parse, args=list(arguments[1:]), prog=f"train.py {config_path}")
        with Interrupts() as interrupts:
            _train(config, workdir, fresh, interrupts)
    return status.code


def _train(config: Config, workdir: Path, fresh: bool, interrupts: Interrupts) -> None:
    config_lib.validate(config)  # before it waits for other hosts, and before it makes a folder
    from llmrec_jax import cluster

    cluster.join()
    import jax

    from llmrec_jax.inference import bundle
    from llmrec_jax.train.loop import train_and_evaluate

    console = Console(quiet=jax.process_index() != 0, soft_wrap=True)
    if fresh:
        workdir = Path(cluster.from_first(lambda: str(_fresh(workdir))))
        console.print(f"a new run in {workdir}", markup=False, highlight=False)
    try:
        train_and_evaluate(
            config,
            workdir,
            console,
            export=lambda trained: bundle.save(trained, workdir / "bundle"),
            interrupts=interrupts,
        )
    except Saved:
        raise
    except KeyboardInterrupt:
        if jax.process_count() > 1:  # the others may wait for this one, and it for them when it ends
            leave()
        raise
    console.print(f"report {workdir / 'report.json'}, bundle {workdir / 'bundle'}", markup=False, highlight=False)


def _fresh(workdir: Path) -> Path:
    """A folder beside `workdir` that is not there yet, named after it and the time."""
    name = f"{workdir.name}-{datetime.datetime.now():%Y-%m-%d-%H%M}"
    names = [name, *(f"{name}-{number}" for number in range(2, 100))]
    return next(path for name in names if not (path := workdir.with_name(name)).exists())

"""The verb `train`: one run from a configuration file, with overrides from the command line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError, one_line_errors

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
        ) -> tuple[Config, Path]:
            return config, workdir

        config, workdir = tyro.cli(parse, args=list(arguments[1:]), prog=f"train.py {config_path}")
        _train(config, workdir)
    return status.code


def _train(config: Config, workdir: Path) -> None:
    config_lib.validate(config)  # before it waits for other hosts, and before it makes a folder
    from llmrec_jax import cluster

    cluster.join()
    import jax

    from llmrec_jax.inference.writing import check_replaceable
    from llmrec_jax.train.export import save_bundle
    from llmrec_jax.train.loop import train_and_evaluate

    console = Console(quiet=jax.process_index() != 0, soft_wrap=True)
    check_replaceable(workdir / "bundle")
    trained = train_and_evaluate(config, workdir, console)
    if jax.process_index() == 0:
        save_bundle(trained, workdir / "bundle")
        console.print(f"report {workdir / 'report.json'}, bundle {workdir / 'bundle'}")

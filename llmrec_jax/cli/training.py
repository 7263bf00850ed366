"""The command `train`: one run from a recipe or a configuration file, with overrides from the command line."""

import contextlib
import dataclasses
import datetime
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import tyro
from rich.console import Console

from llmrec_jax import config as config_lib
from llmrec_jax import recipes
from llmrec_jax.cli.comparison import print_comparison
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError, one_line_errors
from llmrec_jax.train.interrupts import Interrupts, Saved, leave

T = TypeVar("T")
SEED_METHODS = ("answer", "model")  # that are compared over the seeds


def train(arguments: Sequence[str], prog: str = "train.py") -> int:
    """`train.py NAME|CONFIG.py [--workdir DIR] [--seeds 0 1 2] [--SECTION.FIELD VALUE ...]`; return the exit code."""
    with one_line_errors() as status:
        config, workdir, fresh, seeds = parsed(arguments, prog, parser, "[--seeds 0 1 2]")
        with Interrupts() as interrupts:
            run(config, workdir, interrupts, fresh=fresh, seeds=seeds)
    return status.code


def parsed(arguments: Sequence[str], prog: str, make: Callable[[Config, str], Callable[..., T]], options: str) -> T:
    """The arguments `NAME|CONFIG.py ...` of a command; the experiment sets the defaults of those after it.

    Args:
      arguments: of the command line.
      prog: the command.
      make: its arguments for tyro, given the configuration of the experiment and its name.
      options: for the usage message.
    """
    experiment = arguments[0] if arguments else ""
    if experiment in ("-h", "--help"):
        tyro.cli(make(Config(), "NAME"), args=["--help"], prog=prog)
    if not experiment or experiment.startswith("-"):
        usage = f"usage: {prog} NAME|CONFIG.py [--workdir DIR] {options} [--SECTION.FIELD VALUE ...]"
        raise UserError(f"{usage}\n  recipes: {', '.join(recipes.names())}; all fields: {prog} --help")
    path = recipes.find(experiment)
    return tyro.cli(make(config_lib.load(path), path.stem), args=list(arguments), prog=prog)


def parser(defaults: Config, name: str) -> Callable[..., tuple[Config, Path, bool, tuple[int, ...]]]:
    """The arguments of `train` for tyro; `defaults` is the configuration of the experiment `name`."""

    def parse(
        experiment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|CONFIG.py")],
        workdir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs") / name,
        fresh: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False,
        seeds: tuple[int, ...] = (),
        config: Annotated[Config, tyro.conf.arg(name="")] = defaults,
    ) -> tuple[Config, Path, bool, tuple[int, ...]]:
        """Train a model, evaluate it and export it. The same command again resumes the run.

        Example: llmrec train my_shop --data.target FOLDER

        Args:
          experiment: A recipe (my_shop, quickstart) or a configuration file, *.py.
          workdir: Folder for config.json, metrics.jsonl, report.json, report.html, checkpoints/ and bundle/.
          fresh: Start a new run, in a folder named after the work folder and the time.
          seeds: One run per seed, in DIR/seed-0 and so on, then their mean and its interval; in place of config.seed.
          config: The fields of the configuration.
        """
        return config, workdir, fresh, seeds

    return parse


def run(
    config: Config, workdir: Path, interrupts: Interrupts, *, fresh: bool = False, seeds: Sequence[int] = ()
) -> None:
    """Train, evaluate and export in `workdir`, or in a new folder next to it (`fresh`).

    With `seeds`, one run per seed in a folder in `workdir`; then prints their mean (`llmrec compare`).
    """
    config_lib.validate(config)  # before waiting for other hosts or creating a folder
    if len(set(seeds)) < len(seeds):
        raise UserError(f"--seeds {' '.join(map(str, seeds))}: a seed is given twice")
    from llmrec_jax import cluster

    cluster.join()
    import jax

    from llmrec_jax.inference.writing import check_replaceable
    from llmrec_jax.models.fetch import ensure

    console = Console(quiet=jax.process_index() != 0, soft_wrap=True)
    if fresh:
        workdir = Path(cluster.from_first(lambda: str(_fresh(workdir))))
        console.print(f"a new run in {workdir}", markup=False, highlight=False)
    runs = {workdir / f"seed-{seed}": dataclasses.replace(config, seed=seed) for seed in seeds} or {workdir: config}
    for folder in runs:
        check_replaceable(folder / "bundle")
    stages = config_lib.in_stages(config, workdir)
    for pretrained in sorted({stage.config.encoder.pretrained or "" for stage in stages} - {""}):
        ensure(pretrained)  # download or fail now, not after preparing the data
    with stops_at_once():
        _train(runs, interrupts, console)
    if seeds:
        from llmrec_jax.evaluate.comparison import compare
        from llmrec_jax.html import NAME, write_comparison

        print_comparison(compare(list(runs), SEED_METHODS), console)
        if jax.process_index() == 0:
            console.print(f"page {write_comparison(list(runs), SEED_METHODS, workdir / NAME)}", markup=False)


def _train(runs: dict[Path, Config], interrupts: Interrupts, console: Console) -> None:
    """Run all, which differ in the seed and the folder only."""
    import jax

    from llmrec_jax.html import write_report
    from llmrec_jax.progress import shown
    from llmrec_jax.train.loop import reading
    from llmrec_jax.train.stages import run_stages

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False)

    data = None
    for workdir, config in runs.items():
        last = config_lib.in_stages(config, workdir)[-1].config
        is_encoder = last.train.objective == "language_model"
        if len(runs) > 1:
            say(f"seed {config.seed}, in {workdir}")
            if data is None and last is config and not is_encoder:  # stages prepare data of their own
                data = reading(config, console)
        run_stages(config, workdir, console, interrupts, data)
        if is_encoder:
            say(f"encoder {workdir / 'encoder'}")
            continue
        if jax.process_index() == 0:
            with shown("writing report.html"):
                write_report(workdir)
        say(f"report {workdir / 'report.html'} and report.json, bundle {workdir / 'bundle'}")


@contextlib.contextmanager
def stops_at_once() -> Iterator[None]:
    """A context in which a signal during anything but a training step ends a process of several at once."""
    import jax

    try:
        yield
    except Saved:
        raise
    except KeyboardInterrupt:
        if jax.process_count() > 1:  # a normal exit could deadlock: processes may wait for each other
            leave()
        raise


def _fresh(workdir: Path) -> Path:
    """A new folder name next to `workdir`: its name plus the time."""
    name = f"{workdir.name}-{datetime.datetime.now():%Y-%m-%d-%H%M}"
    names = [name, *(f"{name}-{number}" for number in range(2, 100))]
    return next(path for name in names if not (path := workdir.with_name(name)).exists())

"""Runs of `train.py` in processes of their own, forked from one process that has imported JAX and this package.

Importing them takes a process as long as the steps of a tiny run. The process that is forked uses no device, so that
each run still reads its own `XLA_FLAGS` and creates its own devices.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from tests.conftest import REPO

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["llmrec_jax.cli", "llmrec_jax.train.loop", "llmrec_jax.inference", "tests.train.tiny"])


@dataclasses.dataclass(frozen=True)
class Run:
    """A started run."""

    process: ForkServerProcess
    folder: Path  # of its output

    def finish(self, timeout: float) -> tuple[int, str, str]:
        """Wait for its end; return the exit code (negative: a signal), the standard output and the errors."""
        self.process.join(timeout)
        out, err = ((self.folder / name).read_text() for name in ("stdout", "stderr"))
        assert self.process.exitcode is not None, f"not finished after {timeout} s\n{out}{err}"
        return self.process.exitcode, out, err


@contextlib.contextmanager
def started(
    folder: Path, arguments: list[str], environment: Mapping[str, str], options: Mapping[str, object]
) -> Iterator[Run]:
    """`python train.py ARGUMENTS` with additional variables in the environment, and options of `jax.config`: JAX has
    already read the environment variables that set them. Killed at the end of the context."""
    folder.mkdir(parents=True)
    variables = os.environ | environment
    process = FORKED.Process(target=_train, args=(folder, arguments, dict(variables), dict(options)), daemon=True)
    process.start()
    try:
        yield Run(process, folder)
    finally:
        process.kill()
        process.join()


def _train(folder: Path, arguments: list[str], environment: dict[str, str], options: dict[str, object]) -> None:
    import jax

    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(REPO)
    for option, value in options.items():
        jax.config.update(option, value)
    sys.argv = ["train.py", *arguments]
    runpy.run_path("train.py", run_name="__main__")

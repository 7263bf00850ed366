"""The compiled programs of a run, kept in its work folder: a run that goes on does not compile again.

JAX decides what is the same program (its text, its flags, the versions, the kind of device) and what is worth a file
(a second of compiling). Whoever writes the folder runs code in the process that reads it: it is its owner's alone.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

FOLDER = "compile_cache"


@contextlib.contextmanager
def kept_in(workdir: Path, console: Console) -> Iterator[None]:
    """Within, programs come from `workdir` where they are there already, and are left there by process 0.

    Does nothing where `JAX_COMPILATION_CACHE_DIR` or the caller has chosen a folder. Where others can write the one in
    `workdir`, says so and compiles without.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        yield
        return
    folder = workdir / FOLDER
    workdir.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        console.print(f"{folder} can be written by others and is not used; chmod 700, or set JAX_COMPILATION_CACHE_DIR")
        yield
        return
    _use(str(folder.absolute()))
    try:
        yield
    finally:
        _use(None)


def _use(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()  # else JAX stays with what it found at its first compilation

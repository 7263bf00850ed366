"""The compiled programs of a run, kept in its work folder: a run that goes on does not compile again.

JAX decides which programs are the same (text, flags, versions, kind of device) and which are worth a file (those that
take more than a second to compile). It compiles what it cannot read, but never replaces it: damaged files are deleted.
Whoever can write the folder can run code in the processes that read it, so only its owner may.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax
from jax._src.compilation_cache import decompress_executable  # private: JAX can check no file in public
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

FOLDER = "compile_cache"


@contextlib.contextmanager
def kept_in(workdir: Path, console: Console) -> Iterator[None]:
    """Within, compiled programs are read from `workdir`, and process 0 writes those that are missing.

    Does nothing if `JAX_COMPILATION_CACHE_DIR` or the caller has chosen a folder. If others can write the folder in
    `workdir`, it says so and does not use it.
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
    if jax.process_index() == 0:
        _delete_damaged(folder, console)
    _use(str(folder.absolute()))
    try:
        yield
    finally:
        _use(None)
        with contextlib.suppress(OSError):  # it is not empty, as a rule
            folder.rmdir()


def _delete_damaged(folder: Path, console: Console) -> None:
    for file in folder.glob("*-cache"):
        try:
            decompress_executable(file.read_bytes())
        except Exception as error:  # of zlib or of one of two zstd packages, whichever JAX has found
            file.unlink()
            console.print(f"{file} is damaged and is made again: {error}", markup=False, highlight=False)


def _use(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()  # else JAX stays with what it found at its first compilation

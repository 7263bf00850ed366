"""JAX's persistent compilation cache, in the work folder: a resumed run does not compile again.

JAX computes the cache key (program, flags, versions, device kind) and stores programs that take more than a second to
compile. It recompiles a program whose file is damaged but does not replace the file, so damaged files are deleted here.
Anyone who can write to the folder can run code in the processes that read it, so only its owner may write to it.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import jax
from jax._src.compilation_cache import decompress_executable  # private: JAX has no public way to check a file
from jax.experimental.compilation_cache import compilation_cache
from rich.console import Console

FOLDER = "compile_cache"


@contextlib.contextmanager
def kept_in(workdir: Path, console: Console) -> Iterator[None]:
    """A context in which all processes read compiled programs from `workdir` and process 0 writes missing ones.

    Does nothing if a cache folder is already set, by `JAX_COMPILATION_CACHE_DIR` or the caller. If others can write to
    the folder in `workdir`, prints a warning and does not use it.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        yield
        return
    folder = workdir / FOLDER
    workdir.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        console.print(
            f"{folder} is writable by other users, so it is not used; chmod 700, or set JAX_COMPILATION_CACHE_DIR"
        )
        yield
        return
    if jax.process_index() == 0:
        _delete_damaged(folder, console)
    _use(str(folder.absolute()))
    try:
        yield
    finally:
        _use(None)
        with contextlib.suppress(OSError):  # usually not empty
            folder.rmdir()


def _delete_damaged(folder: Path, console: Console) -> None:
    for file in folder.glob("*-cache"):
        try:
            decompress_executable(file.read_bytes())
        except Exception as error:  # from zlib or one of two zstd packages, depending on what JAX found
            file.unlink()
            console.print(f"{file} is damaged; creating it again: {error}", markup=False, highlight=False)


def _use(folder: str | None) -> None:
    jax.config.update("jax_compilation_cache_dir", folder)
    compilation_cache.reset_cache()  # else JAX keeps the setting of its first compilation

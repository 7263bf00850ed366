"""A lock on a work folder, `lock.json`: one job (of one or more processes) at a time, also across machines.

The owner rewrites the lock every few seconds. If the owner is on the same machine, another process checks with the
system whether it is still running. If it is on another machine (network file system, mounted bucket), the other process
watches whether the lock is still rewritten; no clocks are compared. A lock whose owner has died is taken over.
"""

import contextlib
import datetime
import json
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import jax
import msgspec

from llmrec_jax.cluster import from_first
from llmrec_jax.errors import WRONG_INPUT, UserError

NAME = "lock.json"
BEAT_EVERY = 10.0  # seconds between rewrites of the lock by its owner
WATCH = 120.0  # seconds without a rewrite until a lock counts as abandoned; file systems cache up to 60 s


class Owner(msgspec.Struct, frozen=True):
    """The process that holds a lock."""

    host: str
    pid: int
    started: str  # start time of the process (`_start_of`), because process ids are reused
    machine: str  # processes with the same `machine` can see each other
    since: str
    token: str
    beats: int = 0


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Hold the lock of `workdir`. Creates the folder if it is missing, and removes it on exit if it is empty.

    All processes of a job must call it. Raises ValueError if another process holds the lock.
    """
    owner = Owner(
        host=socket.gethostname(),
        pid=os.getpid(),
        started=_start_of(os.getpid()),
        machine=_machine(),
        since=datetime.datetime.now().astimezone().isoformat(" ", "seconds"),
        token=uuid.uuid4().hex,
    )
    from_first(lambda: _take(workdir, owner))
    if jax.process_index() != 0:
        yield
        return
    done = threading.Event()
    beating = threading.Thread(target=_refresh, args=(workdir / NAME, owner, done), daemon=True, name="lock")
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        with contextlib.suppress(OSError):
            if _is_mine(workdir / NAME, owner):
                (workdir / NAME).unlink()
            workdir.rmdir()  # fails if it is not empty


def _take(workdir: Path, owner: Owner) -> None:
    workdir.mkdir(parents=True, exist_ok=True)
    path = workdir / NAME
    while True:
        try:
            with path.open("xb") as file:
                file.write(msgspec.json.encode(owner))
            return
        except FileExistsError:
            pass
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # just released
            continue
        other = _parse(content)
        if _runs(other) if other and other.machine == owner.machine else _is_rewritten(path, content):
            who = f"process {other.pid} on {other.host}, since {other.since}" if other else "another process"
            raise UserError(f"{workdir} is in use by {who}: wait until it has ended, or choose another --workdir")
        stale = path.with_name(f"{NAME}.{owner.token}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(stale)
            if stale.read_bytes() == content:
                stale.unlink()
            else:  # another process took it over first
                stale.rename(path)


def _refresh(path: Path, owner: Owner, done: threading.Event) -> None:
    """Rewrite the lock until `done`; if it was taken over, exit at once: two runs must not write there."""
    draft = path.with_name(f"{NAME}.{owner.token}")
    beats = 0
    while not done.wait(BEAT_EVERY):
        beats += 1
        with contextlib.suppress(OSError):  # the storage may recover before the lock is taken over
            if not _is_mine(path, owner):
                print(
                    f"error: {path} was taken over by another process: this one was suspended for too long",
                    file=sys.stderr,
                )
                os._exit(WRONG_INPUT)
            draft.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, beats=beats)))
            draft.replace(path)


def _is_rewritten(path: Path, content: bytes) -> bool:
    """Whether the lock changes from `content` within `WATCH` seconds."""
    print(
        f"{path} is held by another machine: waiting up to {WATCH:.0f} s to see whether it is still active",
        file=sys.stderr,
        flush=True,
    )
    end = time.monotonic() + WATCH
    while time.monotonic() < end:
        time.sleep(min(1.0, BEAT_EVERY))
        try:
            if path.read_bytes() != content:
                return True
        except FileNotFoundError:
            return False
    return False


def _is_mine(path: Path, owner: Owner) -> bool:
    there = _parse(path.read_bytes())
    return there is not None and there.token == owner.token


def _parse(content: bytes) -> Owner | None:
    try:
        return msgspec.json.decode(content, type=Owner)
    except msgspec.DecodeError:
        return None


def _runs(owner: Owner) -> bool:
    """Whether the owner, a process on this machine, is still running."""
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it belongs to another user
        pass
    return _start_of(owner.pid) == owner.started


def _start_of(pid: int) -> str:
    """Start time of a process, in clock ticks since boot; empty if unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _machine() -> str:
    """Identifies the machine and the container (PID namespace) of this process."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return json.dumps(parts)

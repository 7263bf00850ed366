"""One process, or one job of several, at a time in a work folder: `lock.json`, which works over machines too.

The owner rewrites its lock every few seconds. A process that finds a lock of the same machine asks the system whether
the owner still runs. If the owner is on another machine (a network file system, a mounted bucket), it watches whether
the lock is still rewritten; no clocks are compared. A lock without a living owner is taken over.
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
BEAT_EVERY = 10.0  # seconds between two times that the owner rewrites its lock
WATCH = 120.0  # seconds after which a lock that is not rewritten has no owner; file systems cache for up to 60


class Owner(msgspec.Struct, frozen=True):
    """Whose a lock is."""

    host: str
    pid: int
    started: str  # of the process, as the system counts it: another process may have its number later
    machine: str  # processes of the same `machine` see one another
    since: str
    token: str
    beats: int = 0


@contextlib.contextmanager
def held(workdir: Path) -> Iterator[None]:
    """Hold the lock of `workdir`, which is made where it is missing, and taken away again where it stays empty.

    All processes of a job must call it. Raises ValueError where another process is at work there.
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
    beating = threading.Thread(target=_beat, args=(workdir / NAME, owner, done), daemon=True, name="lock")
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        with contextlib.suppress(OSError):
            if _is_mine(workdir / NAME, owner):
                (workdir / NAME).unlink()
            workdir.rmdir()  # fails where there is anything in it


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
        except FileNotFoundError:  # given back in this moment
            continue
        other = _parse(content)
        if _runs(other) if other and other.machine == owner.machine else _is_rewritten(path, content):
            who = f"process {other.pid} on {other.host}, since {other.since}" if other else "another process"
            raise UserError(f"{workdir}: {who}, is at work there: wait for it, or choose another --workdir")
        stale = path.with_name(f"{NAME}.{owner.token}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(stale)
            if stale.read_bytes() == content:
                stale.unlink()
            else:  # somebody was faster in taking it over
                stale.rename(path)


def _beat(path: Path, owner: Owner, done: threading.Event) -> None:
    """Rewrite the lock until `done`; end the process at once where it is another's: two must not write there."""
    draft = path.with_name(f"{NAME}.{owner.token}")
    beats = 0
    while not done.wait(BEAT_EVERY):
        beats += 1
        with contextlib.suppress(OSError):  # the storage may come back before anybody takes the lock over
            if not _is_mine(path, owner):
                print(f"error: {path} was taken over: this process stood still for too long", file=sys.stderr)
                os._exit(WRONG_INPUT)
            draft.write_bytes(msgspec.json.encode(msgspec.structs.replace(owner, beats=beats)))
            draft.replace(path)


def _is_rewritten(path: Path, content: bytes) -> bool:
    """Whether a lock that read `content` is rewritten within `WATCH` seconds."""
    print(f"{path} is of another machine: waiting up to {WATCH:.0f} s for a sign of life", file=sys.stderr, flush=True)
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
    """Whether the process, of this machine, is there still."""
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it runs under another user
        pass
    return _start_of(owner.pid) == owner.started


def _start_of(pid: int) -> str:
    """When a process started, in ticks since boot; empty where the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def _machine() -> str:
    """Name of this machine, and of the container whose processes see one another."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return json.dumps(parts)

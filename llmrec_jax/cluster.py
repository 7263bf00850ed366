"""How a process joins the job of several that it belongs to, and who is missing where the job does not come together.

Hosts started by hand say who they are in `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and
`JAX_PROCESS_ID`; Slurm and TPU pods say it themselves. JAX waits in silence for the last process and then dies in C++;
therefore a roll call comes first. Process 0 listens on the very port that JAX will use next, the others call it, and
all are told who is missing. This file knows no mesh, and must have done its work before anything touches a device.
"""

import contextlib
import dataclasses
import os
import selectors
import socket
import sys
import time
from typing import cast

import jax
from jax._src.clusters import ClusterEnv  # private: JAX tells nobody in public what it found out about a pod or Slurm

from llmrec_jax.errors import UserError

ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TIMEOUT = 300.0  # seconds that a job waits for all of its processes
REPORT_EVERY = 60.0  # seconds between two lines that name the missing
RETRY_EVERY = 0.5  # seconds between two calls to a process 0 that does not answer


@dataclasses.dataclass(frozen=True)
class Job:
    """A job of several processes, as one of them sees it."""

    address: str  # host:port of process 0
    num_processes: int
    process_id: int

    def __post_init__(self):
        """Raise ValueError where this cannot be one of so many processes."""
        if not self.address.rpartition(":")[2].isdecimal():
            raise UserError(f"JAX_COORDINATOR_ADDRESS={self.address!r} is not host:port")
        if not 0 <= self.process_id < self.num_processes:
            raise UserError(f"JAX_PROCESS_ID={self.process_id} is not below JAX_NUM_PROCESSES={self.num_processes}")


def join() -> None:
    """Join the job that the environment describes; alone, do nothing.

    Afterwards every process sees the devices of all. Each plans the same batches from (seed, step) and takes the same
    number of steps, so none can wait for another at the end of the data.

    Raises ValueError where the environment contradicts itself, or processes are missing: the message names them.
    """
    job = find_job()
    if job is None:
        return
    roll_call(job, TIMEOUT, REPORT_EVERY)
    jax.distributed.initialize(job.address, job.num_processes, job.process_id)


def find_job() -> Job | None:
    """The job of several processes that the environment describes, None for a process alone."""
    if any(name in os.environ for name in ENVIRONMENT):
        job = Job(_variable("JAX_COORDINATOR_ADDRESS"), _number("JAX_NUM_PROCESSES"), _number("JAX_PROCESS_ID"))
    elif _in_slurm() or _on_tpu_pod():
        found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, int(TIMEOUT))[:3]
        if None in found:
            return None
        job = Job(*found)
    else:
        return None
    return job if job.num_processes > 1 else None


def roll_call(job: Job, timeout: float, report_every: float) -> None:
    """Return when all processes are here. Raises ValueError with the missing after `timeout` seconds.

    Every `report_every` seconds each process that waits prints them.
    """
    if job.process_id == 0:
        with contextlib.closing(_Roll(job)) as roll:
            roll.call(timeout, report_every)
    else:
        _answer(job, timeout, report_every)


class _Roll:
    """Process 0's side: who has called so far.

    A caller sends one line, its number. It gets lines: `wait TEXT`, and at last `go` or `stop TEXT`.
    """

    def __init__(self, job: Job):
        self._num_processes = job.num_processes
        self._door = _listen(job.address)
        self._callers: dict[socket.socket, int | None] = {}  # the number is None until it is said
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._door, selectors.EVENT_READ)

    def call(self, timeout: float, report_every: float) -> None:
        """Wait until nobody is missing."""
        started = time.monotonic()
        report_at = min(report_every, timeout)
        while missing := sorted(set(range(1, self._num_processes)) - set(self._callers.values())):
            waited = time.monotonic() - started
            if waited >= report_at:
                here = f"{self._num_processes - len(missing)} of {self._num_processes} processes are here"
                text = f"waited {waited:.0f} s: {here}; missing: {', '.join(map(str, missing))}"
                if waited >= timeout:
                    self._tell(f"stop {text}")
                    raise UserError(text)
                _print(text)
                self._tell(f"wait {text}")
                report_at = min(report_at + report_every, timeout)
            for key, _ in self._selector.select(max(0.0, report_at - waited)):
                if key.fileobj is self._door:
                    self._open()
                else:
                    self._hear(cast(socket.socket, key.fileobj))
        self._tell("go")

    def close(self) -> None:
        """Free the port."""
        for line in (self._door, *self._callers):
            line.close()
        self._selector.close()

    def _open(self) -> None:
        caller, _ = self._door.accept()
        self._callers[caller] = None
        self._selector.register(caller, selectors.EVENT_READ)

    def _hear(self, caller: socket.socket) -> None:
        """Note a caller's number; forget one that hung up, or that is none of this job (anybody can find a port)."""
        try:
            number = int(caller.recv(64))
        except (OSError, ValueError):
            number = -1
        if 0 < number < self._num_processes:
            is_second = number in self._callers.values()
            self._callers[caller] = number
            if is_second:
                text = f"two processes say that they are process {number} of {self._num_processes}"
                self._tell(f"stop {text}")
                raise UserError(text)
        else:
            self._selector.unregister(caller)
            del self._callers[caller]
            caller.close()

    def _tell(self, line: str) -> None:
        for caller, number in self._callers.items():
            if number is not None:
                with contextlib.suppress(OSError):  # it hung up: that will be heard
                    caller.sendall(f"{line}\n".encode())


def _answer(job: Job, timeout: float, report_every: float) -> None:
    """Another process's side: call process 0 until it answers, then do as it says."""
    host, _, port = job.address.rpartition(":")
    started = time.monotonic()
    report_at = min(report_every, timeout)
    while True:
        # Process 0 may come late, or be started again: whatever goes wrong on the line, call again.
        with (
            contextlib.suppress(OSError),
            socket.create_connection((host.strip("[]"), int(port)), report_every) as line,
        ):
            line.settimeout(timeout)
            line.sendall(f"{job.process_id}\n".encode())
            for said in line.makefile(encoding="utf-8", errors="replace"):
                verb, _, text = said.strip().partition(" ")
                if verb == "go":
                    return
                if verb == "stop":
                    raise UserError(text)
                if verb == "wait":
                    _print(text)
        waited = time.monotonic() - started
        if waited >= report_at:
            text = f"waited {waited:.0f} s: process 0 does not answer at {job.address}"
            if waited >= timeout:
                raise UserError(text)
            _print(text)
            report_at = min(report_at + report_every, timeout)
        time.sleep(min(RETRY_EVERY, max(0.0, report_at - waited)))


def _listen(address: str) -> socket.socket:
    port = int(address.rpartition(":")[2])
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        return socket.create_server(("", port))
    except OSError as error:
        raise UserError(f"{address}: process 0 cannot listen there: {os.strerror(error.errno or 0)}") from error


def _print(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _variable(name: str) -> str:
    if not os.environ.get(name):
        raise UserError(f"{name} is not set: a job of several processes needs all of {', '.join(ENVIRONMENT)}")
    return os.environ[name]


def _number(name: str) -> int:
    text = _variable(name)
    if not text.isdecimal():
        raise UserError(f"{name}={text!r} is not a whole number")
    return int(text)


def _in_slurm() -> bool:
    num_tasks = int(os.environ.get("SLURM_NTASKS", "1"))
    if num_tasks > 1 and "SLURM_STEP_NODELIST" not in os.environ:
        raise UserError(f"this is no task of the Slurm job's {num_tasks}: start it with srun, or unset SLURM_NTASKS")
    return num_tasks > 1


def _on_tpu_pod() -> bool:
    if "tpu" not in (jax.config.jax_platforms or ""):  # JAX itself puts it there where it finds chips
        return False
    workers = os.environ.get("TPU_PROCESS_ADDRESSES", os.environ.get("TPU_WORKER_HOSTNAMES"))
    if workers is not None:
        return "," in workers or int(os.environ.get("MEGASCALE_NUM_SLICES", "1")) > 1
    return "TPU_SKIP_MDS_QUERY" not in os.environ  # a TPU VM, whose metadata server knows the rest

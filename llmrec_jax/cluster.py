"""How a process joins the job of several that it belongs to, and how process 0 decides for all.

Hosts started by hand say who they are in `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and
`JAX_PROCESS_ID`; Slurm and TPU pods say it themselves. This file knows no mesh; joining comes before anything touches a
device.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src.clusters import ClusterEnv  # private: JAX tells nobody in public what it found out about a pod or Slurm
from jax.experimental import multihost_utils

from llmrec_jax.errors import UserError

ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TIMEOUT = 300  # seconds that a job waits for all of its processes

T = TypeVar("T")


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

    Raises ValueError where the environment contradicts itself. Where processes are missing, JAX ends this one.
    """
    job = find_job()
    if job is None:
        return
    where = f"process {job.process_id} of {job.num_processes}, process 0 at {job.address}"
    print(f"{where}: waiting up to {TIMEOUT} s for all", file=sys.stderr, flush=True)
    jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM away from `train.interrupts`
    jax.distributed.initialize(job.address, job.num_processes, job.process_id, initialization_timeout=TIMEOUT)


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns on process 0 (JSON), on all processes of the job; called on that one only.

    What it raises for a user's error or about a file is a `UserError` on all.
    """
    if jax.process_count() == 1:
        return make()
    answer: dict[str, Any] = {}
    if jax.process_index() == 0:
        try:
            answer = {"value": make()}
        except (UserError, OSError) as error:
            answer = {"error": str(error)}
    content = json.dumps(answer).encode()
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.frombuffer(content.ljust(size), np.uint8)[:size]
    answer = json.loads(np.asarray(multihost_utils.broadcast_one_to_all(padded)).astype(np.uint8).tobytes())
    if "error" in answer:
        raise UserError(answer["error"])
    return answer["value"]


def find_job() -> Job | None:
    """The job of several processes that the environment describes, None for a process alone."""
    if any(name in os.environ for name in ENVIRONMENT):
        job = Job(_variable("JAX_COORDINATOR_ADDRESS"), _number("JAX_NUM_PROCESSES"), _number("JAX_PROCESS_ID"))
    elif _in_slurm() or _on_tpu_pod():
        found = ClusterEnv.auto_detect_unset_distributed_params(None, None, None, None, None, TIMEOUT)[:3]
        if None in found:
            return None
        job = Job(*found)
    else:
        return None
    return job if job.num_processes > 1 else None


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

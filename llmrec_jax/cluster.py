"""Initializes `jax.distributed` in multi-process jobs, and broadcasts decisions of process 0.

Processes started by hand set `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and
`JAX_PROCESS_ID`; Slurm and TPU pods are detected. `join` must run before any device is used; the mesh is in `parallel`.
"""

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from jax._src.clusters import ClusterEnv  # private: JAX does not expose what it detects about a pod or Slurm
from jax.experimental import multihost_utils

from llmrec_jax.errors import UserError
from llmrec_jax.progress import mute

ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
TIMEOUT = 300  # seconds to wait for all processes of the job

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Job:
    """A multi-process job, and the id of this process in it."""

    address: str  # host:port of process 0
    num_processes: int
    process_id: int

    def __post_init__(self):
        """Raises ValueError if the address or the process id is invalid."""
        if not self.address.rpartition(":")[2].isdecimal():
            raise UserError(f"JAX_COORDINATOR_ADDRESS={self.address!r} is not host:port")
        if not 0 <= self.process_id < self.num_processes:
            raise UserError(f"JAX_PROCESS_ID={self.process_id} is not below JAX_NUM_PROCESSES={self.num_processes}")


def join() -> None:
    """Join the multi-process job that the environment describes; does nothing for a single process.

    Afterwards every process sees the devices of all. Each plans the same batches from (seed, step) and runs the same
    number of steps, so no process runs out of data before the others.

    Raises ValueError if the environment is inconsistent. If processes are missing, JAX ends this one.
    """
    job = find_job()
    if job is None:
        return
    where = f"process {job.process_id} of {job.num_processes}, process 0 at {job.address}"
    print(f"{where}: waiting up to {TIMEOUT} s for all", file=sys.stderr, flush=True)
    jax.config.update("jax_enable_preemption_service", False)  # it would take over SIGTERM
    jax.distributed.initialize(job.address, job.num_processes, job.process_id, initialization_timeout=TIMEOUT)
    if job.process_id:
        mute()


def from_first(make: Callable[[], T]) -> T:
    """Call `make` on process 0 only and return its result (JSON) on all processes.

    With several processes, a `UserError` or `OSError` from it becomes a `UserError` on all of them.
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


def array_of_first(array: np.ndarray) -> np.ndarray:
    """The array of process 0 on all processes, which computed it too: hosts may round differently."""
    return np.asarray(multihost_utils.broadcast_one_to_all(array))


def find_job() -> Job | None:
    """The multi-process job that the environment describes, None for a single process."""
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
        raise UserError(
            f"this process is not one of the {num_tasks} tasks of the Slurm job: start it with srun, or unset "
            "SLURM_NTASKS"
        )
    return num_tasks > 1


def _on_tpu_pod() -> bool:
    if "tpu" not in (jax.config.jax_platforms or ""):  # JAX sets it if it finds TPU chips
        return False
    workers = os.environ.get("TPU_PROCESS_ADDRESSES", os.environ.get("TPU_WORKER_HOSTNAMES"))
    if workers is not None:
        return "," in workers or int(os.environ.get("MEGASCALE_NUM_SLICES", "1")) > 1
    return "TPU_SKIP_MDS_QUERY" not in os.environ  # a TPU VM: JAX queries its metadata server for the rest

"""Detecting a multi-process job from the environment, and broadcasting from process 0."""

import os
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
from jax._src import clusters

from llmrec_jax import cluster
from llmrec_jax.cluster import Job, find_job
from tests.conftest import REPO

# The answers go to a file: Gloo writes to standard output from a thread of its own, in pieces.
JOIN = """
import sys
import time
from pathlib import Path
import jax
from llmrec_jax import cluster, progress
cluster.join()
progress.FIRST = 0
with progress.shown("joining"):
    time.sleep(0.1)
answers = [f"{jax.process_index()} of {jax.process_count()}, {jax.device_count()} devices"]

def decide(works):
    assert jax.process_index() == 0
    if not works:
        raise cluster.UserError("refused: ü")
    return {"step": 3, "problems": ["ü"]}

answers.append(str(cluster.from_first(lambda: decide(True))))
try:
    cluster.from_first(lambda: decide(False))
except cluster.UserError as error:
    answers.append(str(error))
Path(sys.argv[1], str(jax.process_index())).write_text("\\n".join(answers), encoding="utf-8")
"""
SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_NODELIST": "node[007-010]",
}


@pytest.fixture(autouse=True)
def nothing_described(monkeypatch):
    for name in list(os.environ):
        if name in cluster.ENVIRONMENT or name.startswith(("SLURM_", "TPU_WORKER_", "MEGASCALE_")):
            monkeypatch.delenv(name)


@pytest.fixture
def address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def described(address="10.0.0.1:1234", number="4", process="2"):
    return dict(zip(cluster.ENVIRONMENT, (address, number, process), strict=True))


@pytest.mark.parametrize(
    ("environment", "job"),
    [
        ({}, None),
        (described(number="1", process="0"), None),
        (described(), Job("10.0.0.1:1234", 4, 2)),
        (SLURM, Job("node007:61447", 4, 2)),
        (SLURM | described("node9:1", "2", "1"), Job("node9:1", 2, 1)),
        ({"SLURM_NTASKS": "1"}, None),
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}, None),  # on a pod, but told to use the CPU
    ],
)
def test_the_job_is_found_in_the_environment(monkeypatch, environment, job):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_job() == job


def test_a_pod_of_two_slices_is_found(monkeypatch):
    for module in (clusters.cluster, clusters.cloud_tpu_cluster):
        monkeypatch.setattr(module, "running_in_cloud_tpu_vm", True)
    monkeypatch.setattr(cluster, "jax", SimpleNamespace(config=SimpleNamespace(jax_platforms="tpu,cpu")))
    slices = {"NUM_SLICES": "2", "SLICE_ID": "1", "COORDINATOR_ADDRESS": "localhost"}
    for name, value in {"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}.items():
        monkeypatch.setenv(name, value)
    for name, value in slices.items():
        monkeypatch.setenv(f"MEGASCALE_{name}", value)
    assert find_job() == Job("localhost:8482", 4, 3)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        *[({k: v for k, v in described().items() if k != name}, f"{name} is not set") for name in cluster.ENVIRONMENT],
        (described(address=""), "JAX_COORDINATOR_ADDRESS is not set"),
        (described(address="10.0.0.1"), "JAX_COORDINATOR_ADDRESS='10.0.0.1' is not host:port"),
        (described(number="four"), "JAX_NUM_PROCESSES='four' is not a whole number"),
        (described(process="-1"), "JAX_PROCESS_ID='-1' is not a whole number"),
        (described(process="4"), "JAX_PROCESS_ID=4 is not below JAX_NUM_PROCESSES=4"),
        ({"SLURM_NTASKS": "4"}, "this process is not one of the 4 tasks of the Slurm job: start it with srun"),
    ],
)
def test_a_wrong_environment_is_named(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{message}"):
        find_job()


def outputs(program, environments, *arguments):
    """Exit code, standard output and errors of `program` in processes that run at one time."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            cwd=REPO,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for environment in environments
    ]
    try:
        streams = [process.communicate(timeout=60) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *each) for process, each in zip(processes, streams, strict=True)]


def test_tasks_of_slurm_join(address, tmp_path):
    environment = SLURM | {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "localhost"}
    environment["JAX_COORDINATOR_PORT"] = address.split(":")[1]
    found = outputs(JOIN, [environment | {"SLURM_PROCID": process} for process in "01"], tmp_path)
    assert [code for code, *_ in found] == [0, 0], found
    for process, (_, _, err) in enumerate(found):
        answers = (tmp_path / str(process)).read_text(encoding="utf-8").splitlines()
        assert answers == [f"{process} of 2, 16 devices", "{'step': 3, 'problems': ['ü']}", "refused: ü"]
        assert f"process {process} of 2, process 0 at localhost:" in err
        assert ("joining ..." in err) == (process == 0)  # only the first shows progress

"""Who belongs to a job is read from the environment; a job that does not come together names the missing and ends."""

import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest
from jax._src import clusters

from llmrec_jax import cluster
from llmrec_jax.cluster import Job, find_job, roll_call
from tests.conftest import REPO

TRAIN = """
import sys
from llmrec_jax import cli, cluster
cluster.TIMEOUT, cluster.REPORT_EVERY = 4, 1
sys.exit(cli.train(sys.argv[1:]))
"""
JOIN = """
import jax
from llmrec_jax import cluster
cluster.join()
print(f"{jax.process_index()} of {jax.process_count()}, {jax.device_count()} devices")
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
        ({"SLURM_NTASKS": "4"}, "this is no task of the Slurm job's 4: start it with srun"),
    ],
)
def test_a_wrong_environment_is_named(monkeypatch, environment, message):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=f"^{message}"):
        find_job()


def call(jobs, delays=None, timeout=20.0):
    """Hold the roll call of `jobs`, a thread each; the error of each, None where it found all."""
    found = [None] * len(jobs)

    def one(place):
        time.sleep(delays[place] if delays else 0)
        try:
            roll_call(jobs[place], timeout, report_every=1.0)
        except ValueError as error:
            found[place] = str(error)

    threads = [threading.Thread(target=one, args=(place,)) for place in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_all_are_found_whoever_else_calls(address):
    def strangers():
        time.sleep(0.3)
        for says in (b"GET / HTTP/1.1\r\n\r\n", b"9\n", b"", b"2\n"):  # the last is process 2, which dies at once
            with socket.create_connection(("127.0.0.1", int(address.split(":")[1]))) as line:
                line.sendall(says)

    thread = threading.Thread(target=strangers)
    thread.start()
    jobs = [Job(address, 4, process) for process in range(4)]
    assert call(jobs, delays=(0, 0, 1, 1)) == [None] * 4
    thread.join()


def test_every_process_names_the_missing(address, capfd):
    found = call([Job(address, 5, process) for process in (0, 2, 3)], timeout=2.6)
    assert found == ["waited 3 s: 3 of 5 processes are here; missing: 1, 4"] * 3
    printed = capfd.readouterr().err.splitlines()
    assert set(printed) == {f"waited {s} s: 3 of 5 processes are here; missing: 1, 4" for s in (1, 2)}
    assert len(printed) == 6


def test_process_0_is_missing(address):
    found = call([Job(address, 3, 1)], timeout=1.6)
    assert found == [f"waited 2 s: process 0 does not answer at {address}"]


def test_the_port_is_taken(address):
    with socket.create_server(("", int(address.split(":")[1]))):
        assert call([Job(address, 2, 0)]) == [f"{address}: process 0 cannot listen there: Address already in use"]


def test_two_processes_with_one_number(address):
    found = call([Job(address, 3, process) for process in (0, 1, 1)], delays=(0, 0.3, 0.6))
    assert found == ["two processes say that they are process 1 of 3"] * 3


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


def test_training_ends_where_a_host_is_missing(address, tmp_path):
    found = outputs(
        TRAIN,
        [described(address, "3", process) for process in "02"],
        "configs/quickstart.py",
        "--workdir",
        tmp_path / "run",
    )
    for code, _, err in found:
        assert code == 2, err
        assert err.splitlines()[-1] == "error: waited 4 s: 2 of 3 processes are here; missing: 1"
    assert not (tmp_path / "run").exists()


def test_tasks_of_slurm_join(address):
    environment = SLURM | {"SLURM_NTASKS": "2", "SLURM_STEP_NODELIST": "localhost"}
    environment["JAX_COORDINATOR_PORT"] = address.split(":")[1]
    found = outputs(JOIN, [environment | {"SLURM_PROCID": process} for process in "01"])
    assert [(code, out) for code, out, _ in found] == [(0, "0 of 2, 16 devices\n"), (0, "1 of 2, 16 devices\n")], found

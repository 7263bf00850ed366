"""A job of two processes with four devices each, or of four with two, is the run of one process with eight.

No process can run out of batches before another: each plans every batch itself, from (seed, step), and the number of
steps is the configuration's.
"""

import dataclasses
import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest

from llmrec_jax import Recommender
from llmrec_jax.config import MeshConfig
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.checkpoint import Checkpoints
from tests.conftest import REPO
from tests.train.tiny import tiny_config

pytestmark = pytest.mark.slow

STEPS = 6
MESHES = {"jit": MeshConfig(data=4, fsdp=2), "pmap": MeshConfig(mode="pmap")}
CONFIG_FILE = """
from pathlib import Path
from tests.train.test_processes import job_config

def config():
    return job_config(Path({root!r}), {mode!r})
"""


def job_config(root, mode):
    config = tiny_config(root / "cache", mesh=MESHES[mode])
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, user_tower="mean"),  # quick to compile
        train=dataclasses.replace(config.train, steps=STEPS),
    )


def run(root, mode, num_processes):
    """The work folder of a job on eight devices, shared out to `num_processes`."""
    (root / f"{mode}.py").write_text(CONFIG_FILE.format(root=str(root), mode=mode))
    workdir = root / f"{mode}-{num_processes}"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    flags = environment["XLA_FLAGS"].replace("device_count=8", f"device_count={8 // num_processes}")
    environment |= {
        "XLA_FLAGS": flags,
        "JAX_COORDINATOR_ADDRESS": f"127.0.0.1:{port}",
        "JAX_NUM_PROCESSES": str(num_processes),
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "train.py", str(root / f"{mode}.py"), "--workdir", str(workdir)],
            cwd=REPO,
            env=environment | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(num_processes)
    ]
    try:
        outputs = [process.communicate(timeout=240)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    assert all("report" not in output for output in outputs[1:])  # one process speaks for all
    return workdir


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def alone(root):
    return run(root, "jit", 1)


@pytest.fixture(
    scope="module", params=[("jit", 2), ("pmap", 2), ("jit", 4)], ids=lambda param: f"{param[0]}-{param[1]}"
)
def together(root, request):
    return request.param[0], run(root, *request.param)


def test_several_processes_equal_one(alone, together):
    lines = [
        [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
        for workdir in (alone, together[1])
    ]
    assert [line["step"] for line in lines[1]] == list(range(1, STEPS + 1))
    for expected, found in zip(*lines, strict=True):
        assert expected.keys() == found.keys()
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=name)
    rows = [json.loads((workdir / "report.json").read_text())["results"] for workdir in (alone, together[1])]
    for expected, found in zip(*rows, strict=True):
        assert expected.keys() == found.keys()
        del expected["tied_users"]  # whether two scores are equal to the last bit is nobody's promise here
        for name, value in expected.items():  # two of 1,200 users may have moved over a cutoff
            assert found[name] == (pytest.approx(value, abs=2 / 1200) if isinstance(value, float) else value)


def test_what_several_processes_leave_is_read_by_one_device(alone, together, root):
    mode, workdir = together
    assert sorted(path.name for path in (workdir / "checkpoints").iterdir()) == ["4", "6"]
    experiment = experiment_lib.build(job_config(root, mode))
    device = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.eval_shape(experiment.init_state)
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=device), like)
    found, expected = (
        jax.device_get(Checkpoints(folder / "checkpoints", read_only=True).restore(STEPS, like).params)
        for folder in (workdir, alone)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), found, expected)
    recommendations = [Recommender.load(folder / "bundle").recommend(["book-0001"], k=5) for folder in (workdir, alone)]
    np.testing.assert_allclose(*([score for _, score, _ in found] for found in recommendations), atol=1e-3)

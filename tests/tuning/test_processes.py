"""Two processes share a sweep; one is killed in the middle of a trial, and the next call finishes it."""

import json
import signal
import subprocess
import sys
import time

import pytest

from llmrec_jax.train.checkpoint import Checkpoints
from tests.conftest import DATA_CACHE

TINY = {"data.target": "demo:books", "data.cache_dir": str(DATA_CACHE), "data.field_dropout": "0", "mesh.data": "1",
        "encoder.pretrained": "None", "encoder.mode": "full", "encoder.num_layers": "1", "encoder.width": "16",
        "encoder.num_heads": "2", "data.vocab_size": "300", "data.max_tokens": "12", "model.item_features": "id",
        "model.user_tower": "mean", "model.width": "16", "train.steps": "60", "train.batch_size": "32",
        "train.eval_every": "3", "train.checkpoint_every": "3"}  # fmt: skip


def has_checkpoint(sweep):
    """Whether a trial has saved one."""
    folders = sweep.glob("trials/*/checkpoints")
    return any(Checkpoints(folder, read_only=True).newest_intact()[0] is not None for folder in folders)


@pytest.mark.slow
def test_two_processes_one_of_them_killed(tmp_path):
    fields = [word for name, value in TINY.items() for word in (f"--{name}", value)]
    options = ["--trials", "3", "--space", "optim.learning_rate=1e-3:1e-1:log", "--workdir", str(tmp_path / "sweep")]
    command = [sys.executable, "-m", "llmrec_jax", "sweep", "my_shop", *fields, *options, "--json"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **quiet) as killed:
        end = time.monotonic() + 300
        while not has_checkpoint(tmp_path / "sweep") and killed.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        killed.send_signal(signal.SIGSTOP)  # alive, in the middle of a trial, while the other process works
        try:
            other = subprocess.run(command, capture_output=True, check=True, text=True, timeout=300)
        finally:
            killed.send_signal(signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    assert "trial 2/3: optim" in other.stderr
    assert "trials still running in other processes: 1" in other.stderr
    trials = json.loads(other.stdout)["trials"]
    (unfinished,) = [trial for trial in trials if trial["state"] == "running"]
    assert [trial["state"] for trial in trials].count("complete") == 2

    last = subprocess.run(command, capture_output=True, check=True, text=True, timeout=300)
    ended = [trial for trial in json.loads(last.stdout)["trials"] if trial["state"] == "complete"]
    assert len({trial["values"]["optim.learning_rate"] for trial in ended}) == len(ended) == 3
    assert unfinished["values"] in [trial["values"] for trial in ended]
    assert "trial 3/3: optim" in last.stderr
    assert "step 3/60  target" not in last.stderr  # it went on from a checkpoint
    assert list((tmp_path / "sweep" / "processes").iterdir()) == []

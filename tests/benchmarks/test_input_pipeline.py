"""The input pipeline benchmark: the format of its output, and that its numbers are consistent."""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPO

CONFIG = """
from pathlib import Path
from tests.train.tiny import tiny_config

def config():
    return tiny_config(Path({cache!r}))
"""


def test_document(tmp_path):
    (tmp_path / "config.py").write_text(CONFIG.format(cache=str(tmp_path / "cache")))
    command = [sys.executable, "benchmarks/input_pipeline.py", str(tmp_path / "config.py")]
    command += ["--batch-size", "24", "--batches", "5", "--json"]
    result = subprocess.run(command, cwd=REPO, env={"PYTHONPATH": str(REPO)}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["versions"]["jax"]
    assert all(row.keys() == {"work", "value", "unit"} for row in document["rows"])
    value = {row["work"]: row["value"] for row in document["rows"]}
    assert len(value) == len(document["rows"])
    assert min(value.values()) > 0
    assert value["histories"] == pytest.approx(24 * value["batches"])
    assert 24 < value["real tokens"] / value["batches"] < 24 * 7 * 12  # 7 events a row, 12 tokens a text at most
    assert value["real tokens / H100 at 55 % of its peak"] == pytest.approx(value["real tokens"] / 1.04e6)
    assert document["host"]["matmul_gflops"] > 0
    assert document["host"]["cores"] >= 1

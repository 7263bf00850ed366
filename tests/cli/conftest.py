"""The commands, called in this process or in one of their own, a small shop, and a run on it."""

import os
import subprocess
import sys

import pytest

from tests.conftest import REPO

CONFIG = """
from llmrec_jax.config import Config, DataConfig, MeshConfig

def config():
    return Config(data=DataConfig(sources=(), target="shop", root={root!r}, cache_dir={root!r} + "/cache"))
"""


@pytest.fixture
def call(capsys):
    """Calls a command; gives its exit code and what it printed to both streams."""

    def run(command, *arguments):
        try:
            code = command([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = exit.code
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, streams.err

    return run


@pytest.fixture
def shop(tmp_path):
    """A sound domain as small as can be; its folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "items.jsonl").write_text('{"item_id": "a", "title": "One"}\n')
    (folder / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    return folder


@pytest.fixture
def bad_shop(shop):
    """The same with two bad lines."""
    with (shop / "items.jsonl").open("a") as file:
        file.write('{"item_id": "b"}\n')
    with (shop / "interactions.csv").open("a") as file:
        file.write("u,nothing\n")
    return shop


@pytest.fixture
def config(tmp_path, shop):
    """A configuration file of a run on the small shop."""
    path = tmp_path / "small.py"
    path.write_text(CONFIG.format(root=str(tmp_path)))
    return path


def python(*arguments, **variables):
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPO)} | variables
    return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=60)

"""docs/serving.md: its curl commands are answered, and its table states the limits."""

import dataclasses
import re
import shlex
import shutil
import subprocess
import threading
import time

import pytest
import uvicorn

from llmrec_jax.server import Limits, create_app
from llmrec_jax.server.listening import bound
from tests.conftest import REPO

TEXT = (REPO / "docs" / "serving.md").read_text()
COMMANDS = re.findall(r"^curl .*$", TEXT, flags=re.MULTILINE)


@pytest.fixture(scope="module")
def port(bundle):
    """The port of a server that runs in a thread."""
    server = uvicorn.Server(uvicorn.Config(create_app({"my_shop": bundle}, Limits(batch=1)), log_level="warning"))
    with bound("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join()


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_is_answered(command, port):
    arguments = shlex.split(command.replace("localhost:8000", f"127.0.0.1:{port}"))
    result = subprocess.run([*arguments, "--noproxy", "*", "-w", "\n%{http_code}"], capture_output=True, text=True)
    body, _, status = result.stdout.rpartition("\n")
    assert (status, bool(body)) == ("200", True), body


def test_the_limits_are_those_of_the_code():
    table = "".join(line for line in TEXT.splitlines(keepends=True) if line.startswith("|"))
    assert "2 MiB" in table
    values = dataclasses.asdict(Limits())
    for name in ("text_chars", "k", "ids", "items", "added_items", "texts", "conditions", "concurrency", "timeout"):
        assert re.search(rf"\b{int(values[name]):,}\b", table), name
    assert f"up to {Limits().batch} at a time" in TEXT

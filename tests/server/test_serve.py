"""`llmrec serve`: one real process on loopback; what it refuses to start with."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llmrec_jax import cli
from llmrec_jax.cli.serve import LOCAL, is_loopback, names
from llmrec_jax.errors import UserError
from tests.conftest import REPO


@contextlib.contextmanager
def serving(*arguments, **environment):
    """A server in a process of its own, and its port."""
    command = [sys.executable, "-m", "llmrec_jax", "serve", *map(str, arguments), "--port", "0"]
    process = subprocess.Popen(
        command, cwd=REPO, env=os.environ | environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if found := re.search(r"serving at http://[\d.]+:(\d+)", line):
                yield process, int(found[1])
                break
        else:
            raise AssertionError("".join(lines))
    finally:
        process.kill()
        process.communicate()


def post(port, path, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    found = response.status, json.loads(response.read())
    connection.close()
    return found


@pytest.mark.slow
def test_a_process_answers_and_finishes_its_requests_before_it_stops(bundle):
    body = json.dumps({"history": ["book-0003"], "k": 2}).encode()
    with serving(f"books={bundle}", LLMREC_API_KEY="correct-horse") as (process, port):
        assert post(port, "/v1/recommend", {"history": []})[0] == 401
        key = {"Authorization": "Bearer correct-horse"}
        status, answer = post(port, "/v1/recommend", {"history": ["book-0003"], "k": 2}, **key)
        assert (status, len(answer["items"])) == (200, 2)

        with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
            head = (f"POST /v1/recommend HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                    f"Authorization: Bearer correct-horse\r\nContent-Length: {len(body)}\r\n\r\n")  # fmt: skip
            slow.sendall(head.encode() + body[:5])
            time.sleep(0.5)  # so that the request has begun
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            assert process.poll() is None
            slow.sendall(body[5:])
            received = b""
            while chunk := slow.recv(65536):
                received += chunk
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert b"book-" in received
        assert process.wait(30) == 0
        assert process.stderr.read() == ""


def test_names_of_bundles():
    assert names(["/bundle"]) == {"bundle": Path("/bundle")}  # no folder above it has a name
    assert names(["runs/my_shop/bundle", "runs/other", "third=x=y", "./a=b/c"]) == {
        "my_shop": Path("runs/my_shop/bundle"), "other": Path("runs/other"), "third": Path("x=y"), "c": Path("./a=b/c"),
    }  # fmt: skip
    for wrong, words in [(["a/x", "b/x"], "two bundles have the name 'x'"), ([], "no bundle"), (["/"], "no name")]:
        with pytest.raises(UserError, match=words):
            names(wrong)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "other machines can reach"),
        (["--api-key", "short"], "at least 8 characters"),
        (["--port", "70000"], "between 0 and 65535"),
        (["--timeout", "0"], "above 0"),
        (["--timeout", "inf"], "finite"),
        (["--host", "192.0.2.1", "--without-key"], "cannot listen on 192.0.2.1"),
    ],
)
def test_what_it_refuses_to_start_with(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.delenv("LLMREC_API_KEY", raising=False)
    assert cli.main(["serve", str(tmp_path), *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_folder_that_is_no_bundle_is_refused(tmp_path, capsys):
    assert cli.main(["serve", str(tmp_path), "--port", "0"]) == 2
    assert "config.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "names"), [("localhost", LOCAL), ("127.0.0.2", (*LOCAL, "127.0.0.2")), ("192.0.2.1", None)]
)
def test_a_loopback_address_is_answered_by_its_own_name_too(host, names, monkeypatch):
    found = []
    monkeypatch.delenv("LLMREC_API_KEY", raising=False)
    monkeypatch.setattr("llmrec_jax.server.create_app", lambda bundles, limits, key, hosts: found.append(hosts))
    monkeypatch.setattr("llmrec_jax.server.listening.bound", lambda host, port: contextlib.nullcontext())
    monkeypatch.setattr("llmrec_jax.server.listening.run", lambda *arguments: None)
    assert cli.main(["serve", "shop", "--host", host, "--without-key"]) == 0
    assert [hosts and set(hosts) for hosts in found] == [names and set(names)]


@pytest.mark.parametrize(
    ("host", "expected"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("127.8.0.1", True), ("0.0.0.0", False),
     ("::", False), ("192.168.1.5", False), ("example.org", False)],
)  # fmt: skip
def test_loopback_addresses(host, expected):
    assert is_loopback(host) == expected

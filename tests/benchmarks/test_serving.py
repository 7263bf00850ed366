"""The bundle and the load generator of the benchmark of the server."""

import asyncio
import contextlib
import json
import threading

import numpy as np
import pytest

from benchmarks.serving import bodies
from benchmarks.serving_bundle import write_bundle
from benchmarks.serving_load import measure
from llmrec_jax import Recommender


def test_the_bundle_is_one(tmp_path):
    write_bundle(tmp_path / "bundle", 300)
    recommender = Recommender.load(tmp_path / "bundle")
    assert len(recommender.items) == 300
    found = recommender.recommend(bodies(300)(0)["history"], 5, explain=True)
    assert {"text", "co_purchase", "popularity", "model"} <= set(found.parts[0])
    assert len(np.load(tmp_path / "vectors.npy")) == 300


@pytest.fixture
def slow_server():
    """Answers one request after the other, 20 ms each, every third with status 500."""
    seen = []

    async def answer(reader, writer):
        with_lock = lock
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(head.lower().partition(b"content-length: ")[2].split()[0])
            seen.append(json.loads(await reader.readexactly(length)))
            async with with_lock:
                await asyncio.sleep(0.02)
            status = b"500 Broken" if len(seen) % 3 == 0 else b"200 OK"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 2\r\n\r\n{}")

    async def quiet(reader, writer):
        with contextlib.closing(writer), contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await answer(reader, writer)

    loop, lock = asyncio.new_event_loop(), asyncio.Lock()
    server = loop.run_until_complete(asyncio.start_server(quiet, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield server.sockets[0].getsockname()[1], seen
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    server.close()
    for connection in asyncio.all_tasks(loop):
        connection.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            loop.run_until_complete(connection)
    loop.run_until_complete(asyncio.sleep(0))  # their sockets are closed
    loop.close()


def test_a_server_that_falls_behind_is_seen(slow_server):
    """It answers at most 50 requests a second. Measured from their sending, all latencies would be 20 ms."""
    port, seen = slow_server
    found = measure(port, "/", lambda n: {"n": n}, rate=100, seconds=0.6, connections=1)
    assert sorted(body["n"] for body in seen) == list(range(60))
    assert found.errors == {"500": 20}
    assert found.latency_N[-1] > 400
    report = found.report()
    assert 20 < report["successes/s"] < 34
    assert report["ms"]["max"] == round(found.latency_N.max(), 2)


def test_requests_that_get_no_answer_are_counted(slow_server, monkeypatch):
    monkeypatch.setattr("benchmarks.serving_load.PATIENCE", 0.1)
    found = measure(slow_server[0], "/", lambda n: {"n": n}, rate=200, seconds=0.3, connections=1)
    assert 20 < found.errors["unanswered"] < 60
    assert np.isfinite(found.latency_N).all()


def test_a_server_that_is_not_there_is_an_error():
    found = measure(1, "/", lambda n: {}, rate=100, seconds=0.03)
    assert found.errors == {"ConnectionRefusedError": 3}

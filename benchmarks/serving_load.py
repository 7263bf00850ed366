"""Sends requests to a server at a fixed rate over kept connections, and measures their latency.

The load is open: a request is sent at its time, however late the answers of others are, and its latency counts from
that time. So a server that falls behind shows it (no coordinated omission).
"""

import asyncio
import dataclasses
import json
import time
from collections.abc import Callable

import numpy as np

PATIENCE = 10.0  # seconds to wait for the last answers; then a request counts as unanswered


@dataclasses.dataclass(frozen=True)
class Measured:
    """Latencies of the requests of a run in milliseconds, in the order in which they were sent."""

    latency_N: np.ndarray
    errors: dict[str, int]  # by status or exception
    seconds: float

    def report(self) -> dict[str, object]:
        """Rate, quantiles and errors."""
        names = {"p50": 50, "p90": 90, "p99": 99, "p99.9": 99.9, "max": 100}
        quantiles = {name: round(float(np.percentile(self.latency_N, q)), 2) for name, q in names.items()}
        successes = len(self.latency_N) - sum(self.errors.values())
        rate = round(successes / self.seconds, 1)
        return {"requests": len(self.latency_N), "successes/s": rate, "ms": quantiles, "errors": self.errors}


def measure(
    port: int, path: str, body: Callable[[int], dict[str, object]], rate: float, seconds: float, connections: int = 64
) -> Measured:
    """Send `rate` POST requests a second to 127.0.0.1, at random times (a Poisson process), for `seconds`."""
    rng = np.random.default_rng(0)
    times_N = np.cumsum(rng.exponential(1 / rate, int(rate * seconds)))
    requests = [_request(port, path, body(n)) for n in range(len(times_N))]
    return asyncio.run(_send(port, requests, times_N, connections))


async def _send(port: int, requests: list[bytes], times_N: np.ndarray, connections: int) -> Measured:
    free: asyncio.Queue[_Connection] = asyncio.Queue()
    for _ in range(connections):
        free.put_nowait(_Connection(port))
    latency_N, errors = np.full(len(requests), np.nan), dict[str, int]()
    started = time.perf_counter()

    async def one(n: int) -> None:
        connection = await free.get()
        try:
            status = await connection.ask(requests[n])
            latency_N[n] = 1000 * (time.perf_counter() - started - times_N[n])
            if status != 200:
                errors[str(status)] = errors.get(str(status), 0) + 1
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            latency_N[n] = 1000 * (time.perf_counter() - started - times_N[n])
            connection.close()
            errors[type(error).__name__] = errors.get(type(error).__name__, 0) + 1
        finally:
            free.put_nowait(connection)

    tasks = []
    for n, due in enumerate(times_N):
        if (wait := due - (time.perf_counter() - started)) > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(one(n)))
    _, unanswered = await asyncio.wait(tasks, timeout=PATIENCE)
    seconds = time.perf_counter() - started
    for task in unanswered:
        task.cancel()
    if unanswered:
        await asyncio.wait(unanswered)
        errors["unanswered"] = len(unanswered)
        missing_N = np.isnan(latency_N)
        latency_N[missing_N] = 1000 * (seconds - times_N[missing_N])  # at least
    while not free.empty():
        free.get_nowait().close()
    return Measured(latency_N, errors, seconds)


class _Connection:
    """One kept connection; opened when first used."""

    def __init__(self, port: int):
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """The status of the response, which is read whole."""
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close it; the next request opens it again."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


def _request(port: int, path: str, body: dict[str, object]) -> bytes:
    content = json.dumps(body).encode()
    return (f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(content)}\r\n\r\n").encode() + content  # fmt: skip

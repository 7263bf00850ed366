"""Latency of `llmrec serve` under load, beside a plain NumPy + FastAPI server on the same vectors in one run.

    python -m benchmarks.serving --peer-python ENV/bin/python
    python -m benchmarks.serving --seconds 300 --rates 100            # the soak

Writes a bundle of 100,000 items (`serving_bundle`), starts each server in turn and sends requests at each rate; prints
one JSON object a line, with the load of the machine before the run: on a machine that does other work, the latencies
are those of the other work. The load generator runs on the same cores.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.serving_bundle import write_bundle
from benchmarks.serving_load import measure
from llmrec_jax.version import __version__

HISTORY, K = 10, 10


def main() -> None:
    """Parse the arguments, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rates", type=float, nargs="+", default=[25, 50, 100], help="requests a second")
    parser.add_argument("--seconds", type=float, default=30, help="of each run")
    parser.add_argument("--peer-python", type=Path, help="a Python with fastapi, uvicorn and numpy")
    parser.add_argument("--folder", type=Path, help="keep the bundle here, and use the one that is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "bundle").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_bundle(folder / "bundle", arguments.items)
        versions = {"items": arguments.items, "python": platform.python_version(), "llmrec_jax": __version__}
        print(json.dumps(versions | {"numpy": np.__version__, "cpus": os.cpu_count()}))
        for name, command in servers(folder, arguments.peer_python).items():
            with running(command) as port:
                body = bodies(arguments.items)
                measure(port, "/v1/recommend", body, 10, 2)  # warm up
                for rate in arguments.rates:
                    about = {"server": name, "rate": rate, "load before": round(os.getloadavg()[0], 2)}
                    found = measure(port, "/v1/recommend", body, rate, arguments.seconds).report()
                    print(json.dumps(about | found), flush=True)


def bodies(num_items: int) -> Callable[[int], dict[str, object]]:
    """The n-th request: a history of random items."""

    def body(n: int) -> dict[str, object]:
        history = np.random.default_rng(n).integers(num_items, size=HISTORY)
        return {"history": [f"item-{item}" for item in history], "k": K}

    return body


def servers(folder: Path, peer: Path | None) -> dict[str, list[str]]:
    """The commands that start the servers; the port is added."""
    found = {"llmrec serve": [sys.executable, "-m", "llmrec_jax", "serve", str(folder / "bundle"), "--port"]}
    if peer is not None:
        here = Path(__file__).parent / "serving_peer.py"
        found["numpy + fastapi"] = [str(peer), str(here), str(folder / "vectors.npy")]
    return found


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[int]:
    """A server in a process of its own, and its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([*command, str(port)])
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise RuntimeError(f"{command[0]} ended with {process.returncode}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.2)
        else:
            raise TimeoutError(f"nothing listens on port {port}")
        yield port
        print(json.dumps({"memory MB": memory(process.pid)}), flush=True)
    finally:
        process.terminate()
        process.wait(60)


def memory(pid: int) -> int | None:
    """Resident memory of a process in MB, on Linux."""
    with contextlib.suppress(OSError):
        if found := re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()):
            return int(found[1]) // 1024
    return None


if __name__ == "__main__":
    main()

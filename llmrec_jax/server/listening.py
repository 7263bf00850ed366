"""Runs an app with uvicorn until SIGTERM or SIGINT, then finishes the requests in progress."""

import signal
import socket
from collections.abc import Callable

import uvicorn
from starlette.types import ASGIApp

from llmrec_jax.errors import UserError

KEEP_ALIVE = 75  # seconds; longer than a proxy keeps a connection (nginx: 60), or it meets closed ones


def bound(host: str, port: int) -> socket.socket:
    """A socket bound to an address, not yet listening. Raises UserError if it cannot be."""
    if not 0 <= port < 65536:  # getaddrinfo takes the lower 16 bits of a larger one
        raise UserError(f"--port {port}: must be between 0 and 65535")
    found = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, kind, protocol)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(address)
    except OSError as error:
        if found is not None:
            found.close()
        raise UserError(f"cannot listen on {host}, port {port}: {error.strerror or error}; "
                        "choose another --host or --port") from error  # fmt: skip
    return found


def run(app: ASGIApp, listener: socket.socket, timeout: float, started: Callable[[str], object]) -> None:
    """Serve until a signal. `started` is called with the URL as soon as requests are answered; requests in progress
    get `timeout` seconds at the end.
    """
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=int(timeout) + 1,
    )
    host, port = listener.getsockname()[:2]
    server = _Server(config, lambda: started(f"http://{f'[{host}]' if ':' in host else host}:{port}"))
    # uvicorn raises the signal again after it has stopped, which would end the process as if it had failed.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run([listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, announce: Callable[[], object]):
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._announce()

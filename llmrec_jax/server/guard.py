"""What applies to every request: host, key, concurrency, timeout, security headers, metrics. Pure ASGI.

An unexpected exception is logged with its traceback; the response says nothing of it.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Collection
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from llmrec_jax.server.errors import ApiError, busy, response
from llmrec_jax.server.limits import Limits
from llmrec_jax.server.metrics import Metrics

log = logging.getLogger("llmrec_jax.server")

# The page runs its own scripts only, talks to this server only, and cannot be framed.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
PROBES = ("/healthz", "/readyz", "/metrics")  # answered however busy the server is
NEEDS_KEY = ("/v1/", "/metrics")


class Guard:
    """Middleware around the routes."""

    def __init__(
        self, app: ASGIApp, *, limits: Limits, metrics: Metrics, api_key: str | None, hosts: Collection[str] | None
    ):
        """`hosts`: the only values of the Host header that are answered; None: any."""
        self._app, self._limits, self._metrics, self._hosts = app, limits, metrics, hosts
        self._key = None if api_key is None else api_key.encode()
        self._in_progress = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the file's head."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_and_note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *HEADERS]
            await send(message)

        self._in_progress += 1
        self._metrics.in_progress.inc()
        try:
            await self._answer(scope, receive, send_and_note, lambda: status > 0)
        finally:
            self._in_progress -= 1
            self._metrics.in_progress.dec()
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, scope["method"] if route != "other" else "", str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, is_started: Any) -> None:
        try:
            self._check(scope)
            async with asyncio.timeout(self._limits.timeout):
                await self._app(scope, receive, send)
            return
        except ApiError as refused:
            error = refused
        except TimeoutError:
            error = busy(503, f"no answer within {self._limits.timeout:g} seconds; try again later")
        except Exception:
            log.exception("%s %s", scope["method"], getattr(scope.get("route"), "path", "other"))
            error = ApiError(500, "internal error; the server's log has the details")
        if not is_started():
            await response(error)(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        """Raise ApiError for a request that is refused by its headers or because there are too many."""
        headers, path = Headers(scope=scope), scope["path"]
        if self._hosts is not None and _without_port(headers.get("host", "").lower()) not in self._hosts:
            raise ApiError(400, "a server without a key answers requests to localhost only; start it with a key")
        if self._key is not None and path.startswith(NEEDS_KEY) and not self._is_key(headers):
            raise ApiError(401, "wrong key; send it as 'Authorization: Bearer KEY'",
                           headers={"WWW-Authenticate": "Bearer"})  # fmt: skip
        if self._in_progress > self._limits.concurrency and path not in PROBES:
            raise busy(429, f"{self._limits.concurrency} requests are in progress; try again later")

    def _is_key(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        assert self._key is not None
        return hmac.compare_digest(given.strip().encode(), self._key) and scheme.lower() == "bearer"


def _without_port(host: str) -> str:
    return host[: host.index("]") + 1] if host.startswith("[") and "]" in host else host.partition(":")[0]

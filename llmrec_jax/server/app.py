"""Puts the app together. `llmrec serve` runs it with uvicorn; any ASGI server can."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Mapping
from pathlib import Path

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llmrec_jax.server import errors, openapi, pages, routes
from llmrec_jax.server.bundles import Bundles
from llmrec_jax.server.context import Context
from llmrec_jax.server.guard import Guard
from llmrec_jax.server.limits import Limits
from llmrec_jax.server.metrics import CONTENT_TYPE

log = logging.getLogger("llmrec_jax.server")

LOOK_EVERY = 1.0  # seconds between looks at the files of the bundles


def create_app(
    bundles: Mapping[str, Path],
    limits: Limits = Limits(),  # noqa: B008
    api_key: str | None = None,
    hosts: Collection[str] | None = None,
) -> Starlette:
    """Load bundles and make the app that serves them.

    Args:
      bundles: folders by name, of bundles or of runs; the first is the default.
      limits: see `Limits`.
      api_key: the key that /v1 and /metrics ask for, as `Authorization: Bearer KEY`; None: none.
      hosts: the only values of the Host header, without port, that are answered; None: any.

    Raises:
      ValueError: there is no bundle, or one cannot be loaded.
    """
    server = Context(Bundles(bundles, limits), limits)
    description = msgspec.json.encode(openapi.document(limits, api_key is not None))

    async def metrics(request: Request) -> Response:
        return Response(server.metrics.text(), headers={"content-type": CONTENT_TYPE})

    async def openapi_json(request: Request) -> Response:
        return Response(description, media_type=errors.JSON)

    async def refuse(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        return errors.response(error)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        looking = asyncio.create_task(_look(server))
        server.is_ready = True
        yield
        looking.cancel()
        await asyncio.to_thread(server.close)

    return Starlette(
        routes=[
            *routes.routes(server),
            Route("/metrics", metrics),
            Route("/openapi.json", openapi_json),
            *pages.routes(),
        ],
        middleware=[Middleware(Guard, limits=limits, metrics=server.metrics, api_key=api_key, hosts=hosts)],
        exception_handlers={HTTPException: refuse},
        lifespan=lifespan,
    )


async def _look(server: Context) -> None:
    """Reload bundles whose files changed, one at a time."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        for name, served in server.bundles.by_name.items():
            try:
                outcome = await asyncio.to_thread(served.reload_if_changed)
            except Exception:
                log.exception("%s: not reloaded", name)
                outcome = "failed"
            if outcome:
                server.metrics.reloads.labels(name, outcome).inc()

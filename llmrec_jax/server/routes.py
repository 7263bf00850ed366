"""The routes of the API: one table, from which the app and /openapi.json are made. Decodes and encodes messages."""

import asyncio
import inspect
import re
import time
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from llmrec_jax.errors import UserError
from llmrec_jax.server import operations
from llmrec_jax.server.context import Context
from llmrec_jax.server.errors import JSON, ApiError
from llmrec_jax.server.limits import Limits, check
from llmrec_jax.server.responses import Shelf

PLACE = re.compile(r"^(.*) - at `(?:key in )?\$\.?(.*)`$", re.DOTALL)  # of an error of msgspec


class Operation(NamedTuple):
    """A route: its function has the types of the request (`asked`; none: no request) and of the response."""

    method: str
    path: str
    run: Callable[..., Any]
    failures: tuple[int, ...] = (400, 422)  # statuses beside those of every route

    @property
    def asked(self) -> type[msgspec.Struct] | None:
        """The type of the request: the body, or for GET the query parameters."""
        return typing.get_type_hints(self.run).get("asked")

    @property
    def result(self) -> type[msgspec.Struct]:
        """The type of the response."""
        return typing.get_type_hints(self.run)["return"]


WITH_BODY = (400, 413, 415, 422)
OPERATIONS = (
    Operation("POST", "/v1/recommend", operations.recommend, WITH_BODY),
    Operation("POST", "/v1/search", operations.search, WITH_BODY),
    Operation("GET", "/v1/similar/{item_id}", operations.similar, (404, 422)),
    Operation("POST", "/v1/explain", operations.explain, (*WITH_BODY, 404)),
    Operation("GET", "/v1/items", operations.list_items, (422,)),
    Operation("POST", "/v1/items", operations.add_items, WITH_BODY),
    Operation("DELETE", "/v1/items", operations.remove_items, WITH_BODY),
    Operation("GET", "/v1/map", operations.catalogue_map, (422,)),
    Operation("POST", "/v1/embed", operations.embed, WITH_BODY),
    Operation("POST", "/v1/embeddings", operations.embed, WITH_BODY),
    Operation("GET", "/v1/info", operations.info, ()),
    Operation("GET", "/healthz", operations.healthz, ()),
    Operation("GET", "/readyz", operations.readyz, ()),
)


def routes(server: Context) -> list[Route]:
    """The routes of Starlette."""
    made = []
    by_path: dict[str, dict[str, Callable[[Request], Any]]] = {}
    for operation in OPERATIONS:
        by_path.setdefault(operation.path, {})[operation.method] = _endpoint(operation, server)
    for path, methods in by_path.items():
        made.append(Route(path.replace("{item_id}", "{item_id:path}"), _by_method(methods), methods=list(methods)))
    return made


def _by_method(methods: dict[str, Callable[[Request], Any]]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return await methods["GET" if request.method == "HEAD" else request.method](request)

    return endpoint


def _endpoint(operation: Operation, server: Context) -> Callable[[Request], Any]:
    kind, has_body = operation.asked, operation.method != "GET"
    decoder = msgspec.json.Decoder(kind) if kind is not None and has_body else None
    is_async = inspect.iscoroutinefunction(operation.run)

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        arguments: list[Any] = [server]
        if decoder is not None:
            arguments.append(_decoded(decoder, await _body(request, server.limits)))
        elif kind is not None:
            arguments.append(_parameters(request, kind))
        for argument in arguments[1:]:
            check(argument, server.limits)
        for name, value in request.path_params.items():
            check(value, server.limits, name, name)
            arguments.append(value)
        try:
            if is_async:
                result = await operation.run(*arguments)
            else:
                loop = asyncio.get_running_loop()
                result = await loop.run_in_executor(server.workers, operation.run, *arguments)
        except UserError as error:
            raise ApiError(422, str(error), _field(str(error), kind)) from error
        if isinstance(result, Shelf):
            result.milliseconds = round(1000 * (time.perf_counter() - started), 3)
        return Response(msgspec.json.encode(result), media_type=JSON)

    return endpoint


async def _body(request: Request, limits: Limits) -> bytes:
    """The body of a request. Raises ApiError if it is over the limit, before reading it if its length is declared, or
    is not declared as JSON: a browser sends no such request for a page of another site.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise ApiError(415, f"send the body as JSON, with the header 'Content-Type: {JSON}'")
    too_large = ApiError(413, f"the body has more than {limits.body_bytes:,} bytes", headers={"Connection": "close"})
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.body_bytes:
                raise too_large
    except ClientDisconnect:
        raise ApiError(400, "the client closed the connection before the end of the body") from None
    return bytes(body)


def _decoded(decoder: "msgspec.json.Decoder[Any]", body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {error}") from error


def _parameters(request: Request, kind: type[msgspec.Struct]) -> Any:
    try:
        return msgspec.convert(dict(request.query_params), kind, strict=False)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error


def _invalid(error: msgspec.ValidationError) -> ApiError:
    message, field = str(error), None
    if found := PLACE.match(message):
        message, field = found[1], found[2] or None
    elif found := re.search(r"field `(.*)`", message):  # missing or unknown, at the top
        field = found[1]
    return ApiError(422, f"{field}: {message}" if field else message, field)


def _field(message: str, kind: type[msgspec.Struct] | None) -> str | None:
    """The field that a message of `Recommender` is about: the first one that it names, else the first of all."""
    if kind is None:
        return None
    names = kind.__struct_fields__
    found = re.search(rf"\b({'|'.join(map(re.escape, names))})\b", message)
    return found[1] if found else names[0]

"""The error of a request, and its response: `{"error": {"message": ..., "field": ...}}`."""

from collections.abc import Mapping

import msgspec
from starlette.exceptions import HTTPException
from starlette.responses import Response

from llmrec_jax.server.responses import Error, Failure

JSON = "application/json"


class ApiError(HTTPException):
    """A request that is refused: status, message, and the field that is wrong."""

    def __init__(self, status: int, message: str, field: str | None = None, headers: Mapping[str, str] | None = None):
        super().__init__(status, message, dict(headers or {}))
        self.field = field


def busy(status: int, message: str) -> ApiError:
    """An error that goes away: the client should try again in a second."""
    return ApiError(status, message, headers={"Retry-After": "1"})


def response(error: HTTPException) -> Response:
    """The response of an error."""
    body = msgspec.json.encode(Failure(Error(error.detail, getattr(error, "field", None))))
    return Response(body, error.status_code, error.headers, JSON)

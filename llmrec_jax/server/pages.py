"""The page and its files, read once at the start: no path of a request reaches the disk, and there are no ranges."""

import hashlib
import mimetypes
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from llmrec_jax.server.errors import ApiError

INDEX = "index.html"
TYPES = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
UNKNOWN = "application/octet-stream"


def routes() -> list[Route]:
    """`GET /` and `GET /static/NAME`."""
    files = {name: _response(name, file) for name, file in _files(resources.files("llmrec_jax.server") / "static", "")}

    async def static(request: Request) -> Response:
        name = request.path_params.get("name", INDEX)
        if name not in files:
            raise ApiError(404, f"there is no file {name!r}" if files else "the page is not installed")
        found = files[name]
        if request.headers.get("if-none-match") == found.headers["etag"]:
            return Response(status_code=304, headers={"etag": found.headers["etag"]})
        return found

    return [Route("/", static, methods=["GET"]), Route("/static/{name:path}", static, methods=["GET"])]


def _files(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found: list[tuple[str, Traversable]] = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.is_dir():
            found += _files(entry, f"{prefix}{entry.name}/")
        elif not entry.name.startswith("."):
            found.append((f"{prefix}{entry.name}", entry))
    return found


def _response(name: str, file: Traversable) -> Response:
    content = file.read_bytes()
    kind = TYPES.get(f".{name.rpartition('.')[2]}") or mimetypes.guess_type(name)[0] or UNKNOWN
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Response(content, headers={"etag": etag, "cache-control": "no-cache"}, media_type=kind)

"""The command `serve`: bundles over HTTP."""

import os
import sys
from collections.abc import Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated

import tyro

from llmrec_jax.cli.printing import clean
from llmrec_jax.errors import UserError

LOCAL = ("localhost", "127.0.0.1", "[::1]")
KEY = "LLMREC_API_KEY"
Paths = tyro.conf.Positional[tuple[str, ...]]


def serve(
    bundles: Annotated[Paths, tyro.conf.arg(metavar="BUNDLE...")],
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: str | None = None,
    without_key: bool = False,
    timeout: float = 30.0,
    concurrency: int = 256,
) -> int:
    """Serve bundles over HTTP: recommendations, search, similar items, and a page. Ctrl-C stops it, after the requests
    in progress. A bundle that changes on disk is loaded again while requests go on.

    Example: llmrec serve runs/my_shop

    Args:
      bundles: Bundles or work folders of runs, each PATH or NAME=PATH; the first is the default.
      host: Address to listen on. One that other machines can reach needs a key.
      port: Port to listen on; 0: any free one.
      api_key: Requests need the header "Authorization: Bearer KEY".
        Prefer the environment variable LLMREC_API_KEY, which other users of the machine cannot see.
      without_key: Serve other machines without a key, such as behind a proxy that checks requests.
      timeout: Seconds after which a request gets status 503.
      concurrency: Requests in progress; further ones get status 429.
    """
    named = names(bundles)
    key = api_key if api_key is not None else os.environ.get(KEY)
    if key is not None and (len(key) < 8 or not key.isascii() or not key.isprintable() or " " in key):
        raise UserError("the key must have at least 8 characters, all of them printable ASCII without spaces")
    if key is None and not is_loopback(host) and not without_key:
        raise UserError(f"--host {host}: other machines can reach this address; set {KEY} or pass --without-key")
    if not (0 < timeout < float("inf") and concurrency > 0):
        raise UserError("--timeout and --concurrency must be above 0, and finite")
    from llmrec_jax.progress import shown
    from llmrec_jax.server import Limits, create_app
    from llmrec_jax.server.listening import bound, run

    with bound(host, port) as listener:
        print(f"loading {', '.join(named)}", file=sys.stderr)
        # A page of another site can make a browser send requests to localhost under its own name.
        hosts = (*LOCAL, f"[{host}]" if ":" in host else host) if key is None and is_loopback(host) else None
        with shown("loading the bundles"):
            app = create_app(named, Limits(timeout=timeout, concurrency=concurrency), key, hosts)
        run(app, listener, timeout, lambda url: print(f"serving at {url}; Ctrl-C stops", file=sys.stderr, flush=True))
    return 0


def names(bundles: Sequence[str]) -> dict[str, Path]:
    """Folders by name. Without one, the name is the folder's, or of the run that a folder `bundle` is in."""
    found: dict[str, Path] = {}
    for text in bundles:
        name, separator, path = text.partition("=")
        if not separator or "/" in name:
            path = text
            folder = Path(path).expanduser().resolve()
            name = (folder.parent.name if folder.name == "bundle" else "") or folder.name
        if not name or clean(name) != name:
            raise UserError(f"{text}: has no name; pass NAME=PATH")
        if name in found:
            raise UserError(f"{text}: two bundles have the name {name!r}; pass NAME=PATH")
        found[name] = Path(path)
    if not found:
        raise UserError("no bundle to serve; pass the folder of at least one")
    return found


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

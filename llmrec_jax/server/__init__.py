"""The HTTP server: Starlette over one or several bundles, with JSON bodies that msgspec checks.

A request passes through `guard` (key, concurrency, timeout, headers, counts), `routes` (decoding, limits), `operations`
(what a route does) and, for recommendations, `batching`. `bundles` holds the recommenders and reloads changed bundles.
"""

from llmrec_jax.server.app import create_app
from llmrec_jax.server.limits import Limits

__all__ = ["Limits", "create_app"]

"""Reading a domain folder: records checked line by line, prepared arrays, splits; the built-in demo shops.

`load_domain` is the entry point. It is imported on first use: inference needs `records` only, and starts faster so.
"""

from typing import Any

__all__ = ["Domain", "load_domain"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from llmrec_jax.data.domains import domain

        return getattr(domain, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

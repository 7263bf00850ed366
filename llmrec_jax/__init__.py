"""Recommenders whose items are text, so that what is learned in one shop carries over to the next."""

from typing import TYPE_CHECKING, Any

from llmrec_jax.version import __version__

if TYPE_CHECKING:
    from llmrec_jax.inference.recommender import Recommender

__all__ = ["Recommender", "__version__"]


def __getattr__(name: str) -> Any:
    # On demand: most of the program needs no inference, and a command's --help should not load JAX.
    if name == "Recommender":
        from llmrec_jax.inference.recommender import Recommender

        return Recommender
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__

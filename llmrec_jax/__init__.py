"""Recommenders that represent items by their text, so that a model trained on one shop can be used in another."""

import importlib
from typing import TYPE_CHECKING, Any

from llmrec_jax.errors import UserError
from llmrec_jax.version import __version__

if TYPE_CHECKING:
    from llmrec_jax import losses, models
    from llmrec_jax.fitting import fit
    from llmrec_jax.inference.recommender import Recommender

__all__ = ["Recommender", "UserError", "__version__", "fit", "losses", "models"]


def __getattr__(name: str) -> Any:
    # Imported on demand, so that --help does not load JAX.
    if name == "Recommender":
        from llmrec_jax.inference.recommender import Recommender

        return Recommender
    if name == "fit":
        from llmrec_jax.fitting import fit

        return fit
    if name in __all__:
        return importlib.import_module(f"llmrec_jax.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

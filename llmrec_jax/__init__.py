"""Recommenders that represent items by their text, so that a model trained on one shop can be used in another."""

import importlib
from typing import TYPE_CHECKING

from llmrec_jax.errors import UserError
from llmrec_jax.version import __version__

__all__ = ["Domain", "Recommender", "UserError", "__version__", "fit", "losses", "models"]

if TYPE_CHECKING:
    from llmrec_jax import losses, models
    from llmrec_jax.data.domains.domain import Domain
    from llmrec_jax.fitting import fit
    from llmrec_jax.inference.recommender import Recommender
else:  # a type checker knows no other names
    HOMES = {
        "Domain": "llmrec_jax.data.domains.domain",
        "Recommender": "llmrec_jax.inference.recommender",
        "fit": "llmrec_jax.fitting",
    }

    def __getattr__(name):
        # Imported on demand, so that --help does not load JAX.
        if name in HOMES:
            return getattr(importlib.import_module(HOMES[name]), name)
        if name in __all__:
            return importlib.import_module(f"llmrec_jax.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

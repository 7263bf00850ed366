"""The recipe `quickstart`, for `python train.py configs/quickstart.py`; see llmrec_jax/recipes/quickstart.py."""

from llmrec_jax.recipes.quickstart import config

__all__ = ["config"]

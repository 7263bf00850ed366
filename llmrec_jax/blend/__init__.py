"""The answer of a run: a weighted sum of named parts, each of which scores all items for a history."""

from llmrec_jax.blend.answer import Blend, Part, model_part
from llmrec_jax.blend.weights import fit_weights

__all__ = ["Blend", "Part", "fit_weights", "model_part"]

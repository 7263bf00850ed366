"""Evaluation: exact ranks over the whole catalogue, the report, the verdict."""

from llmrec_jax.evaluate.own import evaluate
from llmrec_jax.evaluate.tables import print_evaluation

__all__ = ["evaluate", "print_evaluation"]

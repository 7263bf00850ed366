"""Selection without labels of the target: validators, choice among candidates, guard against negative transfer."""

from llmrec_jax.selection.evidence import PROBE_ITEMS, ROWS, Evidence, sample
from llmrec_jax.selection.guard import Comparison, Decision, decide, worst_gain
from llmrec_jax.selection.portfolio import Candidate, Choice, choose, default_validator, judge, regret, spearman
from llmrec_jax.selection.validators import VALIDATORS, Scores, scores

__all__ = [
    "PROBE_ITEMS",
    "ROWS",
    "VALIDATORS",
    "Candidate",
    "Choice",
    "Comparison",
    "Decision",
    "Evidence",
    "Scores",
    "choose",
    "decide",
    "default_validator",
    "judge",
    "regret",
    "sample",
    "scores",
    "spearman",
    "worst_gain",
]

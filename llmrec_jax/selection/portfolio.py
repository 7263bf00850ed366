"""Chooses among candidates by a validator, and evaluates such choices once the test metrics are known.

A candidate is a checkpoint, an interpolation of weights, or the answer without adaptation. `choose` reads no test
metrics; `regret`, `spearman` and `judge` do, after the choice.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats

from llmrec_jax.errors import UserError

# In this order. Leaving a source out measures recommendation itself; of those that need no second source, the nuclear
# norm was the most robust in other fields (arXiv:2510.02956).
DEFAULTS = ("left_out_source", "bnm", "text_agreement", "source_risk")


class Candidate(NamedTuple):
    """One candidate and what the validators give it."""

    name: str
    scores: Mapping[str, float]  # by validator; one that could not be computed is absent


class Choice(NamedTuple):
    """The candidate with the highest score."""

    name: str
    validator: str
    score: float
    without_score: tuple[str, ...]  # candidates that this validator could not judge


def default_validator(candidates: Sequence[Candidate]) -> str:
    """The first of `DEFAULTS` that gives a candidate a score. Raises ValueError if none does."""
    for name in DEFAULTS:
        if any(name in candidate.scores for candidate in candidates):
            return name
    raise UserError(f"no candidate has a score by one of {', '.join(DEFAULTS)}")


def choose(candidates: Sequence[Candidate], validator: str) -> Choice:
    """Choose by one validator. Of equal scores the first wins, so let the candidates begin with no adaptation.

    Raises:
      ValueError: two candidates have the same name, or the validator gives none of them a finite score.

    >>> choose([Candidate("none", {"bnm": 0.2}), Candidate("coral", {"bnm": 0.3}), Candidate("dann", {})], "bnm")
    Choice(name='coral', validator='bnm', score=0.3, without_score=('dann',))
    """
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise UserError(f"candidates of the same name: {', '.join(names)}")
    found = {candidate.name: candidate.scores[validator] for candidate in candidates
             if np.isfinite(candidate.scores.get(validator, np.nan))}  # fmt: skip
    if not found:
        known = sorted({name for candidate in candidates for name in candidate.scores})
        raise UserError(f"the validator {validator!r} gives no candidate a score; there are scores by "
                        f"{', '.join(known) or 'none'}")  # fmt: skip
    best = max(found, key=found.__getitem__)
    return Choice(best, validator, found[best], tuple(name for name in names if name not in found))


def regret(chosen: str, test: Mapping[str, float]) -> float:
    """The best test figure of the candidates less that of the chosen one, at least 0.

    >>> regret("coral", {"none": 0.5, "coral": 0.25})
    0.25
    """
    return float(max(test.values()) - test[chosen])


def spearman(validator_scores: Mapping[str, float], test: Mapping[str, float]) -> float | None:
    """Rank correlation over the candidates that have both; None if it is not defined (fewer than 3, or all equal).

    >>> spearman({"a": 1.0, "b": 2.0, "c": 3.0}, {"a": 0.3, "b": 0.1, "c": 0.2})
    -0.5
    """
    both = [name for name in validator_scores if name in test]
    scores, figures = [validator_scores[name] for name in both], [test[name] for name in both]
    if len(both) < 3 or len(set(scores)) == 1 or len(set(figures)) == 1:
        return None
    return round(float(scipy.stats.spearmanr(scores, figures).statistic), 12)


def judge(candidates: Sequence[Candidate], test: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """What each validator would have chosen, and how good that was.

    Args:
      candidates: as given to `choose`; the first is the one without adaptation.
      test: the test figure (NDCG@10) of every candidate.

    Returns:
      By validator: `chosen`, `regret`, `spearman` (None if undefined), and `worse_than_first`, whether the choice is
      worse than no adaptation.
    """
    judged = {}
    for validator in dict.fromkeys(name for candidate in candidates for name in candidate.scores):
        chosen = choose(candidates, validator).name
        scores = {candidate.name: candidate.scores[validator] for candidate in candidates
                  if validator in candidate.scores}  # fmt: skip
        judged[validator] = {
            "chosen": chosen,
            "regret": regret(chosen, test),
            "spearman": spearman(scores, test),
            "worse_than_first": bool(test[chosen] < test[candidates[0].name]),
        }
    return judged

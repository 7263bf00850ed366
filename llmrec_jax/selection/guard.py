"""The guard against negative transfer: the choice of an arm by paired bootstrap, on evidence without test events.

An arm is an answer to choose from. The arms are ordered, the simplest first: the answer without a model, with the model
trained on the sources only, with the adapted model; a model trained on the target alone comes last. The first is kept
unless the next one is significantly better, on every set of evidence; then that one is kept, and so on. So every arm
that is chosen is significantly better than the simpler one that it replaces, and noise replaces the first in at most
2.5 % of the cases, for any number of arms (nominally; 1.6 to 3.0 % in simulations with three arms that find few items).

The chosen arm need not be the best: `shortfall` bounds how much better another one may be.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.verdict import CUTOFF, FEWEST_USERS, paired_bootstrap

ERROR = 0.05  # two-sided, divided by the number of comparisons (Bonferroni)

Sets = Mapping[str, Mapping[str, np.ndarray]]  # set of users -> arm -> NDCG@10 of each user


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An arm against another one, on the set of evidence where it does worst."""

    arm: str
    against: str
    evidence: str  # name of the set with the lowest lower bound
    users: int
    differing: int  # users whose NDCG@10 is not the same
    ndcg: float
    against_ndcg: float
    interval: tuple[float, float]  # of the difference of the means

    @property
    def difference(self) -> float:
        """Difference of the means."""
        return self.ndcg - self.against_ndcg

    @property
    def is_better(self) -> bool:
        """Whether the arm is significantly better; a bootstrap over fewer differing users is unreliable."""
        return self.differing >= FEWEST_USERS and self.interval[0] > 0


@dataclasses.dataclass(frozen=True)
class Decision:
    """The chosen arm, and why. `dataclasses.asdict` gives the numbers for a report."""

    arm: str
    default: str
    confidence: float  # of the intervals
    comparisons: tuple[Comparison, ...]  # of every other arm with the default, in the order given
    tests: tuple[Comparison, ...]  # of every other arm with the arm that was kept before it; these decide
    unguarded: str  # the arm that would be chosen without the guard
    without_guard: Comparison | None  # of that arm with the chosen one; None if they are the same
    shortfall: float  # upper bound of what another arm gains over the chosen one on any set; at least 0
    text: str  # for the report


def decide(evidence: Sets, *, unguarded: str | None = None, tried: int = 0) -> Decision:
    """Choose an arm.

    Args:
      evidence: for each set of users (a left-out source, or the kept users of the target), for each arm the NDCG@10 of
        each user on the validation event, float [N], in the same order of users. The arms of the first set are in
        order, the default first. All sets have the same arms.
      unguarded: the arm that would be chosen without a guard; None: the one with the highest mean over the sets.
      tried: how many candidates the arms were chosen from by their NDCG@10 on these users. The best of many looks
        better than it is, so that the intervals become wider (Bonferroni).

    Raises:
      ValueError: no set, sets with different arms, users that differ between arms, or NaN.
    """
    arms = _arms(evidence)
    default, others = arms[0], arms[1:]
    confidence = 1 - ERROR / max(1, len(others), tried)
    mean = {arm: float(np.mean([ndcg[arm].mean() for ndcg in evidence.values()])) for arm in arms}

    @functools.cache
    def on_sets(arm: str, against: str) -> list[Comparison]:
        return [_compare(name, ndcg, arm, against, confidence) for name, ndcg in evidence.items()]

    comparisons = tuple(_worst(on_sets(arm, default)) for arm in others)
    chosen, tests = default, []
    for arm in others:
        tests.append(_worst(on_sets(arm, chosen)))
        chosen = arm if tests[-1].is_better else chosen
    unguarded = max(arms, key=mean.__getitem__) if unguarded is None else unguarded
    if unguarded not in arms:
        raise UserError(f"unguarded={unguarded!r} is not one of the arms {', '.join(arms)}")
    lost = None if unguarded == chosen else _worst(on_sets(unguarded, chosen))
    gains = [comparison.interval[1] for arm in arms if arm != chosen for comparison in on_sets(arm, chosen)]
    text = _text(chosen, tests, unguarded, lost, confidence, len(evidence))
    return Decision(chosen, default, confidence, comparisons, tuple(tests), unguarded, lost, max([0.0, *gains]), text)


def _arms(evidence: Sets) -> list[str]:
    """The arms, checked. The default is the first."""
    if not evidence or not all(evidence.values()):
        raise UserError("the guard needs evidence: at least one set of users, with at least one arm")
    arms = list(next(iter(evidence.values())))
    for name, ndcg in evidence.items():
        if set(ndcg) != set(arms):
            raise UserError(f"{name} has the arms {', '.join(ndcg)}; expected {', '.join(arms)}")
        shapes = {array.shape for array in ndcg.values()}
        if len(shapes) > 1 or len(shape := shapes.pop()) != 1 or not shape[0]:
            raise UserError(f"{name}: every arm needs the NDCG@{CUTOFF} of the same users, at least one")
        if damaged := [arm for arm, ndcg_N in ndcg.items() if not np.isfinite(ndcg_N).all()]:
            raise UserError(f"{name}: NaN or infinite NDCG@{CUTOFF} of {', '.join(damaged)}")
    return arms


def _compare(name: str, ndcg: Mapping[str, np.ndarray], arm: str, against: str, confidence: float) -> Comparison:
    """Two arms on one set."""
    difference_N = ndcg[arm] - ndcg[against]
    means = float(ndcg[arm].mean()), float(ndcg[against].mean())
    interval = paired_bootstrap(difference_N, confidence=confidence)
    return Comparison(arm, against, name, len(difference_N), int(np.count_nonzero(difference_N)), *means, interval)


def worst_gain(evidence: Sets, arm: str, against: str, confidence: float) -> Comparison:
    """The comparison of two arms on the set where the first does worst. See `decide` for the sets."""
    return _worst([_compare(name, ndcg, arm, against, confidence) for name, ndcg in evidence.items()])


def _worst(comparisons: Sequence[Comparison]) -> Comparison:
    """The one with the lowest lower bound; one with too few differing users comes before all others."""
    return min(comparisons, key=lambda comparison: (comparison.differing >= FEWEST_USERS, comparison.interval[0]))


def _text(
    chosen: str, tests: Sequence[Comparison], unguarded: str, lost: Comparison | None, confidence: float,
    num_sets: int,
) -> str:  # fmt: skip
    """The chosen arm, the evidence, and what the guard changed."""
    by_arm = {test.arm: test for test in tests}
    if not by_arm:
        return f"{chosen} is kept: there is no other arm"
    is_kept = chosen not in by_arm
    nearest = max(tests, key=lambda test: test.interval[0])
    shown = by_arm.get(unguarded, nearest) if is_kept else by_arm[chosen]
    why = "is kept: no other arm is significantly better" if is_kept else f"is chosen over {shown.against}"
    text = f"{chosen} {why}: {_figures(shown, confidence, num_sets)}. Without the guard, {unguarded} would be chosen"
    if lost is None:
        return f"{text}, too"
    return text if is_kept else f"{text}: {_figures(lost, confidence, num_sets)}"


def _figures(comparison: Comparison, confidence: float, num_sets: int) -> str:
    worst = f", the worst of {num_sets} sets" if num_sets > 1 else ""
    low, high = comparison.interval
    few = "" if comparison.differing >= FEWEST_USERS else ", too few for a conclusion"
    return (
        f"NDCG@{CUTOFF} {comparison.arm} {comparison.ndcg:.4f}, {comparison.against} {comparison.against_ndcg:.4f} on "
        f"{comparison.evidence}{worst}: difference {comparison.difference:+.4f}, {confidence:.1%} interval {low:+.4f} "
        f"to {high:+.4f} (paired bootstrap over {comparison.users:,} users, {comparison.differing:,} of them with a "
        f"difference{few})"
    )

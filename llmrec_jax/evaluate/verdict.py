"""Compares a method with the best baseline: the difference, its confidence interval and a conclusion in words."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

RESAMPLES = 10_000
FEWEST_USERS = 20  # with fewer, a bootstrap is unreliable
CUTOFF = 10
COUNTS = 2**22  # of resamples in memory at a time


class Verdict(NamedTuple):
    """The conclusion as a sentence, and its numbers."""

    text: str
    numbers: dict[str, Any]  # {"decision": "better", "level", "below", "too few users" or "no baseline", ...}


def verdict(
    ranks: Mapping[str, np.ndarray], domain: str, *, method: str = "model", sees_more: Mapping[str, str] | None = None
) -> Verdict:
    """Compare a method with the baseline of the highest NDCG@10 that sees no more data than it.

    Without such a baseline, compare with one that sees more. The text gives the best of these if it is higher.

    Args:
      ranks: for each method, the rank of each user's test item, float64 [N], in the same order of users.
      domain: name of the target.
      method: the one to compare with the others, which are the baselines.
      sees_more: for each method that sees data that `method` does not, a description of that data.
    """
    others = {name: ndcg(rank_N) for name, rank_N in ranks.items() if name != method}
    if not others:
        text = f"{domain}: no baseline could be computed, so the {method} cannot be judged"
        return Verdict(text, {"decision": "no baseline"})
    seeing = sees_more or {}

    def best_of(names: Collection[str]) -> str:
        return max(names, key=lambda name: others[name].mean())

    best = best_of([name for name in others if name not in seeing] or others)
    method_N, best_N = ndcg(ranks[method]), others[best]
    difference, (low, high) = method_N.mean() - best_N.mean(), paired_bootstrap(method_N - best_N)
    if len(method_N) < FEWEST_USERS:
        decision, meaning = "too few users", f"{len(method_N)} users are too few for a conclusion"
    elif low > 0:
        same = " that sees the same data" if best not in seeing and any(name in seeing for name in others) else ""
        decision, meaning = "better", f"the {method} is better than every baseline{same}"
    elif high < 0:
        decision, meaning = "below", f"the {method} is below a baseline: do not ship this"
    else:
        decision, meaning = "level", f"no significant difference between the {method} and the best baseline"
    note = f" (which sees {seeing[best]})" if best in seeing else ""
    text = (
        f"{domain}: {meaning}. NDCG@{CUTOFF} {method_N.mean():.4f}, {best}{note} {best_N.mean():.4f}: difference "
        f"{difference:+.4f}, 95 % interval {low:+.4f} to {high:+.4f} (paired bootstrap over {len(method_N):,} users)"
    )
    if best not in seeing and (more := [name for name in others if name in seeing]):
        top = best_of(more)
        if others[top].mean() > method_N.mean():
            text += f"; {top}, which sees {seeing[top]}, reaches {others[top].mean():.4f}"
    numbers = {
        "decision": decision,
        "method": method,
        "baseline": best,
        "domain": domain,
        "split": "test",
        "metric": f"ndcg@{CUTOFF}",
        "users": len(method_N),
        "difference": float(difference),
        "interval_95": [low, high],
        "resamples": RESAMPLES,
    }
    return Verdict(text, numbers)


def ndcg(rank_N: np.ndarray) -> np.ndarray:
    """NDCG@10 of each user with one relevant item at `rank_N`."""
    return np.where(rank_N <= CUTOFF, 1.0 / np.log2(1.0 + rank_N), 0.0)


def paired_bootstrap(
    difference_N: np.ndarray, seed: int = 0, confidence: float = 0.95, resamples: int | None = None
) -> tuple[float, float]:
    """Bootstrap percentile interval of the mean, resampling users `resamples` times (None: `RESAMPLES`).

    The differences have few distinct values. Their counts in a resample are multinomially distributed, so drawing the
    counts is equivalent to drawing users, but much cheaper.
    """
    values, counts = np.unique(difference_N, return_counts=True)
    size = len(difference_N)
    rng, shares, total = np.random.default_rng(seed), counts / size, resamples or RESAMPLES
    at_once = max(1, COUNTS // len(values))  # drawn in parts, the numbers are the same
    parts = [min(at_once, total - start) for start in range(0, total, at_once)]
    mean_M = np.concatenate([rng.multinomial(size, shares, part) @ values for part in parts]) / size
    tail = (1 - confidence) / 2
    low, high = np.quantile(mean_M, [tail, 1 - tail])
    return float(low), float(high)

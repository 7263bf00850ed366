"""Measures the effect of the adaptation in a run: metrics during the training, a summary at its end.

`observe` gives the proxy A-distance of item vectors, from a small classifier that is fitted on one half of the items
and evaluated on the other. `summary` reads `metrics.jsonl`. `selection` chooses between adaptations.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec_jax.config import AdaptConfig
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.losses.objective import method_of
from llmrec_jax.selection import sample
from llmrec_jax.selection.distances import negative_a_distance

ITEMS = 500  # of each side
A_DISTANCE = "a_distance/item"  # in metrics.jsonl
SHARE = "gradient_share/adapt"  # in metrics.jsonl: of the adaptation's gradient, relative to the ranking loss's
FAINT = 0.01  # a smaller share is as good as none


def observe(corpus: Corpus, vectors: Callable[[np.ndarray], np.ndarray], width: int) -> dict[str, float]:
    """The proxy A-distance between items of the sources that are trained on and of the target, in [0, 2].

    Args:
      corpus: of the run.
      vectors: item numbers of the joint catalogue -> vectors as they are scored.
      width: of the vectors without the item bias.
    """
    starts, target = corpus.joint.starts, corpus.target
    sources = [domain for domain in range(target) if domain != corpus.protocol.left_out]
    source_I = np.concatenate([np.arange(starts[domain], starts[domain + 1]) for domain in sources])
    target_I = np.arange(starts[target], starts[target + 1])
    if min(len(source_I), len(target_I)) < 2:
        return {}
    sides = [side_I[sample(len(side_I), ITEMS)].astype(np.int32) for side_I in (source_I, target_I)]
    both_ND = vectors(np.concatenate(sides))[:, :width]
    if not np.isfinite(both_ND).all():  # the run has diverged, which its loss or the next validation reports
        return {}
    return {A_DISTANCE: -negative_a_distance(both_ND[: len(sides[0])], both_ND[len(sides[0]) :])}


@dataclasses.dataclass(frozen=True)
class Summary:
    """The measured effect of an adaptation."""

    facts: dict[str, Any]  # for `report.json`
    text: str  # one sentence


def summary(workdir: Path, adapt: AdaptConfig) -> Summary | None:
    """The effect of the adaptation in a finished run, from its `metrics.jsonl`; None without adaptation."""
    if adapt.method == "none":
        return None
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    trained = [f"loss/{name}/" for name, (_, scale) in method_of(adapt).terms.items() if scale]
    losses = {name: _values(lines, name) for name in lines[-1] if name.startswith(tuple(trained))}
    ranking = [sum(line[name] for name in line if name.startswith("loss/ranking/")) for line in lines]
    distances, shares = _values(lines, A_DISTANCE), _values(lines, SHARE)
    facts: dict[str, Any] = {
        "method": adapt.method,
        "level": adapt.level,
        "weight": adapt.weight,
        "balance": adapt.balance,
        "a_distance_items": {"start": distances[0], "end": distances[-1]} if distances else None,
        "losses": {name.removeprefix("loss/"): {"start": x[0], "end": x[-1]} for name, x in losses.items()},
        "gradient_share": float(np.median(shares)) if shares else None,
    }
    text = f"adaptation {adapt.method}"
    if not distances and not shares:
        text += ": its effect was not measured, because train.eval_every is 0"
    if distances:
        text += f": A-distance of the items {distances[0]:.2f} at the start, {distances[-1]:.2f} at the end"
    facts["is_faint"] = bool(shares) and facts["gradient_share"] < FAINT and method_of(adapt).weights is None
    if facts["is_faint"]:
        size = adapt.weight * sum(float(np.median(np.abs(values))) for values in losses.values())
        text += (
            f". It changed next to nothing: the term was {size:.1g} and the ranking loss {np.median(ranking):.2g}, "
            f"its gradient {_percent(facts['gradient_share'])} of the ranking loss's. Raise adapt.weight"
            f"{', or set adapt.balance=gradient' if adapt.balance == 'loss' else ''}"
        )
    elif shares:
        text += f"; its gradient was {_percent(facts['gradient_share'])} of the ranking loss's (median)"
    return Summary(facts | {"verdict": text}, text)


def _values(lines: Sequence[dict[str, Any]], name: str) -> list[float]:
    return [line[name] for line in lines if line.get(name) is not None]


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"

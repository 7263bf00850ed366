"""Draws the results of an adaptation: the items of both sides, the training, the validators, the candidates and arms.

Of one `llmrec adapt` folder, or of the metrics of runs. `adaptation_facts` reads the numbers that are drawn here.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate import adaptation_facts as facts
from llmrec_jax.evaluate.adaptation_facts import Gain, Vectors

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SOURCE, TARGET = COLOURS[:2]
NONE = "none"  # the candidate without adaptation
# Curves of the training: the fields of metrics.jsonl whose names begin so, and the label of the axis with its unit.
CURVES = {
    "loss/ranking/": "ranking loss (nats)",
    "loss/adapt/": "adaptation loss (unweighted)",
    "a_distance/": "A-distance of items (0 to 2)",
    "loss/domain_accuracy/": "discriminator's accuracy (0.5: guessing)",
    "gradient_share/adapt": "gradient norm / that of the ranking loss",
}
LIMITS = {"a_distance/": (0, 2), "loss/domain_accuracy/": (0, 1)}  # of the axes
FEW = 10  # points of a line that has markers


def adapted(workdir: Path, candidate: str | None = None) -> dict[str, Callable[["Figure"], None]]:
    """The pictures of an `llmrec adapt` folder, by name; those whose numbers it lacks are left out.

    Args:
      workdir: with `choice.json`.
      candidate: whose items are shown beside those of `none`; None: the chosen one, or the first with an adaptation.

    Raises:
      ValueError: there is no such candidate, or nothing to draw.
    """
    choice = facts.read(workdir / "choice.json")
    revealed = facts.read(workdir / "revealed.json") if (workdir / "revealed.json").exists() else None
    names = [found["name"] for found in choice["candidates"]]
    if candidate is not None and candidate not in names:
        raise UserError(f"{workdir} has no candidate {candidate!r}; it has {', '.join(names)}")
    others = [name for name in (choice["chosen"], *names) if name != NONE]
    after = candidate or next(iter(others), NONE)
    drawn: dict[str, Callable[[Figure], None]] = {}
    vectors = [found for name in dict.fromkeys((NONE, after)) if (found := facts.vectors(workdir, name, choice))]
    if vectors:
        drawn["domains"] = lambda figure: draw_domains(figure, vectors)
    runs = {name: facts.folder_of(workdir, name) / "metrics.jsonl" for name in names}
    if curves := facts.curves({name: path for name, path in runs.items() if path.exists()}, tuple(CURVES)):
        drawn["adaptation"] = lambda figure: draw_curves(figure, curves)
    if revealed is not None:
        drawn["validators"] = lambda figure: draw_validators(figure, revealed)
    gains, on_test = facts.gains(choice), facts.gains_on_test(revealed)
    if gains or on_test:
        drawn["portfolio"] = lambda figure: draw_portfolio(figure, gains, on_test, choice["arm"])
    if not drawn:
        raise UserError(f"{workdir} has nothing to draw: no selection.npz, metrics.jsonl, evidence or revealed.json")
    return drawn


def trained(workdirs: Sequence[Path]) -> dict[str, Callable[["Figure"], None]]:
    """The picture of the adaptation losses of finished runs; empty if none has one."""
    curves = facts.curves({workdir.name: workdir / "metrics.jsonl" for workdir in workdirs}, tuple(CURVES))
    return {"adaptation": lambda figure: draw_curves(figure, curves)} if "loss/adapt/" in curves else {}


def draw_domains(figure: "Figure", vectors: Sequence[Vectors]) -> None:
    """The items of both sides on the first two principal components, a panel a candidate."""
    figure.suptitle("Item vectors of the sources and the target, each panel on its own principal components", x=0.01,
                    ha="left", fontsize=11)  # fmt: skip
    for axes, found in zip(figure.subplots(1, len(vectors), squeeze=False)[0], vectors, strict=True):
        for points_N2, colour, marker, label in (
            (found.source_N2, SOURCE, "o", "source"), (found.target_N2, TARGET, "^", "target")
        ):  # fmt: skip
            axes.scatter(*points_N2.T, s=14, c=colour, marker=marker, alpha=0.5, linewidths=0, label=label)
        distance = "" if found.a_distance is None else f": A-distance {found.a_distance:.2f}"
        axes.set_title(f"{found.name}{distance}", loc="left", fontsize=10)
        axes.set_xlabel(f"component 1 ({found.variance[0]:.0%} of the variance)")
        axes.set_ylabel(f"component 2 ({found.variance[1]:.0%})")
        axes.set_aspect("equal", adjustable="datalim")
        axes.spines[["top", "right"]].set_visible(False)
    _legend(figure)


def draw_curves(figure: "Figure", curves: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """A panel a quantity, a line a run; `curves` are [N, 2] steps and values by the prefix in `CURVES` and run."""
    figure.suptitle("Training with adaptation, moving average over steps", x=0.01, ha="left", fontsize=11)
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure.set_size_inches(3.6 * columns + 1.6, 3.2 * rows)
    colours = _colours(list(dict.fromkeys(run for lines in curves.values() for run in lines)))
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (prefix, lines) in zip(panels, curves.items(), strict=False):
        for run, points_N2 in lines.items():
            marker = "o" if len(points_N2) <= FEW else None
            axes.plot(*points_N2.T, label=run, linewidth=1.4, marker=marker, markersize=3, **colours[run])
        axes.set_xlabel("step")
        if prefix in LIMITS:
            axes.set_ylim(*LIMITS[prefix])
        axes.set_ylabel(CURVES[prefix], fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(curves) :]:
        axes.remove()
    _legend(figure)


def draw_validators(figure: "Figure", revealed: Mapping[str, Any]) -> None:
    """A panel a validator: its score of each candidate against the NDCG@10 of the candidate's model on test."""
    candidates, chosen = revealed["candidates"], revealed["chosen"]
    truth = {found["name"]: found["test"]["ndcg@10"] for found in candidates}
    scores = {validator: {found["name"]: found["scores"][validator] for found in candidates
                          if validator in found["scores"]} for validator in revealed["spearman"]}  # fmt: skip
    colours = _colours(list(truth))
    columns = min(4, len(scores))
    rows = -(-len(scores) // columns)
    figure.set_size_inches(2.7 * columns + 2, 2.5 * rows + 0.5)
    figure.suptitle(f"Candidates: validator score against test NDCG@10; star: {chosen}, chosen by "
                    f"{revealed['validator']}", x=0.01, ha="left", fontsize=11)  # fmt: skip
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for axes, (validator, found) in zip(panels, scores.items(), strict=False):
        for name, score in found.items():
            colour, marker = colours[name]["color"], "*" if name == chosen else "o"
            axes.scatter(score, truth[name], s=80 if name == chosen else 24, c=colour, marker=marker, label=name)
        rank = revealed["spearman"][validator]
        axes.set_title(f"{validator}: Spearman {'undefined' if rank is None else f'{rank:+.2f}'}", loc="left",
                       fontsize=8.5)  # fmt: skip
        axes.tick_params(labelsize=7)
        axes.locator_params(nbins=4)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(scores) :]:
        axes.remove()
    _legend(figure)
    figure.supxlabel("score of the validator (higher is better)", fontsize=9)
    figure.supylabel("NDCG@10 of the model on test", fontsize=9)


def draw_portfolio(figure: "Figure", gains: Sequence[Gain], on_test: Sequence[Gain], arm: str) -> None:
    """The gain of each candidate over the answer without a model, as the guard saw it and, if revealed, on test."""
    names = list(dict.fromkeys(gain.name for gain in (*gains, *on_test)))
    figure.set_size_inches(7.5, 0.45 * len(names) + 1.6)
    axes = figure.subplots()
    both = [(gains, SOURCE, "o", "as the guard saw it"), (on_test, TARGET, "s", "test")]
    shown = [row for row in both if row[0]]
    for number, (found, colour, marker, label) in enumerate(shown):
        place = [names.index(gain.name) + 0.2 * (number - (len(shown) - 1) / 2) for gain in found]
        means = np.array([gain.mean for gain in found])
        low, high = np.array([gain.interval for gain in found]).T
        errors = np.maximum(0, [means - low, high - means])
        axes.errorbar(means, place, xerr=errors, fmt=marker, color=colour, capsize=3, markersize=5, label=label)
    axes.axvline(0, color="0.4", linewidth=0.8)
    axes.set_yticks(range(len(names)), [f"{name} (chosen)" if name == arm else name for name in names], fontsize=9)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("gain in NDCG@10 over text, the answer without a model; bars: bootstrap intervals", fontsize=9)
    axes.set_title(f"Gain of each candidate; the guard chose {arm}", loc="left", fontsize=11)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower right", ncols=2, frameon=False, fontsize=8)


def _legend(figure: "Figure") -> None:
    """One legend for all panels, beside them."""
    handles: dict[str, Artist] = {}
    for axes in figure.axes:
        handles |= {name: handle for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(list(handles.values()), list(handles), loc="outside right upper", frameon=False, fontsize=8)


def _colours(runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """A style a run, black for `none`."""
    others = [run for run in runs if run != NONE]
    styles = {run: {"color": COLOURS[number % len(COLOURS)], "linestyle": ("-", "--", ":")[number // len(COLOURS) % 3]}
              for number, run in enumerate(others)}  # fmt: skip
    return {run: styles.get(run, {"color": "#000000", "linestyle": "-"}) for run in runs}

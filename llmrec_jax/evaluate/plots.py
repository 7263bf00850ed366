"""Draws finished runs: curves of the training, NDCG@10 by slice of users, NDCG@10 against the share of target users.
Adaptations are drawn by `adaptation_plots`.

Reads the files of the runs; does not evaluate again. Needs matplotlib (`pip install 'llmrec_jax[plots]'`).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate import adaptation_plots
from llmrec_jax.evaluate.comparison import read_run
from llmrec_jax.evaluate.slices import slices
from llmrec_jax.evaluate.smoothing import smooth
from llmrec_jax.evaluate.verdict import ndcg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
VALID = "valid/ndcg@10"  # in metrics.jsonl


def plot(
    workdirs: Sequence[Path], methods: Sequence[str], folder: Path, suffix: str = "png", candidate: str | None = None
) -> list[Path]:
    """Draw the runs, or one adaptation.

    Args:
      workdirs: of finished runs; or one of `llmrec adapt`.
      methods: names in the reports; those that a run lacks are left out of its picture.
      folder: for the pictures; existing ones are replaced.
      suffix: their format, such as png, svg or pdf.
      candidate: of an adaptation, see `adaptation_plots.adapted`.

    Returns:
      The files. Of runs: `curves`; `adaptation`, if one has an adaptation loss; `slices` of the first run; `share`, if
      the runs differ in `data.target_fraction`. Of an adaptation: see `adaptation_plots.adapted`.

    Raises:
      ValueError: a folder holds no finished run or adaptation, no run has one of the methods, there is nothing to draw,
        or matplotlib is missing.
    """
    adaptations = [workdir for workdir in workdirs if (workdir / "choice.json").exists()]
    if adaptations and len(workdirs) > 1:
        raise UserError(f"{adaptations[0]} is a folder of llmrec adapt: draw it alone")
    if adaptations:
        return _save(adaptation_plots.adapted(adaptations[0], candidate), folder, suffix)
    if candidate is not None:
        raise UserError(f"--candidate {candidate}: {workdirs[0]} holds no choice.json of llmrec adapt")
    runs = [read_run(workdir) for workdir in workdirs]
    known = [method for method in methods if any(method in run["arrays"] for run in runs)]
    if not known:
        raise UserError(f"no run has a method of {', '.join(methods)}")
    drawn: dict[str, Callable[[Figure], None]] = {
        "curves": lambda figure: _curves(figure, runs),
        **adaptation_plots.trained(workdirs),
        "slices": lambda figure: _slices(figure, runs[0], known),
    }
    if len({_share(run) for run in runs}) > 1:
        drawn["share"] = lambda figure: _shares(figure, runs, known)
    return _save(drawn, folder, suffix)


def _save(drawn: Mapping[str, Callable[["Figure"], None]], folder: Path, suffix: str) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, draw in drawn.items():
        figure = _figure()
        draw(figure)
        paths.append(folder / f"{name}.{suffix}")
        figure.savefig(paths[-1])
    return paths


def _figure() -> "Figure":
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("pictures need matplotlib: pip install 'llmrec_jax[plots]'") from error
    return Figure(figsize=(9, 3.6), dpi=150, layout="constrained")


def _axes(axes: "Axes", title: str, x: str) -> "Axes":
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel(x)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    return axes


def _curves(figure: "Figure", runs: Sequence[Mapping[str, Any]]) -> None:
    """The loss and, if a run validated, the score of the model."""
    lines = [[json.loads(line) for line in (run["workdir"] / "metrics.jsonl").read_text().splitlines()] for run in runs]
    validated = [[line for line in of_run if VALID in line] for of_run in lines]
    axes = figure.subplots(1, 2 if any(validated) else 1, squeeze=False)[0]
    for number, run in enumerate(runs):
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "label": run["workdir"].name}
        axes[0].plot(*smooth(np.array([(line["step"], line["loss"]) for line in lines[number]])).T, **style)
        if validated[number]:
            steps, scores = zip(*((line["step"], line[VALID]) for line in validated[number]), strict=True)
            axes[1].plot(steps, scores, marker="o", markersize=3, **style)
    _axes(axes[0], "loss, moving average", "step").legend(frameon=False, fontsize=8)
    for right in axes[1:]:
        _axes(right, "NDCG@10 of the model on validation events", "step")


def _slices(figure: "Figure", run: Mapping[str, Any], methods: Sequence[str]) -> None:
    known = [method for method in methods if method in run["arrays"]]
    found = slices(run["arrays"], {method: ndcg(run["arrays"][method]) for method in known})
    for axes, part in zip(figure.subplots(1, len(found), sharey=True), found, strict=True):
        place_N = np.arange(len(part["rows"]))
        for number, method in enumerate(known):
            heights = [row["ndcg@10"][method] for row in part["rows"]]
            width = 0.8 / len(known)
            left_N = place_N + (number - (len(known) - 1) / 2) * width
            axes.bar(left_N, heights, width, color=COLOURS[number % len(COLOURS)], label=method)
        labels = [f"{row['values']}\n{row['users']:,} users" for row in part["rows"]]
        axes.set_xticks(place_N, labels, fontsize=8)
        _axes(axes, f"NDCG@10 on test, {run['workdir'].name}", part["by"])
    figure.axes[0].legend(frameon=False, fontsize=8)


def _shares(figure: "Figure", runs: Sequence[Mapping[str, Any]], methods: Sequence[str]) -> None:
    """Means over the runs of a share, with the 95 % interval of the mean over the users."""
    axes = figure.subplots()
    for number, method in enumerate(methods):
        having = [run for run in runs if method in run["arrays"]]
        shares = sorted({_share(run) for run in having})
        ndcgs = [np.mean([ndcg(run["arrays"][method]) for run in having if _share(run) == one], axis=0)
                 for one in shares]  # fmt: skip
        means = [ndcg_N.mean() for ndcg_N in ndcgs]
        errors = [1.96 * ndcg_N.std() / np.sqrt(len(ndcg_N)) for ndcg_N in ndcgs]
        style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "label": method}
        axes.errorbar([100 * share for share in shares], means, errors, marker="o", capsize=3, **style)
    axes.set_xscale("symlog", linthresh=1)
    ticks = sorted({100 * _share(run) for run in runs})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    _axes(axes, "NDCG@10 on test, 95 % interval over users", "users of the target that are trained on, %")
    axes.legend(frameon=False, fontsize=8)


def _share(run: Mapping[str, Any]) -> float:
    return float(run["config"]["data"]["target_fraction"])

"""Sections on the training: curves, throughput, the time that each phase took."""

from typing import Any

import numpy as np

from llmrec_jax.evaluate.smoothing import SMOOTHING, smooth
from llmrec_jax.html.charts import COLOURS, Line, legend, lines, shares
from llmrec_jax.html.elements import Html, duration, join, note, percent, sentence, spaced, table, tag, tiles
from llmrec_jax.html.files import Missing, Run

VALID = {"valid/ndcg@10": "NDCG@10 of the model on validation", "valid/log_likelihood": "log-likelihood on validation"}
SINGLE = {"grad_norm": "gradient norm, before clipping", "learning_rate": "learning rate"}
# Captions of charts with all fields whose names begin so; others are named by the fields.
FAMILIES = {
    "loss/": "other terms of the loss, unweighted",
    "loss/ranking/": "ranking loss",
    "loss/adapt/": "adaptation loss, unweighted",
    "loss/domain_accuracy/": "accuracy of the domain classifier (0.5: guessing)",
    "a_distance/": "A-distance of the items (0: alike, 2: separable)",
    "gradient_share/": "gradient norm of the adaptation / of the ranking loss",
    "conflict/": "cosine of the gradients of a task and the ranking loss",
}
NOT_DRAWN = ("valid/",)


def curves(run: Run) -> Html:
    """Everything of `metrics.jsonl` but the timing."""
    metrics = run.metrics
    names = list(dict.fromkeys(name for line in metrics for name in line))
    selected = run.report.get("selection", {}).get("step")
    marks = [] if selected is None else [(float(selected), f"selected: step {selected}")]
    drawn = [_single(metrics, "loss", "loss")]
    drawn += [_single(metrics, name, said, marks) for name, said in VALID.items() if name in names]
    families = dict.fromkeys(name[: name.rindex("/") + 1] for name in names if "/" in name)
    drawn += [_family(metrics, names, prefix) for prefix in families if prefix not in NOT_DRAWN]
    drawn += [_single(metrics, name, said) for name, said in SINGLE.items() if name in names]
    found = [tag("div", *(chart for chart in drawn if chart), class_="charts")]
    if adapted := run.report.get("adaptation"):
        found.append(note(sentence(adapted["verdict"])))
    said = f" Step {selected:,} is exported, selected by {_how(run)}." if selected is not None else ""
    found.append(note(f"{metrics[-1]['step']:,} steps. Thin lines: every step; lines: moving average.{said}"))
    return join(found)


def throughput(run: Run) -> Html:
    """Examples and tokens per second, and where the time went."""
    metrics = run.metrics
    if "seconds" not in metrics[0]:
        raise Missing("metrics.jsonl has no times")
    steady = metrics[1:] or metrics  # the first step includes the compilation
    facts: list[tuple[str, Any, Any]] = []
    rates = {"examples": "median step", "tokens": "without padding"}
    for name, said in rates.items():
        if rate := median_rate(metrics, f"{name}_per_second"):
            facts.append((f"{name} per second", f"{rate:,.0f}", said))
    facts.append(("seconds per step", f"{median_rate(metrics, 'seconds'):.3g}", "median"))
    facts.append(("first step", duration(metrics[0]["seconds"]), "with the compilation"))
    found = [tiles(facts)]
    if len(steady) > 2:
        points_N2 = np.array([(line["step"], line["examples_per_second"]) for line in steady], np.float64)
        chart = lines("examples per second", [Line("step", points_N2, "c0", is_faint=True), _smooth(points_N2)])
        found.append(tag("div", chart, class_="charts"))
    return join(found)


def seconds(run: Run) -> Html:
    """How long each phase took."""
    phases = list(run.report.get("seconds", {}).items())
    if not phases:
        raise Missing("report.json has no times")
    total = sum(value for _, value in phases)
    names = [(f"{spaced(name)} {duration(value)}", f"c{n % COLOURS}") for n, (name, value) in enumerate(phases)]
    cells = [[spaced(name), duration(value), percent(value / total) if total else "-"] for name, value in phases]
    return join([shares(phases, "time"), legend(names), table(["phase", "time", "share"], cells)])


def median_rate(metrics: list[dict[str, Any]], name: str) -> float | None:
    """The median of a field over the steps after the first one, which includes the compilation."""
    values = [line[name] for line in metrics[1:] or metrics if name in line]
    return float(np.median(values)) if values else None


def line_of(metrics: list[dict[str, Any]], name: str) -> np.ndarray:
    """Step and value [N, 2] of the lines that have this field."""
    found = [(line["step"], line[name]) for line in metrics if line.get(name) is not None]
    return np.array(found, np.float64).reshape(-1, 2)


def _smooth(points_N2: np.ndarray, name: str = "moving average", colour: str = "c0") -> Line:
    return Line(name, smooth(points_N2), colour)


def _single(
    metrics: list[dict[str, Any]], name: str, said: str, marks: list[tuple[float, str]] | None = None
) -> Html | None:
    points_N2 = line_of(metrics, name)
    if not len(points_N2) or not points_N2[:, 1].any():
        return None
    if name == "learning_rate" or len(points_N2) < 2 / SMOOTHING:
        return lines(said, [Line(said, points_N2, "c0")], marks or [])
    return lines(said, [Line(said, points_N2, "c0", is_faint=True), _smooth(points_N2, said)], marks or [])


def _family(metrics: list[dict[str, Any]], names: list[str], prefix: str) -> Html | None:
    """A line for each field right below this prefix that is not 0 throughout. None if that is the whole loss."""
    own = [name for name in names if name.startswith(prefix) and "/" not in name[len(prefix) :]]
    found = {name: line_of(metrics, name) for name in own}
    found = {name: points_N2 for name, points_N2 in found.items() if len(points_N2) > 1 and points_N2[:, 1].any()}
    if not found or (prefix == "loss/ranking/" and len(found) == 1):
        return None
    colours = {name: f"c{n % COLOURS}" for n, name in enumerate(found)}
    caption = FAMILIES.get(prefix, spaced(prefix.strip("/").replace("/", ", ")))
    short = {name: spaced(name.removeprefix(prefix)) for name in found}
    if len(found) == 1:
        caption = f"{caption}: {next(iter(short.values()))}"
    drawn = lines(caption, [_smooth(points_N2, name, colours[name]) for name, points_N2 in found.items()])
    return tag("div", drawn, legend([(short[name], colours[name]) for name in found]) if len(found) > 1 else None)


def _how(run: Run) -> str:
    """The validator of the selected step and its value."""
    found = run.report["selection"]
    return f"{found['validator']} ({found['value']:.4f})" if "value" in found else str(found["validator"])

"""The page of an `llmrec adapt` folder: the choice, the gains of the candidates, item maps, validators, training."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from llmrec_jax.evaluate import adaptation_facts as evidence
from llmrec_jax.evaluate.adaptation_facts import Gain
from llmrec_jax.html.charts import COLOURS, Line, Row, intervals, legend, lines, points
from llmrec_jax.html.elements import Html, decimal, join, note, percent, sentence, signed, table, tag
from llmrec_jax.html.files import Missing
from llmrec_jax.html.page import NAME, document, write
from llmrec_jax.html.training import FAMILIES

CHOICE, REVEALED = "choice.json", "revealed.json"
NONE = "none"  # the candidate without adaptation
MOST_POINTS = 1000  # of a side of a map


@dataclasses.dataclass(frozen=True)
class Adaptation:
    """The files of the folder."""

    workdir: Path
    choice: dict[str, Any]
    revealed: dict[str, Any] | None  # None: the test events were not ranked

    @property
    def names(self) -> list[str]:
        """Of the candidates."""
        return [candidate["name"] for candidate in self.choice["candidates"]]


def write_adaptation(workdir: Path) -> Path:
    """Write `report.html` of a folder of `llmrec adapt`. Raises ValueError if it has no `choice.json`."""
    revealed = workdir / REVEALED
    facts = Adaptation(workdir, evidence.read(workdir / CHOICE), evidence.read(revealed) if revealed.exists() else None)
    title = f"Adaptation {workdir.resolve().name}"
    return write(workdir / NAME, document(title, _head(facts), SECTIONS, facts))


def _head(facts: Adaptation) -> Html:
    arm, chosen = facts.choice["arm"], facts.choice["chosen"]
    headline = f"{arm} is exported" if arm == chosen else f"{arm} is exported, not the chosen {chosen}"
    how = f"{facts.choice['validator']} chose {chosen} among {len(facts.names)} candidates, without test labels."
    guard = facts.choice.get("guard")
    kind = "better" if arm == chosen else "level"
    return tag("div", tag("h2", headline), tag("p", sentence(guard) if guard else how),
               note(how) if guard else None, class_=f"verdict {kind}")  # fmt: skip


def _gains(facts: Adaptation) -> Html:
    found = []
    parts = [("As the guard saw it", evidence.gains(facts.choice)), ("On test", evidence.gains_on_test(facts.revealed))]
    for heading, gains in parts:
        if gains:
            found += [tag("h3", heading), intervals([_row(gain) for gain in gains], heading, zero=True)]
    if not found:
        raise Missing("nothing was ranked to judge the candidates by")
    what = "Gain in NDCG@10 of the answer with the candidate's model over the answer without a model."
    found.append(note(f"{what} The guard keeps the latter unless a candidate is significantly better."))
    return join(found)


def _candidates(facts: Adaptation) -> Html:
    """A column for each candidate, a row for each validator and, if revealed, for the test."""
    revealed, decides = facts.revealed, facts.choice["validator"]
    shown = (revealed or facts.choice)["candidates"]
    rows = [[name, *(decimal(candidate["scores"].get(name)) for candidate in shown)]
            for name in dict.fromkeys(name for candidate in shown for name in candidate["scores"])]  # fmt: skip
    classes = ["own" if name == decides else "" for name, *_ in rows]
    columns = ["score without test labels", *facts.names]
    found = [note(f"Higher is better. {decides} decides and has chosen {facts.choice['chosen']}.")]
    if revealed:
        columns.append("rank correlation with the test")
        for row in rows:
            correlation = revealed["spearman"].get(row[0])
            row.append("-" if correlation is None else f"{correlation:+.2f}")
        rows.append(["test: NDCG@10 of the model", *(decimal(one["test"]["ndcg@10"]) for one in shown), "-"])
        classes.append("")
        if revealed.get("regret") is not None:
            found.append(note(f"Regret of the choice on test: {revealed['regret']:.4f} NDCG@10."))
    return join([table(columns, rows, classes=classes), *found])


def _maps(facts: Adaptation) -> Html:
    others = [name for name in (facts.choice["chosen"], *facts.names) if name != NONE]
    after = next(iter(others), NONE)
    found = []
    for name in dict.fromkeys((NONE, after)):
        vectors = evidence.vectors(facts.workdir, name, facts.choice)
        if vectors is None:
            continue
        sides = [("sources", _some(vectors.source_N2), "c0"), ("target", _some(vectors.target_N2), "c1")]
        distance = "" if vectors.a_distance is None else f", A-distance {vectors.a_distance:.2f}"
        variance = " and ".join(map(percent, vectors.variance))
        found.append(tag("div", points(f"{name}{distance}", sides), note(f"{variance} of the variance")))
    if not found:
        raise Missing("no candidate kept item vectors (selection.npz)")
    return join([legend([("sources", "c0"), ("target", "c1")]), tag("div", *found, class_="charts"),
                 note("Item vectors of both sides on the first two principal components, each picture on its own. "
                      "A-distance, 0: alike, 2: fully separable.")])  # fmt: skip


def _curves(facts: Adaptation) -> Html:
    paths = {name: evidence.folder_of(facts.workdir, name) / "metrics.jsonl" for name in facts.names}
    there = {name: path for name, path in paths.items() if path.exists()}
    prefixes = [prefix for prefix in FAMILIES if prefix != "loss/"]
    found = evidence.curves(there, prefixes)
    if not found:
        raise Missing("no candidate has a metrics.jsonl")
    names = list(dict.fromkeys(name for curves in found.values() for name in curves))
    colours = {name: f"c{number % COLOURS}" for number, name in enumerate(names)}
    charts = [_chart(FAMILIES[prefix], curves, colours) for prefix, curves in found.items()]
    return join([legend(list(colours.items())), tag("div", *charts, class_="charts")])


def _chart(caption: str, curves: Mapping[str, np.ndarray], colours: Mapping[str, str]) -> Html:
    return lines(caption, [Line(name, points_N2, colours[name]) for name, points_N2 in curves.items()])


def _row(gain: Gain) -> Row:
    low, high = gain.interval
    return Row(gain.name, gain.mean, low, high, signed(gain.mean))


def _some(points_N2: np.ndarray) -> np.ndarray:
    chosen: Sequence[int] = np.sort(np.random.default_rng(0).permutation(len(points_N2))[:MOST_POINTS]).tolist()
    return points_N2[chosen]


SECTIONS: dict[str, Callable[[Adaptation], Html]] = {
    "Gains": _gains,
    "Candidates": _candidates,
    "Items before and after": _maps,
    "Training": _curves,
}

"""The page that compares finished runs: differences, slices, lists, training, differences of the configurations."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from llmrec_jax.config import flatten
from llmrec_jax.evaluate.comparison import Compared, compare, pooled
from llmrec_jax.evaluate.smoothing import smooth
from llmrec_jax.html.charts import COLOURS, Line, Row, grouped, intervals, legend, lines
from llmrec_jax.html.elements import Html, decimal, duration, interval, join, note, signed, spaced, table, tag
from llmrec_jax.html.files import Missing, Run, mean_interval
from llmrec_jax.html.page import document, write
from llmrec_jax.html.quality import slice_groups
from llmrec_jax.html.setup import shown
from llmrec_jax.html.training import line_of, median_rate

CURVES = {"loss": "loss, moving average", "valid/ndcg@10": "NDCG@10 of the model on validation"}


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs and their methods."""

    runs: dict[str, Run]  # by a name of each
    found: dict[str, Any]  # of `evaluate.comparison.compare`
    compared: list[Compared]
    users: dict[str, Any]  # facts of the users, as in `ranks.npz`


def write_comparison(workdirs: Sequence[Path], methods: Sequence[str], path: Path) -> Path:
    """Write the page of a comparison, see `evaluate.comparison.compare` for arguments and errors."""
    read, compared = pooled(workdirs, methods)
    runs = [Run.read(workdir) for workdir in workdirs]
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.workdir) for run in runs]
    by_name = dict(zip(names, runs, strict=True))
    facts = Comparison(by_name, compare(workdirs, methods), compared, read[0]["arrays"])
    title = f"Comparison of {', '.join(names)}"
    return write(path, document(title, _head(facts), SECTIONS, facts))


def _head(facts: Comparison) -> Html:
    first, *others = facts.found["rows"]
    if not others:
        headline, kind = "One method of one configuration", ""
    else:
        best = max(facts.found["rows"], key=lambda row: row["ndcg@10"])
        if best is first and all(row["interval_95"][1] < 0 for row in others):
            headline, kind = f"{first['method']} is the best", "better"
        elif best is not first and best["interval_95"][0] > 0:
            headline, kind = f"{best['method']} is better than {first['method']}", "better"
        else:
            headline, kind = f"Nothing is significantly better than {first['method']}", "level"
    drawn = []
    for number, row in enumerate(others, 1):
        low, high = row["interval_95"]
        text = signed(row["difference"])
        drawn.append(Row(row["method"], row["difference"], low, high, text, f"c{number % COLOURS}"))
    chart = intervals(drawn, f"Difference to {first['method']} in NDCG@10", zero=True) if drawn else None
    said = f"Difference to {first['method']} in NDCG@10 on {facts.found['users']:,} test users; 95 % intervals."
    return tag("div", tag("h2", headline), tag("p", said), chart, class_=f"verdict {kind}")


def _methods(facts: Comparison) -> Html:
    rows = facts.found["rows"]
    drawn = []
    for number, method in enumerate(facts.compared):
        mean, low, high = mean_interval(method.ndcg_N)
        drawn.append(Row(method.name, mean, low, high, decimal(mean), f"c{number % COLOURS}"))
    cells = [
        [row["method"], str(row["seeds"]), decimal(row["recall@10"]), decimal(row["ndcg@10"]),
         decimal(row["deviation"]), signed(row.get("difference")),
         interval(*row["interval_95"]) if "interval_95" in row else "-"]
        for row in rows
    ]  # fmt: skip
    columns = ["method", "seeds", "recall@10", "ndcg@10", "deviation over the seeds", "difference", "95 % interval"]
    return join([intervals(drawn, "NDCG@10 on test"), table(columns, cells),
                 note("Runs whose configurations differ in the seed only are pooled. Intervals: bootstrap over the "
                      "users; those of a difference are paired.")])  # fmt: skip


def _slices(facts: Comparison) -> Html:
    ndcg = {method.name: method.ndcg_N for method in facts.compared}
    found = [legend([(name, f"c{n % COLOURS}") for n, name in enumerate(ndcg)])]
    for part in slice_groups(facts.users, ndcg):
        found += [tag("h3", f"By {part['by']}"), grouped(part["rows"], f"NDCG@10 by {part['by']}")]
    return join([*found, note("NDCG@10 on test with the 95 % interval of the mean over the users of the slice.")])


def _lists(facts: Comparison) -> Html:
    rows = facts.found["lists"]
    if not rows:
        raise Missing("the reports have no measures of the lists")
    names = [name for name in rows[0] if "@" in name]
    cells = [[row["method"], *(decimal(row.get(name), 3) for name in names)] for row in rows]
    return table(["method", *names], cells)


def _curves(facts: Comparison) -> Html:
    charts = []
    colours = {name: f"c{number % COLOURS}" for number, name in enumerate(facts.runs)}
    for field, caption in CURVES.items():
        drawn = []
        for name, run in facts.runs.items():
            points_N2 = line_of(_metrics(run), field)
            if len(points_N2):
                drawn.append(Line(name, smooth(points_N2), colours[name]))
        if drawn:
            charts.append(lines(caption, drawn))
    if not charts:
        raise Missing("no run has a metrics.jsonl")
    return join([legend(list(colours.items())), tag("div", *charts, class_="charts")])


def _time(facts: Comparison) -> Html:
    phases = list(dict.fromkeys(name for run in facts.runs.values() for name in run.report.get("seconds", {})))
    cells = []
    for name, run in facts.runs.items():
        seconds, devices = run.report.get("seconds", {}), run.report.get("versions", {}).get("devices", "-")
        rate = median_rate(_metrics(run), "examples_per_second")
        took = [duration(seconds[phase]) if phase in seconds else "-" for phase in phases]
        cells.append([name, *took, "-" if rate is None else f"{rate:,.0f}", devices])
    return table(["run", *map(spaced, phases), "examples per second", "devices"], cells)


def _configuration(facts: Comparison) -> Html:
    """The fields in which the runs differ."""
    values = {name: flatten(run.config) for name, run in facts.runs.items()}
    fields = list(dict.fromkeys(field for found in values.values() for field in found))
    differing = [field for field in fields if len({repr(found.get(field)) for found in values.values()}) > 1]
    if not differing:
        return tag("p", "The configurations are the same.")
    cells = [[tag("code", field), *(shown(found[field]) if field in found else "-" for found in values.values())]
             for field in differing]  # fmt: skip
    return table(["field", *values], cells, words=1 + len(values))


def _verdicts(facts: Comparison) -> Html:
    cells = [[name, run.report.get("regime", "-"), run.report.get("verdict", "-")] for name, run in facts.runs.items()]
    return table(["run", "regime", "verdict"], cells, words=3)


def _metrics(run: Run) -> list[dict[str, Any]]:
    try:
        return run.metrics
    except Missing:
        return []


SECTIONS: dict[str, Callable[[Comparison], Html]] = {
    "Methods": _methods,
    "Slices": _slices,
    "Recommended lists": _lists,
    "Each run on its own": _verdicts,
    "Configuration": _configuration,
    "Training": _curves,
    "Time and hardware": _time,
}

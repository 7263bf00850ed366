"""The report of a run as a page, `report.html`: the verdict, then the sections in `SECTIONS`.

A section whose files are missing is left out; the end of the page gives the reason.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from llmrec_jax.errors import UserError
from llmrec_jax.html import items, quality, setup, training
from llmrec_jax.html.charts import Row, intervals
from llmrec_jax.html.elements import Html, decimal, duration, interval, join, note, signed, tag, tiles
from llmrec_jax.html.files import Missing, Run
from llmrec_jax.html.style import CSS
from llmrec_jax.version import __version__

NAME = "report.html"  # in the work folder
SECTIONS: dict[str, Callable[[Run], Html]] = {
    "Methods": quality.methods,
    "Parts of the answer": quality.parts,
    "Slices": quality.by_slice,
    "Example histories": items.people,
    "Recommended lists": quality.lists,
    "Other tasks": quality.tasks,
    "Training": training.curves,
    "Map of the items": items.maps,
    "Throughput": training.throughput,
    "Time": training.seconds,
    "Data": setup.data,
    "Leak report": setup.leaks,
    "Configuration": setup.configuration,
    "Hardware and versions": setup.environment,
}
HEADLINES = {
    "better": "Better than every baseline",
    "level": "No significant difference to the best baseline",
    "below": "Below a baseline: do not ship this",
    "too few users": "Too few test users for a conclusion",
    "no baseline": "No baseline to compare with",
}


def write_report(workdir: Path) -> Path:
    """Write `report.html` of a finished run into its folder. Raises ValueError if the folder holds none."""
    return write(workdir / NAME, report(Run.read(workdir)))


def report(run: Run) -> str:
    """The page of a finished run."""
    domain = run.report.get("comparison", {}).get("domain")
    title = f"Run {run.name}" + (f", target {domain}" if domain else "")
    return document(title, verdict(run), SECTIONS, run)


def verdict(run: Run) -> Html:
    """The conclusion in words and figures."""
    comparison: dict[str, Any] = run.report.get("comparison", {})
    decision = comparison.get("decision", "")
    headline = HEADLINES.get(decision, "Report")
    if decision == "better" and any("sees" in row for row in run.report.get("results", [])):
        headline += " that sees the same data"
    found = [tag("h2", headline), tag("p", run.report.get("verdict", ""))]
    own = comparison.get("method", quality.ANSWER)
    row = next((row for row in run.report.get("results", []) if row["split"] == "test" and row["method"] == own), None)
    facts: list[tuple[str, Any, Any]] = []
    if row:
        facts += [("NDCG@10", decimal(row["ndcg@10"]), f"of the {own}, on test"),
                  ("Recall@10", decimal(row["recall@10"]), None)]  # fmt: skip
    if "difference" in comparison:
        low, high = comparison["interval_95"]
        facts.append((f"difference to {comparison['baseline']}", signed(comparison["difference"]), interval(low, high)))
        text = f"{signed(comparison['difference'])}"
        rows = [Row(f"{own} minus {comparison['baseline']}", comparison["difference"], low, high, text)]
        found.append(intervals(rows, "Difference in NDCG@10 to the best baseline", zero=True))
    if row:
        facts.append(("test users", f"{row['users']:,}", f"regime: {run.report.get('regime', 'unknown')}"))
    if took := run.report.get("seconds", {}).get("train"):
        facts.append(("time", duration(sum(run.report["seconds"].values())), f"training {duration(took)}"))
    return tag("div", *found, tiles(facts), class_=f"verdict {decision.replace(' ', '-')}")


def document(title: str, head: Html, sections: Mapping[str, Callable[[Any], Html]], facts: Any) -> str:
    """A whole page of sections, which are made of `facts`."""
    made, left_out = {}, {}
    for name, make in sections.items():
        try:
            made[name] = make(facts)
        except Missing as missing:
            left_out[name] = str(missing)
        except KeyError as key:  # of a report that an older version wrote
            left_out[name] = f"the run was made by another version and lacks {key}"
    links = (tag("li", tag("a", name, href=f"#{_anchor(name)}")) for name in made)
    parts = [tag("section", tag("h2", name), content, id=_anchor(name)) for name, content in made.items()]
    notes = (note(f"Left out: {name.lower()}: {reason}.") for name, reason in left_out.items())
    page = tag(
        "html",
        tag("head", tag("meta", charset="utf-8"), tag("title", title),
            tag("meta", name="viewport", content="width=device-width, initial-scale=1"), tag("style", Html(CSS))),
        tag("body",
            tag("header", tag("h1", title), head, tag("nav", tag("ul", *links), aria_label="Sections")),
            tag("main", *parts),
            tag("footer", *notes, tag("p", f"Page written by llmrec_jax {__version__}."))),
        lang="en",
    )  # fmt: skip
    return join([Html("<!doctype html>\n"), page, "\n"])


def write(path: Path, page: str) -> Path:
    """Write a page, replacing the one that is there in one step. Raises ValueError if the path is a folder."""
    if path.is_dir():
        raise UserError(f"{path} is a folder; name a file, such as {path / 'compared.html'}")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(page, encoding="utf-8")
    os.replace(temporary, path)
    return path


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")

"""Sections on the quality of the recommendations: methods, parts of the answer, slices of the users, the lists."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from llmrec_jax.evaluate.comparison import FACTS
from llmrec_jax.evaluate.slices import SLICES
from llmrec_jax.evaluate.verdict import paired_bootstrap
from llmrec_jax.html.charts import Row, grouped, intervals, legend
from llmrec_jax.html.elements import (
    Html,
    decimal,
    details,
    interval,
    join,
    note,
    sentence,
    signed,
    spaced,
    table,
    tag,
)
from llmrec_jax.html.files import Missing, Run, mean_interval

ANSWER, MODEL = "answer", "model"
SHOWN = ("answer", "model", "l3ae", "text_knn_decayed", "popularity", "ease", "item_knn")  # in the slices, if there
MOST_SHOWN = 5
METHODS = {
    "answer": "what the bundle recommends with, the weighted sum of the parts below",
    "model": "the trained model alone",
    "popularity": "number of training events of the item",
    "text_knn": "cosine of the texts of the item and of the last item of the history",
    "text_knn_decayed": "the same with whitened vectors and a weighted mean of the last five items",
    "item_knn": "similarity by co-purchase to the last items of the history",
    "ease": "linear item-to-item model of the training events, in closed form (arXiv:1905.03375)",
    "sparse_ease": "EASE with a sparse matrix, for large catalogues",
    "l3ae": "EASE with the item texts as a prior (arXiv:2508.13500)",
}
MEASURES = {
    "coverage@10": "share of the catalogue that is in at least one list",
    "gini@10": "0: every item is recommended equally often, 1: one item only",
    "novelty@10": "bits: how rare a recommended item is among the training events",
    "diversity@10": "1 minus the mean similarity of the texts of two items of a list",
}


def methods(run: Run) -> Html:
    """Every method with its interval, and its difference to the answer."""
    rows = _test_rows(run)
    names = [row["method"] for row in rows if not _is_mixture(row["method"])]
    best = ANSWER if ANSWER in names else MODEL
    seeing = {row["method"] for row in rows if "sees" in row}
    if any(name not in run.ndcg for name in names):
        raise Missing("ranks.npz lacks methods of report.json")
    means = {name: mean_interval(run.ndcg[name]) for name in names}
    names.sort(key=lambda name: -means[name][0])
    drawn = [Row(_label(name, name in seeing), *means[name], decimal(means[name][0]), _colour(name)) for name in names]
    parts = [intervals(drawn, "NDCG@10 on test")]
    parts.append(note("NDCG@10 on the test events, with the 95 % interval of the mean over the users. ",
                      sentence(run.report["protocol"]) if "protocol" in run.report else ""))  # fmt: skip
    for sees in dict.fromkeys(row["sees"] for row in rows if "sees" in row):
        parts.append(note(f"* sees {sees}, which the answer does not."))
    cells, classes = [], []
    by_name = {row["method"]: row for row in rows}
    measures = [name for name in rows[0] if "@" in name or name == "mrr"]
    for name in names:
        difference_N = run.ndcg[name] - run.ndcg[best]
        own = ("-", "-") if name == best else (signed(difference_N.mean()), interval(*paired_bootstrap(difference_N)))
        cells.append([_label(name, name in seeing), *own, *(decimal(by_name[name][measure]) for measure in measures)])
        classes.append("own" if name == best else "")
    columns = ["method", f"NDCG@10 less {best}", "95 % interval", *measures]
    parts.append(details("All metrics on test", table(columns, cells, classes=classes)))
    known = [[spaced(name), METHODS[name]] for name in names if name in METHODS]
    parts.insert(2, details("What the methods are", table(["method", ""], known, words=2)))
    valid = [row for row in run.report["results"] if row["split"] == "valid" and not _is_mixture(row["method"])]
    if valid:
        cells = [[spaced(row["method"]), *(decimal(row[measure]) for measure in measures)] for row in valid]
        parts.append(details("All metrics on validation", table(["method", *measures], cells)))
    parts += [note(f"Left out: {one['method']}: {one['reason']}") for one in run.report.get("left_out", [])]
    return join(parts)


def parts(run: Run) -> Html:
    """The weights of the answer's parts, and the answer without each of them."""
    answer = run.report.get("answer")
    if not answer:
        raise Missing("report.json has no weights of an answer")
    weights = answer["weights"]
    cells = [[spaced(name), decimal(weight, 2), *_part(run, name)] for name, weight in weights.items()]
    found = [table(["part", "weight", "NDCG@10 alone", "answer without it"], cells)]
    without = {name: run.ndcg.get(f"without {name}") for name in weights}
    if drawn := [
        _loss(name, values_N - run.ndcg[ANSWER]) for name, values_N in without.items() if values_N is not None
    ]:
        found.append(tag("h3", "The answer without one part"))
        found.append(intervals(drawn, "Difference to the answer in NDCG@10", zero=True))
        found.append(note("Difference to the whole answer in NDCG@10 on test, 95 % interval (paired bootstrap). ",
                          "Negative: the part improves the answer."))  # fmt: skip
    found.append(note("The answer is the sum of the parts' scores times these weights. How the weights were set: ",
                      f"{answer['reason']}."))  # fmt: skip
    return join(found)


def by_slice(run: Run) -> Html:
    """NDCG@10 by the number of training events of the test item and by the length of the history."""
    names = [name for name in SHOWN if name in run.ndcg][:MOST_SHOWN]
    found = [legend([(spaced(name), f"c{n}") for n, name in enumerate(names)])]
    for part in slice_groups(run.ranks, {name: run.ndcg[name] for name in names}):
        found += [tag("h3", f"By {part['by']}"), grouped(part["rows"], f"NDCG@10 by {part['by']}")]
    cold = "Items with 0 training events are cold: nobody in the training data has bought them."
    found.append(note(f"NDCG@10 on test with the 95 % interval of the mean over the users of the slice. {cold}"))
    for part in run.report.get("slices", []):
        if not part["rows"]:
            continue
        every = [name for name in part["rows"][0]["ndcg@10"] if not _is_mixture(name)]
        cells = [
            [row["values"], f"{row['users']:,}", *(decimal(row["ndcg@10"][name]) for name in every)]
            for row in part["rows"]
        ]
        found.append(details(f"All methods by {part['by']}", table([part["by"], "users", *map(spaced, every)], cells)))
    return join(found)


def lists(run: Run) -> Html:
    """Coverage, Gini index, novelty and diversity of the recommended lists."""
    rows = run.report.get("lists", [])
    if not rows:
        raise Missing("report.json has no measures of the lists")
    names = [name for name in rows[0] if "@" in name]
    cells = [[spaced(row["method"]), *(decimal(row[name], 3) for name in names)] for row in rows]
    classes = ["own" if row["method"] == ANSWER else "" for row in rows]
    said = "; ".join(f"{name}: {MEASURES[name]}" for name in names if name in MEASURES)
    return join([table(["method", *names], cells, classes=classes),
                 note(f"Of the first 10 items for {rows[0]['users']:,} test users. {sentence(said)}")])  # fmt: skip


def tasks(run: Run) -> Html:
    """The metrics of the auxiliary tasks."""
    rows = run.report.get("tasks", [])
    if not rows:
        raise Missing("the run has no auxiliary task")
    found = []
    for key in dict.fromkeys((row["task"], row["domain"], row["split"]) for row in rows):
        own = [row for row in rows if (row["task"], row["domain"], row["split"]) == key]
        columns = [name for name in own[0] if name not in ("task", "domain", "split", "method")]
        cells = [[row["method"], *(_cell(row.get(name)) for name in columns)] for row in own]
        found += [tag("h3", f"{spaced(key[0])}, {key[1]}, {key[2]}"), table(["method", *columns], cells)]
    return join(found)


def slice_groups(users: Mapping[str, np.ndarray], ndcg: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Groups of rows for a chart; the arguments are those of `evaluate.slices`."""
    found: list[dict[str, Any]] = []
    for by, (fact, edges) in SLICES.items():
        if fact not in users:
            raise Missing(f"ranks.npz lacks {fact}: made by an older version")
        slice_N = np.searchsorted(edges, users[fact], side="right") - 1
        rows = []
        for number, low in enumerate(edges):
            in_N = slice_N == number
            if not in_N.any():
                continue
            last = number == len(edges) - 1
            values = f"{low} or more" if last else _values(low, edges[number + 1] - 1)
            label = join([values, tag("small", f"{in_N.sum():,} users")])
            rows.append((label, [_row(name, ndcg_N[in_N], f"c{n}") for n, (name, ndcg_N) in enumerate(ndcg.items())]))
        found.append({"by": by, "rows": rows})
    return found


def _row(name: str, ndcg_N: np.ndarray, colour: str) -> Row:
    mean, low, high = mean_interval(ndcg_N)
    return Row(spaced(name), mean, low, high, decimal(mean), colour)


def _test_rows(run: Run) -> list[dict[str, Any]]:
    rows = [row for row in run.report.get("results", []) if row["split"] == "test"]
    if not rows:
        raise Missing("report.json has no results on test")
    return rows


def _values(low: int, high: int) -> str:
    return str(low) if low == high else f"{low} to {high}"


def _part(run: Run, name: str) -> list[str]:
    alone = run.ndcg.get(MODEL if name == MODEL else f"only {name}")
    without = run.ndcg.get(f"without {name}")
    return ["-" if values_N is None else decimal(values_N.mean()) for values_N in (alone, without)]


def _loss(name: str, difference_N: np.ndarray) -> Row:
    low, high = paired_bootstrap(difference_N)
    mean = float(difference_N.mean())
    return Row(f"without {spaced(name)}", mean, low, high, signed(mean), "c0")


def _label(name: str, sees_more: bool) -> Html:
    label = join([spaced(name), " *" if sees_more else None])
    return tag("b", label) if name == ANSWER else label


def _colour(name: str) -> str:
    return {ANSWER: "c0", MODEL: "c1"}.get(name, "rest")


def _is_mixture(name: str) -> bool:
    return name.startswith(("only ", "without ")) or name in FACTS


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return decimal(value)
    return "-" if value is None else f"{value:,}" if isinstance(value, int) else str(value)

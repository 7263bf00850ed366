"""The model card of a bundle: Markdown with a metadata header, written from the run's report.json and ranks.npz.

Contains the verdict, regime, metrics with intervals, baselines, data and limits. A bundle without its run gets a card
without metrics.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from huggingface_hub import EvalResult, ModelCardData

from llmrec_jax.inference.bundle import Bundle
from llmrec_jax.version import __version__

USE = """```python
from llmrec_jax import Recommender

recommender = Recommender.from_pretrained("{name}")
recommender.recommend([ITEM_ID, ITEM_ID], k=10)
```
"""
METRICS = ("ndcg@10", "recall@10", "mrr")
REGIMES = {
    "zero-shot": "no interactions of {target} were used in training",
    "transductive": "interactions of {target} were used for counts, not for training",
    "few-shot": "a share of the users of {target} was used for training",
    "full": "all training events of {target} were used",
}


def model_card(bundle: Bundle, name: str) -> str:
    """The card of a bundle; `report.json` and `ranks.npz` are read from its parent folder, the work folder."""
    run = bundle.folder.resolve().parent
    report = _read(run / "report.json")
    rows = [row for row in report.get("results", []) if row["split"] == "test"]
    lines = [f"# {name}", "", _summary(bundle), "", USE.format(name=name)]
    if rows:
        lines += _results(report, rows, _intervals(run / "ranks.npz"), bundle.target)
    else:
        lines += ["## Results", "", "No results: report.json of the run was not in the folder above the bundle.", ""]
    lines += _training(report, bundle)
    lines += _limits(bundle, report)
    return f"---\n{_metadata(name, bundle, rows).to_yaml()}\n---\n\n" + "\n".join(lines) + "\n"


def _metadata(name: str, bundle: Bundle, rows: list[dict[str, Any]]) -> ModelCardData:
    answer = next((row for row in rows if row["method"] == "answer"), {})
    results = [
        EvalResult(
            "recommendation", bundle.target, bundle.target, metric, round(answer[metric], 4), dataset_split="test"
        )
        for metric in METRICS
        if metric in answer
    ]
    tags = ["recommender-system", "jax"]
    if not results:
        return ModelCardData(library_name="llmrec_jax", tags=tags)
    return ModelCardData(library_name="llmrec_jax", tags=tags, model_name=name, eval_results=results)


def _summary(bundle: Bundle) -> str:
    own = sum(item.domain == bundle.target and not item.is_removed for item in bundle.items)
    domains = sorted({item.domain for item in bundle.items} - {bundle.target})
    sources = f" Histories may also contain items of {', '.join(domains)}." if domains else ""
    parts = ", ".join(f"{part} ({weight:.3g})" for part, weight in bundle.parts.weights.items() if weight)
    return (
        f"Recommends {own:,} items of **{bundle.target}** from a history of items.{sources} The score of an item (the "
        f"answer) is the weighted sum of these parts, with their weights in parentheses: {parts}. Made with "
        f"llmrec_jax {__version__}."
    )


def _results(report: dict[str, Any], rows: list[dict[str, Any]], intervals: dict[str, float], target: str) -> list[str]:
    """The verdict and the metrics of the answer and of every method that is not one of its parts."""
    regime = report["regime"]
    lines = ["## Results", "", f"**{report['verdict']}.**", ""]
    lines += [f"Regime: {regime}, {REGIMES.get(regime, '').format(target=target)}. Protocol: {report['protocol']}.", ""]
    lines += ["| method | NDCG@10 | Recall@10 | MRR | sees |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: -row["ndcg@10"]):
        if row["method"].startswith(("only ", "without ")):
            continue
        half = intervals.get(row["method"])
        ndcg = f"{row['ndcg@10']:.4f}" + (f" ± {half:.4f}" if half is not None else "")
        name = f"**{row['method']}**" if row["method"] == "answer" else row["method"]
        lines.append(f"| {name} | {ndcg} | {row['recall@10']:.4f} | {row['mrr']:.4f} | {row.get('sees', '')} |")
    users = rows[0]["users"]
    return [*lines, "", f"Test events of {users:,} users; ± is half of a 95 % interval over users.", ""]


def _intervals(path: Path) -> dict[str, float]:
    """Half of the 95 % interval of each method's NDCG@10, by the normal approximation over users."""
    if not path.is_file():
        return {}
    found = {}
    with np.load(path) as ranks:
        for method, rank_N in ranks.items():
            if rank_N.dtype == np.float64 and len(rank_N) > 1:
                ndcg_N = np.where(rank_N <= 10, 1 / np.log2(1 + rank_N), 0.0)
                found[method] = float(1.96 * ndcg_N.std(ddof=1) / len(ndcg_N) ** 0.5)
    return found


def _training(report: dict[str, Any], bundle: Bundle) -> list[str]:
    lines = ["## Training", ""]
    for name, facts in report.get("data", {}).get("domains", {}).items():
        counts = ", ".join(f"{facts[key]:,} {key}" for key in ("users", "items", "interactions") if key in facts)
        lines.append(f"- {name}{' (target)' if name == bundle.target else ''}: {counts}")
    model = bundle.model
    lines.append(f"- model: item features {model.item_features}, user tower {model.user_tower}, width {model.width}, "
                 f"{model.num_layers} layers")  # fmt: skip
    if versions := report.get("versions"):
        lines.append(f"- software: {', '.join(f'{name} {version}' for name, version in versions.items())}")
    if seconds := report.get("seconds", {}).get("train"):
        lines.append(f"- training took {seconds:,.0f} s")
    lines += [f"- {name} hash: `{value}`" for name, value in report.get("hashes", {}).items()]
    return [*lines, ""]


def _limits(bundle: Bundle, report: dict[str, Any]) -> list[str]:
    lines = [
        "## Limits",
        "",
        "- The metrics are offline: they measure held-out events, not the response of users to recommendations.",
    ]
    if bundle.model.item_features == "id":
        lines.append("- The model uses item ids only; items that are added later are scored by the text parts alone.")
    if report.get("comparison", {}).get("decision") in ("below", "level"):
        lines.append("- The answer is not significantly better than the best baseline; see the verdict.")
    if changed := sum(item.is_new or item.is_removed for item in bundle.items):
        lines.append(f"- {changed:,} items were added or removed after the training; the metrics were measured before.")
    lines += [f"- {fact['method']} could not be computed: {fact['reason']}" for fact in report.get("left_out", [])]
    lines.append("- The bundle contains the ids and titles of all items.")
    return lines


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}

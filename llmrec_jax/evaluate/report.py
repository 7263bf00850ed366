"""The report of a run: metrics of each predictor on the target's held-out events, in tables and in files."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrec_jax.baselines.counting import COUNTING
from llmrec_jax.data.corpus import Case, Corpus
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.host_ranking import rank_scores
from llmrec_jax.evaluate.ranking import metrics, rank
from llmrec_jax.evaluate.verdict import Verdict, verdict
from llmrec_jax.predictor import Predictor, ScorePredictor

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
PROTOCOL = "all items of the domain ranked, history masked, rank = 1 + strictly higher + half of the ties"
# A baseline that raises one of these is left out of the report.
CANNOT_BE_MADE = (UserError, np.linalg.LinAlgError, FloatingPointError, MemoryError)


class Evaluation(NamedTuple):
    """Results of the model and the baselines on the target."""

    results: list[dict[str, Any]]  # rows of the report
    left_out: list[dict[str, str]]  # baselines that could not be computed: {"method": ..., "reason": ...}
    user_ids: list[str]  # of the users with a test event
    ranks: dict[str, np.ndarray]  # method -> rank of each user's test item, float64 [N]
    verdict: Verdict


def evaluate_predictor(
    predictor: Predictor, case: Case, domain: str, *, mesh: Mesh, batch_size: int
) -> tuple[dict[str, Any], np.ndarray]:
    """One row of the report, and each user's rank (float64 [N]) among all items, with the history masked."""
    if isinstance(predictor, ScorePredictor):
        ranks = rank_scores(predictor, case.histories, case.target_N)
    else:
        users_ND = predictor.users(case.histories)
        ranks = rank(users_ND, predictor.items_ID, case.target_N, case.histories, mesh=mesh, batch_size=batch_size)
    tied = float((ranks.ties_N > 0).mean()) if len(case.target_N) else 0.0
    row = {"method": predictor.name, "domain": domain, "split": case.split, "users": len(case.target_N)}
    return row | metrics(ranks.rank_N) | {"tied_users": tied}, ranks.rank_N


def evaluate_target(
    corpus: Corpus,
    baselines: Mapping[str, Callable[[], Predictor]],
    model: Predictor,
    *,
    mesh: Mesh,
    batch_size: int,
) -> Evaluation:
    """Rank the target's validation and test events by every baseline and by the model.

    A baseline that cannot be computed from this data (no two texts share a word, one item, NaN vectors) is left out.
    """
    cases, name = corpus.report_cases(), corpus.domains[corpus.target].name
    is_zero_shot = corpus.protocol.regime == "zero-shot"
    sees_more = dict.fromkeys(COUNTING if is_zero_shot else (), "the target's interactions")
    results, left_out, ranks = [], [], {}
    for method, make in {**baselines, model.name: lambda: model}.items():
        try:
            predictor = make()
            found = [evaluate_predictor(predictor, case, name, mesh=mesh, batch_size=batch_size) for case in cases]
        except CANNOT_BE_MADE as error:
            if method == model.name:
                raise
            left_out.append({"method": method, "reason": str(error) or type(error).__name__})
            continue
        more = {"sees": sees_more[method]} if method in sees_more else {}
        results += [row | more for row, _ in found]
        ranks[method] = next(rank_N for row, rank_N in found if row["split"] == "test")
    test = next(case for case in cases if case.split == "test")
    user_ids = [corpus.domains[corpus.target].user_ids[user] for user in test.users_N]
    judged = verdict(ranks, name, model=model.name, sees_more=sees_more)
    return Evaluation(results, left_out, user_ids, ranks, judged)


def as_json(corpus: Corpus, evaluation: Evaluation, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The part of the report that the command `evaluate` also outputs."""
    return {
        "hashes": dict(hashes),
        "regime": corpus.protocol.regime,
        "verdict": evaluation.verdict.text,
        "comparison": evaluation.verdict.numbers,
        "results": evaluation.results,
        "left_out": evaluation.left_out,
    }


def write_report(
    workdir: Path, corpus: Corpus, evaluation: Evaluation, hashes: Mapping[str, str], seconds: Mapping[str, float],
    **more: Any,
) -> None:  # fmt: skip
    """Write `report.json` and `ranks.npz`, each atomically."""
    report = {
        **as_json(corpus, evaluation, hashes),
        "protocol": PROTOCOL,
        **more,
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "versions": versions(),
        "data": corpus.facts,
    }
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    temporary = workdir / "ranks.tmp.npz"
    # No pickle: the ids are a string array, the ranks one float64 array per method.
    arrays: dict[str, Any] = {"user_ids": np.array(evaluation.user_ids, np.str_), **evaluation.ranks}
    np.savez_compressed(temporary, **arrays)
    os.replace(temporary, workdir / "ranks.npz")
    temporary = workdir / "report.tmp"
    temporary.write_text(text)
    os.replace(temporary, workdir / "report.json")


def versions() -> dict[str, str]:
    """Versions of Python and packages, and the devices."""
    device = jax.devices()[0]
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    devices = f"{jax.device_count()} x {device.device_kind}"
    return {"python": platform.python_version(), **packages, "devices": devices}


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print the tables, the baselines left out, and the verdict."""
    print_table(evaluation.results, console)
    for baseline in evaluation.left_out:
        console.print(f"left out: {baseline['method']}: {baseline['reason']}", markup=False, highlight=False)
    console.print(evaluation.verdict.text, markup=False, highlight=False)


def print_table(results: list[dict[str, Any]], console: Console) -> None:
    """Print the results: a table per domain and split, with the best of each column in bold.

    A star marks methods that see data that the model does not; a line below the table names it.
    """
    for domain, split in dict.fromkeys((row["domain"], row["split"]) for row in results):
        rows = [row for row in results if (row["domain"], row["split"]) == (domain, split)]
        names = [name for name in rows[0] if "@" in name or name == "mrr"]
        title = Text(f"{domain}, {split}, {rows[0]['users']:,} users")
        table = Table(next(iter(rows[0])), title=title, title_justify="left")
        for name in names:
            table.add_column(name, justify="right")
        for row in rows:
            best = [row[name] == max(other[name] for other in rows) for name in names]
            cells = [Text(f"{row[n]:.4f}", style="bold" if b else "") for n, b in zip(names, best, strict=True)]
            table.add_row(Text(f"{next(iter(row.values()))}{' *' if 'sees' in row else ''}"), *cells)
        console.print(table)
        for sees in dict.fromkeys(row["sees"] for row in rows if "sees" in row):
            console.print(f"* sees {sees}, which the model does not", markup=False, highlight=False)

"""The report of a run: metrics of each predictor on the target's held-out events, in files. `tables` prints it."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import msgspec
import numpy as np
from jax.sharding import Mesh

from llmrec_jax.baselines.counting import COUNTING
from llmrec_jax.blend import Blend
from llmrec_jax.blend.answer import ANSWER
from llmrec_jax.data.corpus import Case, Corpus
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.host_ranking import rank_blend, rank_scores
from llmrec_jax.evaluate.lists import ListMeasures
from llmrec_jax.evaluate.ranking import Ranks, metrics, rank
from llmrec_jax.evaluate.slices import slices
from llmrec_jax.evaluate.verdict import Verdict, ndcg, verdict
from llmrec_jax.predictor import Predictor, ScorePredictor, VectorPredictor

PACKAGES = ("jax", "flax", "optax", "orbax-checkpoint", "grain", "numpy")
PROTOCOL = "all items of the domain ranked, history masked, rank = 1 + strictly higher + half of the ties"
# A baseline that raises one of these is left out of the report.
CANNOT_BE_MADE = (UserError, np.linalg.LinAlgError, FloatingPointError, MemoryError)


class Evaluation(NamedTuple):
    """Results of the model and the baselines on the target."""

    results: list[dict[str, Any]]  # rows of the report
    left_out: list[dict[str, str]]  # baselines that could not be computed: {"method": ..., "reason": ...}
    users: dict[str, np.ndarray]  # of the users with a test event [N]: user_ids, history_length, target_events
    ranks: dict[str, np.ndarray]  # method -> rank of each user's test item, float64 [N]
    verdict: Verdict
    lists: list[dict[str, Any]]  # what the recommended lists are like, by method: see `lists`
    tasks: Sequence[dict[str, Any]] = ()  # metrics of the auxiliary tasks, by task, method and split


def rank_case(predictor: Predictor, case: Case, *, mesh: Mesh, batch_size: int) -> Ranks:
    """Each user's rank among all items, with the history masked."""
    if not isinstance(predictor, VectorPredictor):
        return rank_scores(predictor, case.histories, case.target_N, case.users_N)
    users_ND = predictor.users(case.histories)
    return rank(users_ND, predictor.items_ID, case.target_N, case.histories, mesh=mesh, batch_size=batch_size)


def _row(method: str, domain: str, case: Case, ranks: Ranks) -> dict[str, Any]:
    """One row of the report."""
    tied = float((ranks.ties_N > 0).mean()) if len(case.target_N) else 0.0
    row = {"method": method, "domain": domain, "split": case.split, "users": len(case.target_N)}
    return row | metrics(ranks.rank_N) | {"tied_users": tied}


def evaluate_target(
    corpus: Corpus,
    baselines: Mapping[str, Callable[[str], Predictor]],
    model: Predictor,
    answer: Callable[[str], Blend] | None = None,
    *,
    mesh: Mesh,
    batch_size: int,
    on_method: Callable[[], None] = lambda: None,
) -> Evaluation:
    """Rank the target's validation and test events by every baseline, the model and the answer.

    A baseline that cannot be computed from this data (no two texts share a word, one item, NaN vectors) is left out.

    Args:
      corpus: the data of the run.
      baselines: constructors, by method; their argument is the split.
      model: the trained model.
      answer: the blend that a run recommends with, given the split; it stands in the report with the answer without
        each of its parts and each part alone, and the verdict is on it. None: the verdict is on the model.
      mesh: the devices to use.
      batch_size: users on the devices at a time; changes memory and speed only.
      on_method: called when a method has been evaluated.
    """
    cases, name = corpus.report_cases(), corpus.domains[corpus.target].name
    is_transductive = corpus.protocol.regime == "transductive"
    sees_more = dict.fromkeys(COUNTING if corpus.protocol.regime == "zero-shot" else (), "the target's interactions")
    results, left_out, ranks = [], [], {}
    test = next(case for case in cases if case.split == "test")
    texts = corpus.domains[corpus.target].texts
    counts_I = np.bincount(corpus.train_events(corpus.target)[0], minlength=len(texts))  # also with weights
    lists = ListMeasures(test, counts_I, texts)

    def keep(method: str, case: Case, found: Ranks) -> None:
        more = {"sees": sees_more[method]} if method in sees_more else {}
        results.append(_row(method, name, case, found) | more)
        if case.split == "test":
            ranks[method] = found.rank_N

    for method, make in {**baselines, model.name: lambda _: model}.items():
        try:
            found: list[Ranks] = []
            for case in cases:
                if not found or is_transductive:
                    predictor = make(case.split)
                found.append(rank_case(predictor, case, mesh=mesh, batch_size=batch_size))
        except CANNOT_BE_MADE as error:
            if method == model.name:
                raise
            left_out.append({"method": method, "reason": str(error) or type(error).__name__})
            on_method()
            continue
        for case, case_ranks in zip(cases, found, strict=True):
            keep(method, case, case_ranks)
        lists.add(predictor)
        on_method()
    if answer is not None:
        for case in cases:
            for method, case_ranks in rank_blend(answer(case.split), case.histories, case.target_N).items():
                keep(method, case, case_ranks)
        blend = answer("test")
        lists.add(ScorePredictor(ANSWER, blend.num_items, blend.scores))
        on_method()
    user_ids = corpus.domains[corpus.target].user_ids
    users = {
        "user_ids": np.array([user_ids[user] for user in test.users_N], np.str_),
        "history_length": np.array([len(history) for history in test.histories]),
        "target_events": counts_I[test.target_N],
    }
    compared = {method: ranks[method] for method in (*baselines, ANSWER if answer else model.name) if method in ranks}
    judged = verdict(compared, name, method=ANSWER if answer else model.name, sees_more=sees_more)
    return Evaluation(results, left_out, users, ranks, judged, lists.rows)


def as_json(corpus: Corpus, evaluation: Evaluation, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The part of the report that the command `evaluate` also outputs."""
    return {
        "hashes": dict(hashes),
        "regime": corpus.protocol.regime,
        "verdict": evaluation.verdict.text,
        "comparison": evaluation.verdict.numbers,
        "results": evaluation.results,
        "left_out": evaluation.left_out,
        "lists": evaluation.lists,
        "tasks": list(evaluation.tasks),
        "slices": slices(evaluation.users, {method: ndcg(rank_N) for method, rank_N in evaluation.ranks.items()}),
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
    arrays: dict[str, Any] = {**evaluation.users, **evaluation.ranks}
    np.savez_compressed(temporary, **arrays)
    os.replace(temporary, workdir / "ranks.npz")
    temporary = workdir / "report.tmp"
    temporary.write_text(text)
    os.replace(temporary, workdir / "report.json")


def read_report(workdir: Path) -> dict[str, Any]:
    """`report.json` of a finished run. Raises ValueError if there is none."""
    try:
        return msgspec.json.decode((workdir / "report.json").read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise UserError(f"{workdir} holds no finished run: {error}") from error


def versions() -> dict[str, str]:
    """Versions of Python and packages, and the devices."""
    device = jax.devices()[0]
    packages = {name: importlib.metadata.version(name) for name in PACKAGES}
    devices = f"{jax.device_count()} x {device.device_kind}"
    return {"python": platform.python_version(), **packages, "devices": devices}

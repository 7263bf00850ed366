"""Compares methods of finished runs on the same test events: seeds pooled, paired intervals, slices of users.

Reads `report.json`, `ranks.npz` and `config.json` of the runs; does not evaluate again.

Shape letters besides those of `types.py`: M runs that differ in their seed only.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.report import read_report
from llmrec_jax.evaluate.slices import slices
from llmrec_jax.evaluate.verdict import CUTOFF, ndcg, paired_bootstrap

FACTS = ("user_ids", "history_length", "target_events")  # arrays of `ranks.npz` that are not ranks


@dataclasses.dataclass(frozen=True, eq=False)
class Compared:
    """One method of runs that differ in their seed only."""

    name: str
    ranks_MN: np.ndarray  # float64: the rank of each user's test item, one row per run
    lists: list[dict[str, Any]]  # measures of the method's lists, one row per run that has them

    @property
    def ndcg_N(self) -> np.ndarray:
        """NDCG@10 of each user, the mean over the runs."""
        return ndcg(self.ranks_MN).mean(axis=0)


def compare(workdirs: Sequence[Path], methods: Sequence[str]) -> dict[str, Any]:
    """Compare methods of runs with the first one.

    Args:
      workdirs: of finished runs. Runs whose configurations differ in the seed only are one.
      methods: names in the reports, such as `answer`.

    Returns:
      `rows`: per method and configuration, mean and deviation over the seeds of NDCG@10 and Recall@10, the difference
      to the first row in NDCG@10 and its 95 % interval (paired bootstrap over the users, each of them with the mean
      over the seeds). `lists`: measures of the lists (`evaluate.lists`), means over the seeds. `slices`: NDCG@10 by
      slice of users; `cold` are test items without training events.

    Raises:
      ValueError: a folder holds no finished run, a report lacks the method, or the test events differ.
    """
    runs, compared = pooled(workdirs, methods)
    first = runs[0]
    return {
        "split": first["split"],
        "users": compared[0].ranks_MN.shape[1],
        "metric": f"ndcg@{CUTOFF}",
        "rows": [_row(method, compared[0]) for method in compared],
        "lists": [_lists(method) for method in compared if method.lists],
        "slices": slices(first["arrays"], {method.name: method.ndcg_N for method in compared}),
    }


def pooled(workdirs: Sequence[Path], methods: Sequence[str]) -> tuple[list[dict[str, Any]], list[Compared]]:
    """What `compare` reads: the runs (`read_run`), and each method of each configuration. See there for the errors."""
    runs = [read_run(workdir) for workdir in workdirs]
    first = runs[0]
    for run in runs[1:]:
        if run["split"] != first["split"]:
            raise UserError(f"{run['workdir']} and {first['workdir']} were tested on different events (their split "
                            "hashes differ): the target, data.split or data.split_seed is not the same")  # fmt: skip
    compared = [
        Compared(method if len({run["key"] for run in runs}) == 1 else f"{members[0]['workdir'].name}: {method}",
                 np.stack([_ranks(run, method) for run in members]),
                 [row for run in members for row in run["lists"] if row["method"] == method])
        for members in _grouped(runs)
        for method in methods
    ]  # fmt: skip
    return runs, compared


def read_run(workdir: Path) -> dict[str, Any]:
    """What is compared of a finished run. Raises ValueError if the folder holds none, or one of an older version."""
    report = read_report(workdir)
    try:
        config = msgspec.json.decode((workdir / "config.json").read_bytes(), type=dict[str, Any])
        with np.load(workdir / "ranks.npz") as file:
            arrays = dict(file)
        missing = [name for name in FACTS if name not in arrays]
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise UserError(f"{workdir} holds no finished run: {error}") from error
    if missing:
        raise UserError(f"{workdir / 'ranks.npz'} lacks {', '.join(missing)}: made by an older version; evaluate again")
    key = json.dumps({name: value for name, value in config.items() if name != "seed"}, sort_keys=True)
    return {"workdir": workdir, "split": report["hashes"]["split"], "key": key, "arrays": arrays,
            "config": config, "lists": report.get("lists", [])}  # fmt: skip


def _grouped(runs: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Runs with the same configuration except for the seed, in the order given."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in runs:
        groups.setdefault(run["key"], []).append(run)
    return list(groups.values())


def _ranks(run: dict[str, Any], method: str) -> np.ndarray:
    if method in FACTS or method not in run["arrays"]:
        known = ", ".join(name for name in run["arrays"] if name not in FACTS)
        raise UserError(f"{run['workdir']}: no method {method!r} in its report; it has {known}")
    return run["arrays"][method]


def _row(method: Compared, reference: Compared) -> dict[str, Any]:
    ndcg_M, recall_M = ndcg(method.ranks_MN).mean(axis=1), (method.ranks_MN <= CUTOFF).mean(axis=1)
    row: dict[str, Any] = {
        "method": method.name,
        "seeds": len(ndcg_M),
        f"recall@{CUTOFF}": float(recall_M.mean()),
        f"ndcg@{CUTOFF}": float(ndcg_M.mean()),
        "deviation": float(ndcg_M.std(ddof=1)) if len(ndcg_M) > 1 else None,
    }
    if method is not reference:
        difference_N = method.ndcg_N - reference.ndcg_N
        row |= {"difference": float(difference_N.mean()), "interval_95": list(paired_bootstrap(difference_N))}
    return row


def _lists(method: Compared) -> dict[str, Any]:
    first = method.lists[0]
    means = {
        name: None if value is None else float(np.mean([row[name] for row in method.lists]))
        for name, value in first.items()
        if "@" in name
    }
    return {"method": method.name, "users": first["users"], **means}

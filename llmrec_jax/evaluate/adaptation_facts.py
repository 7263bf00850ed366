"""The numbers that `adaptation_plots` draws, read from the files of an `llmrec adapt` folder or a run.

Computes principal components and moving averages only.

Shape letters: those of `types`; N items of one side, or steps.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.smoothing import smooth


class Vectors(NamedTuple):
    """Item vectors of one candidate in two dimensions."""

    name: str
    source_N2: np.ndarray
    target_N2: np.ndarray
    variance: tuple[float, float]  # share of the variance of each component
    a_distance: float | None  # of the whole vectors


class Gain(NamedTuple):
    """NDCG@10 above that of the answer without a trained model."""

    name: str
    mean: float
    interval: tuple[float, float]


def read(path: Path) -> dict[str, Any]:
    """A JSON file. Raises ValueError if there is none."""
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}") from error
    return found


def folder_of(workdir: Path, name: str) -> Path:
    """The folder of a candidate, by its name; that of the selected step of a run is the run's work folder."""
    return workdir / "candidates" / name.replace(":", "-")


def vectors(workdir: Path, name: str, choice: Mapping[str, Any]) -> Vectors | None:
    """The item vectors in the evidence of a candidate; None if there are none."""
    path = folder_of(workdir, name) / "selection.npz"
    if not path.exists():
        return None
    with np.load(path) as arrays:
        sides = [arrays.get(f"evidence.{side}") for side in ("source_items_JD", "target_items_ID")]
    if any(side is None for side in sides):
        return None
    scores = next(found["scores"] for found in choice["candidates"] if found["name"] == name)
    distance = scores.get("a_distance_items")
    return Vectors(name, *principal(*sides), None if distance is None else -distance)


def principal(source_ND: np.ndarray, target_ND: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Both sides on the first two principal components of their union, and the share of variance of each component."""
    both_ND = np.concatenate([source_ND, target_ND]).astype(np.float64)
    both_ND -= both_ND.mean(axis=0)
    _, size_D, axes_DD = np.linalg.svd(both_ND, full_matrices=False)
    share_D = size_D**2 / max(float(np.sum(size_D**2)), np.finfo(float).tiny)
    both_N2 = both_ND @ axes_DD[:2].T
    return both_N2[: len(source_ND)], both_N2[len(source_ND) :], (float(share_D[0]), float(share_D[1]))


def curves(paths: Mapping[str, Path], prefixes: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
    """Steps and values [N, 2] by prefix of the fields of `metrics.jsonl` and name of the run.

    Several fields with one prefix, such as losses of the two levels, are summed; accuracies are averaged.
    """
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, path in paths.items():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for prefix in prefixes:
            points = []
            for line in lines:
                parts = [value for field, value in line.items() if field.startswith(prefix) and value is not None]
                if parts:
                    points.append((line["step"], np.mean(parts) if "accuracy" in prefix else np.sum(parts)))
            if points:
                found.setdefault(prefix, {})[name] = smooth(np.array(points, np.float64))
    return {prefix: found[prefix] for prefix in prefixes if prefix in found}


def gains(choice: Mapping[str, Any]) -> list[Gain]:
    """Gains of the candidates and arms over `text`, on the evidence of the guard."""
    found = {one["name"]: one["gain"] for one in choice["candidates"] if one.get("gain")}
    found |= {name: gain for name, gain in (choice.get("arms") or {}).items() if gain}
    if not found and choice["decision"]:
        found = {gain["arm"]: gain for gain in choice["decision"]["comparisons"]}
    return [Gain(name, gain["ndcg"] - gain["against_ndcg"], tuple(gain["interval"])) for name, gain in found.items()]


def gains_on_test(revealed: Mapping[str, Any] | None) -> list[Gain]:
    """The same on the test events; empty if they are not revealed."""
    if revealed is None:
        return []
    found = {one["name"]: one["test"]["answer"] for one in revealed["candidates"]}
    found |= {name: arm for name, arm in revealed["arms"].items() if arm}
    return [Gain(name, answer["gain"], tuple(answer["interval_95"])) for name, answer in found.items()
            if "gain" in answer]  # fmt: skip

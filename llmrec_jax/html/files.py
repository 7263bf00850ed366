"""The files of a finished run, read when a section needs them. `Missing` names an absent one.

Shape letters: those of `types`.
"""

import dataclasses
import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open

from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.comparison import FACTS
from llmrec_jax.evaluate.report import read_report
from llmrec_jax.evaluate.verdict import ndcg, paired_bootstrap

BUNDLE_ITEMS = "items.jsonl"
RESAMPLES = 2_000  # for the interval of a mean in a chart; those of differences have more


class Missing(Exception):
    """A file or a field that a section needs is missing; the message names it."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run."""

    workdir: Path
    report: dict[str, Any]

    @classmethod
    def read(cls, workdir: Path) -> "Run":
        """Raises ValueError if the folder holds no finished run."""
        if (workdir / "perplexity.json").exists():
            raise UserError(
                f"{workdir} is a run with train.objective=language_model and has no recommender; its result "
                "is in perplexity.json"
            )
        return cls(workdir, read_report(workdir))

    @property
    def name(self) -> str:
        """The name of the work folder."""
        return self.workdir.resolve().name

    @functools.cached_property
    def config(self) -> dict[str, Any]:
        """`config.json`."""
        return self._read("config.json", lambda path: msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))

    @functools.cached_property
    def ranks(self) -> dict[str, np.ndarray]:
        """`ranks.npz`: the facts of the users and, for each method, the rank of each user's test item [N]."""

        def load(path: Path) -> dict[str, np.ndarray]:
            with np.load(path) as arrays:
                return dict(arrays)

        return self._read("ranks.npz", load)

    @functools.cached_property
    def ndcg(self) -> dict[str, np.ndarray]:
        """NDCG@10 of each user [N], by method."""
        return {name: ndcg(rank_N) for name, rank_N in self.ranks.items() if name not in FACTS}

    @functools.cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl`."""

        def load(path: Path) -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            if not lines:
                raise ValueError("it is empty")
            return lines

        return self._read("metrics.jsonl", load)

    @functools.cached_property
    def shelves(self) -> dict[str, Any]:
        """`shelves.json`."""
        return self._read("shelves.json", lambda path: msgspec.json.decode(path.read_bytes(), type=dict[str, Any]))

    @functools.cached_property
    def items(self) -> list[dict[str, Any]]:
        """The lines of the bundle's `items.jsonl`."""
        decoder = msgspec.json.Decoder(dict[str, Any])
        return self._read(f"bundle/{BUNDLE_ITEMS}", lambda path: decoder.decode_lines(path.read_bytes()))

    @functools.cached_property
    def item_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Of the bundle, in the order of `items`: vectors of the model [I, D] and training events [I]."""

        def load(path: Path) -> tuple[np.ndarray, np.ndarray]:
            with safe_open(path, framework="numpy") as file:
                return file.get_tensor("item_vectors"), file.get_tensor("popularity")

        vectors_ID, events_I = self._read("bundle/model.safetensors", load)
        return vectors_ID, events_I

    def _read(self, name: str, load: Callable[[Path], Any]) -> Any:
        path = self.workdir / name
        if not path.exists():
            raise Missing(f"the run has no {name}")
        try:
            return load(path)
        except (OSError, ValueError, KeyError, SafetensorError, msgspec.DecodeError) as error:
            raise Missing(f"{name} cannot be read: {error}") from error


def mean_interval(values_N: np.ndarray) -> tuple[float, float, float]:
    """The mean over users and its 95 % bootstrap interval."""
    mean = float(values_N.mean())
    return (mean, *paired_bootstrap(values_N, resamples=RESAMPLES)) if len(values_N) else (mean, mean, mean)

"""Recommends from an exported folder with NumPy alone: `python recommender.py ITEM_ID ITEM_ID`.

The export writes this file, `network` and `array_ops` as one file, `recommender.py`, which reads scorer.json,
scorer.safetensors and items.json beside it. It scores items by their stored vectors and reads no text, so it cannot add
items; it ignores the times of events.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from llmrec_jax.exports.array_ops import Ops
from llmrec_jax.exports.network import score

DTYPES = {"F32": np.float32, "F64": np.float64, "I8": np.int8, "I32": np.int32, "I64": np.int64}


class Recommender:
    """Recommends items of the target. A history may hold items of all domains in the export."""

    def __init__(self, folder: str | Path = Path(__file__).parent):
        """Read an exported folder."""
        folder = Path(folder)
        self.facts = json.loads((folder / "scorer.json").read_text("utf-8"))
        self.ops = Ops(read_safetensors(folder / "scorer.safetensors"))
        self.items = json.loads((folder / "items.json").read_text("utf-8"))  # [[id, title], ...], the target's first
        # An id in several domains is that of the target's item; of the target's items with one id, all but the last
        # were removed.
        own = self.facts["num_target"]
        others = {item_id: own + n for n, (item_id, _) in reversed(list(enumerate(self.items[own:])))}
        self.number = others | {item_id: n for n, (item_id, _) in enumerate(self.items[:own])}

    def recommend(self, history: Sequence[str], k: int = 10) -> list[tuple[str, float, str]]:
        """The `k` best (item_id, score, title), without the history (oldest first). Unknown ids are left out; without
        any known id these are the most popular items."""
        numbers = [self.number[item_id] for item_id in history if item_id in self.number]
        scores_J = score(self.ops, self.facts, np.array([numbers or [-1]], np.int64))[0][0]
        is_candidate_J = np.isfinite(scores_J)  # removed items are -inf
        is_candidate_J[[n for n in numbers if n < len(scores_J)]] = False
        candidates = np.flatnonzero(is_candidate_J)
        best = candidates[np.argsort(-scores_J[candidates], kind="stable")[:k]]
        return [(self.items[j][0], float(scores_J[j]), self.items[j][1]) for j in best]


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file, mapped from the disk."""
    content = np.memmap(path, np.uint8, "r")
    start = 8 + int.from_bytes(content[:8].tobytes(), "little")
    header = json.loads(content[8:start].tobytes())
    return {
        name: np.frombuffer(content[start + facts["data_offsets"][0] : start + facts["data_offsets"][1]].data,
                            DTYPES[facts["dtype"]]).reshape(facts["shape"])
        for name, facts in header.items() if name != "__metadata__"
    }  # fmt: skip


if __name__ == "__main__":
    for row in Recommender().recommend(sys.argv[1:]):
        print(*row, sep="\t")

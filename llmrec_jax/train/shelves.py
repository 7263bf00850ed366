"""`shelves.json` of a run: the histories of ten test users and what the answer recommends to them."""

from pathlib import Path
from typing import Any

import numpy as np

from llmrec_jax.blend import Blend
from llmrec_jax.data.corpus import Corpus
from llmrec_jax.train.workdir import write_json

NAME = "shelves.json"
USERS, ITEMS, HISTORY = 10, 10, 10  # users, items on a shelf, items of a history that are kept


def shelves(corpus: Corpus, blend: Blend) -> dict[str, Any]:
    """The histories, what came next and the best items of users that are drawn at random, always the same ones.

    User ids are left out. `parts` of an item are what each part of the answer adds to its score.
    """
    domain, counts_I = corpus.domains[corpus.target], corpus.train_counts(corpus.target)
    test = next(case for case in corpus.report_cases() if case.split == "test")
    drawn = np.sort(np.random.default_rng(0).permutation(len(test.target_N))[:USERS])
    histories = [test.histories[user] for user in drawn]
    scores = {
        part.name: np.float32(blend.weights[part.name]) * part.scores(histories)
        for part in blend.parts
        if blend.weights[part.name] and histories
    }

    def item(number: int) -> dict[str, Any]:
        return {"item_id": domain.item_ids[number], "title": domain.titles[number], "events": int(counts_I[number])}

    found = []
    for row, (history, target) in enumerate(zip(histories, test.target_N[drawn], strict=True)):
        scores_I = np.sum([part_NI[row] for part_NI in scores.values()], axis=0)
        best_I = np.argsort(-np.where(np.isin(np.arange(len(scores_I)), history), -np.inf, scores_I), kind="stable")
        shelf = [
            item(number)
            | {"score": float(scores_I[number])}
            | {"parts": {name: float(part_NI[row, number]) for name, part_NI in scores.items()}}
            for number in best_I[: min(ITEMS, len(scores_I) - len(np.unique(history)))]
        ]
        kept = [item(number) for number in history[-HISTORY:]]
        place = int(np.flatnonzero(best_I == target)[0]) + 1
        found.append({"length": len(history), "history": kept, "next": item(target) | {"place": place}, "shelf": shelf})
    return {"domain": domain.name, "users": found}


def write(workdir: Path, found: dict[str, Any]) -> None:
    """Write `shelves.json`."""
    write_json(workdir / NAME, found)

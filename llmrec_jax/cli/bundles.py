"""Verbs about what a run left: `evaluate` and `recommend`."""

import json as json_lib
import sys

from rich.console import Console
from rich.table import Table

from llmrec_jax.cli.printing import Folder


def evaluate(workdir: Folder, batch_size: int | None = None, data_root: str | None = None, json: bool = False) -> int:
    """Evaluate a finished run again: the selected model and the baselines on validation and test events.

    Example: llmrec evaluate runs/my_shop

    Args:
      workdir: The work folder of the run.
      batch_size: Users evaluated at a time; changes speed and memory, not the metrics.
      data_root: Folder of the domain folders, if they have moved since the run.
      json: Print one JSON object.
    """
    from llmrec_jax.evaluate.report import print_table
    from llmrec_jax.train.evaluation import evaluate_run

    rows = evaluate_run(workdir, data_root=data_root, batch_size=batch_size)
    if json:
        print(json_lib.dumps({"results": rows}))
    else:
        print_table(rows, Console())
    return 0


def recommend(bundle: Folder, history: tuple[str, ...] = (), k: int = 10, json: bool = False) -> int:
    """Recommend items for a history: a table, or tab-separated id, score and title when piped.

    Example: llmrec recommend runs/my_shop/bundle --history ITEM_ID ITEM_ID --k 5

    Args:
      bundle: The bundle/ folder of a run.
      history: Item ids, oldest first. Without a history: the most popular items.
      k: Number of items.
      json: Print one JSON object.
    """
    from llmrec_jax.inference.recommender import Recommender

    recommender = Recommender.load(bundle)
    unknown = recommender.unknown(history)
    found = recommender.recommend([item_id for item_id in history if item_id not in unknown], k)
    if json:
        rows = [{"item_id": item_id, "score": score, "title": title} for item_id, score, title in found]
        print(json_lib.dumps({"unknown": unknown, "recommendations": rows}))
        return 0
    if unknown:
        print(f"unknown and left out: {', '.join(unknown)}", file=sys.stderr)
    if not sys.stdout.isatty():
        for item_id, score, title in found:
            print(item_id, f"{score:.4f}", title, sep="\t")
        return 0
    table = Table("item", "score", "title", box=None)
    for item_id, score, title in found:
        table.add_row(item_id, f"{score:.4f}", title)
    Console(markup=False).print(table)
    return 0

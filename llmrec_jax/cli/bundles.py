"""Verbs about what a run left: `evaluate` and `recommend`."""

import json as json_lib
import sys

from rich.console import Console
from rich.table import Table

from llmrec_jax.cli.printing import Folder


def evaluate(workdir: Folder, batch_size: int | None = None, data_root: str | None = None, json: bool = False) -> int:
    """Evaluate a run again: every predictor on the target's validation and test events, the model as selected.

    Args:
      workdir: The work folder of the run.
      batch_size: Users on the devices at a time; changes speed and memory, no number.
      data_root: Where the domain folders lie now, if not where they lay.
      json: Print one JSON object.
    """
    from llmrec_jax.evaluate.report import as_json, print_evaluation
    from llmrec_jax.train.evaluation import evaluate_run, hashes

    experiment, found = evaluate_run(workdir, data_root=data_root, batch_size=batch_size)
    if json:
        print(json_lib.dumps(as_json(experiment.corpus, found, hashes(experiment)), allow_nan=False))
        return 0
    console = Console(soft_wrap=True)
    print_evaluation(found, console)
    console.print("\n".join(f"{n} hash {value}" for n, value in hashes(experiment).items()), highlight=False)
    return 0


def recommend(bundle: Folder, history: tuple[str, ...] = (), k: int = 10, json: bool = False) -> int:
    """Recommend items for a history: a table, or lines of id, score and title between tabs where no terminal reads.

    Args:
      bundle: The folder that a run left.
      history: Ids of items, oldest first; none: the most popular items.
      k: How many items.
      json: Print one JSON object.
    """
    from llmrec_jax.inference.recommender import Recommender

    recommender = Recommender.load(bundle)
    unknown = recommender.unknown(history)
    found = recommender.recommend([item_id for item_id in history if item_id not in unknown], k)
    if json:
        rows = [{"item_id": item_id, "score": score, "title": title} for item_id, score, title in found]
        print(json_lib.dumps({"unknown": unknown, "recommendations": rows}, allow_nan=False))
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

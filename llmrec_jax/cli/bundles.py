"""Commands for finished runs: `evaluate` and `recommend`."""

import json as json_lib
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrec_jax.cli.printing import Folder, clean


def evaluate(workdir: Folder, batch_size: int | None = None, data_root: str | None = None, json: bool = False) -> int:
    """Evaluate a finished run again: the selected model and the baselines on validation and test events.

    Example: llmrec evaluate runs/my_shop

    Args:
      workdir: The work folder of the run.
      batch_size: Users evaluated at a time; changes speed and memory, not the metrics.
      data_root: Folder of the domain folders, if they have moved since the run.
      json: Print one JSON object.
    """
    from llmrec_jax.evaluate.report import as_json
    from llmrec_jax.evaluate.tables import print_evaluation
    from llmrec_jax.train.evaluation import evaluate_run, hashes

    experiment, found = evaluate_run(_run_of(workdir), data_root=data_root, batch_size=batch_size)
    if json:
        print(json_lib.dumps(as_json(experiment.corpus, found, hashes(experiment)), allow_nan=False))
        return 0
    console = Console(soft_wrap=True)
    print_evaluation(found, console)
    console.print("\n".join(f"{n} hash {value}" for n, value in hashes(experiment).items()), highlight=False)
    return 0


def recommend(
    bundle: Folder, history: tuple[str, ...] = (), k: int = 10, explain: bool = False, json: bool = False
) -> int:
    """Recommend items for a history: a table, or tab-separated id, score and title when piped.

    Example: llmrec recommend runs/my_shop/bundle --history ITEM_ID ITEM_ID --k 5

    Args:
      bundle: A bundle, or the work folder of its run.
      history: Ids of items, oldest first; none: the most popular items.
      k: How many items.
      explain: Also print what each part of the answer (text, co-purchase, ...) adds to each score.
      json: Print one JSON object.
        Its "fallback" is true if no item of the history is known; the result is then the most popular items.
    """
    from llmrec_jax.inference.bundle import find
    from llmrec_jax.inference.recommender import Recommender

    recommender = Recommender.load(bundle)
    if (place := find(bundle)) != bundle:
        print(f"{bundle} is a work folder; recommending from {place}", file=sys.stderr)
    unknown = recommender.unknown(history)
    found = recommender.recommend([item_id for item_id in history if item_id not in unknown], k, explain=explain)
    parts = found.parts or [{} for _ in found]
    if json:
        listed = [row._asdict() | ({"parts": part} if explain else {}) for row, part in zip(found, parts, strict=True)]
        answer = {"unknown": unknown, "fallback": found.fallback, "recommendations": listed}
        print(json_lib.dumps(answer, allow_nan=False))
        return 0
    if unknown:
        print(clean(f"unknown and left out: {', '.join(unknown)}"), file=sys.stderr)
    if found.fallback:
        given = "nothing in the history is known" if history else "no history is given"
        print(f"{given}: these are the most popular items", file=sys.stderr)
    columns = list(parts[0]) if parts else []
    rows = [
        (clean(item_id), f"{score:.4f}", clean(title), *(f"{part[name]:.4f}" for name in columns))
        for (item_id, score, title), part in zip(found, parts, strict=True)
    ]
    if not sys.stdout.isatty():
        for row in rows:
            print(*row, sep="\t")
        return 0
    table = Table("item", "score", "title", *columns, box=None)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return 0


def _run_of(folder: Path) -> Path:
    """The work folder: `folder` itself, or the parent of a bundle."""
    if not ((folder / "items.jsonl").is_file() and (folder / "tokenizer.json").is_file()):
        return folder
    workdir = folder.resolve().parent
    print(f"{folder} is a bundle; evaluating the run in its work folder {workdir}", file=sys.stderr)
    return workdir

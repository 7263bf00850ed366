"""Commands for finished runs: `evaluate` and `recommend`."""

import json as json_lib
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrec_jax.cli.printing import Folder, clean
from llmrec_jax.errors import UserError


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
    bundle: Folder,
    history: tuple[str, ...] = (),
    k: int = 10,
    explain: bool = False,
    probabilities: bool = False,
    json: bool = False,
) -> int:
    """Recommend items for a history: a table, or tab-separated id, score and title when piped.

    Example: llmrec recommend runs/my_shop/bundle --history ITEM_ID ITEM_ID --k 5

    Args:
      bundle: A bundle, or the work folder of its run.
      history: Ids of items, oldest first; none: the most popular items.
      k: How many items.
      explain: Also print what each part of the answer (text, co-purchase, ...) adds to each score.
      probabilities: Also print the probability that the item is the user's next event; a bundle of a zero-shot run has
        none.
      json: Print one JSON object.
        Its "fallback" is true if no item of the history is known; the result is then the most popular items.
    """
    from llmrec_jax.inference.bundle import find
    from llmrec_jax.inference.recommender import Recommender
    from llmrec_jax.inference.results import NOT_CALIBRATED

    recommender = Recommender.load(bundle)
    if (place := find(bundle)) != bundle:
        print(f"{bundle} is a work folder; recommending from {place}", file=sys.stderr)
    if probabilities and not recommender.has_probabilities:
        raise UserError(f"--probabilities: {NOT_CALIBRATED}")
    unknown = recommender.unknown(history)
    found = recommender.recommend([item_id for item_id in history if item_id not in unknown], k, explain=explain)
    parts = found.parts or [{} for _ in found]
    probability: Sequence[float | None] = found.probabilities or [None for _ in found]
    if json:
        listed = [row._asdict() for row in found]
        for row, part, share in zip(listed, parts, probability, strict=True):
            row |= ({"probability": share} if probabilities else {}) | ({"parts": part} if explain else {})
        answer = {"unknown": unknown, "fallback": found.fallback, "recommendations": listed}
        print(json_lib.dumps(answer, allow_nan=False))
        return 0
    if unknown:
        print(clean(f"unknown and left out: {', '.join(unknown)}"), file=sys.stderr)
    if found.fallback:
        given = "nothing in the history is known" if history else "no history is given"
        print(f"{given}: these are the most popular items", file=sys.stderr)
    columns = (["probability"] if probabilities else []) + (list(parts[0]) if parts else [])
    lines = []
    for (item_id, score, title), part, share in zip(found, parts, probability, strict=True):
        chance = ["-" if share is None else f"{share:.2g}"] if probabilities else []
        shares = (f"{value:.4f}" for value in part.values())
        lines.append((clean(item_id), f"{score:.4f}", clean(title), *chance, *shares))
    if not sys.stdout.isatty():
        for line in lines:
            print(*line, sep="\t")
        return 0
    table = Table("item", "score", "title", *columns, box=None)
    for line in lines:
        table.add_row(*map(Text, line))
    Console().print(table)
    return 0


def _run_of(folder: Path) -> Path:
    """The work folder: `folder` itself, or the parent of a bundle."""
    if not ((folder / "items.jsonl").is_file() and (folder / "tokenizer.json").is_file()):
        return folder
    workdir = folder.resolve().parent
    print(f"{folder} is a bundle; evaluating the run in its work folder {workdir}", file=sys.stderr)
    return workdir

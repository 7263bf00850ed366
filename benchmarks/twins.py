"""How far an item known by its title alone is from its full text: `python benchmarks/twins.py BUNDLE [--domain D]`.

For each of some users, the best recommended item gets a twin: a new item with the same title and no other field. A row
gives the rank of the twin among all items, which would be 1 or 2 if missing fields changed nothing, and the cosine of
the two vectors. Train the bundle first, for example `llmrec train quickstart --data.field_dropout 0.05`.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import numpy as np

from benchmarks.report import show
from llmrec_jax import Recommender
from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import Domain, load_domain

PREFIX = "twin of "


def measure(recommender: Recommender, domain: Domain, num_users: int) -> list[dict[str, Any]]:
    """The rows of the benchmark: {"work", "value", "unit"}."""
    users = np.random.default_rng(0).choice(len(domain.user_ids), min(num_users, len(domain.user_ids)), replace=False)
    histories = [[domain.item_ids[item] for item in domain.history(user)[:-1]] for user in users]
    best = [recommender.recommend(history, 1)[0].item_id for history in histories]
    number = {item_id: position for position, item_id in enumerate(domain.item_ids)}
    titles = {item_id: domain.titles[number[item_id]] for item_id in best}
    recommender.add_items([{"item_id": PREFIX + item_id, "title": title} for item_id, title in titles.items()])
    ranks = [_rank_of_twin(recommender, history, item) for history, item in zip(histories, best, strict=True)]
    full_ND = recommender.encode([domain.texts[number[item_id]] for item_id in titles])
    twin_ND = recommender.encode(list(titles.values()))
    rows: list[tuple[str, float, str]] = [
        ("users", float(len(ranks)), ""),
        ("items", float(len(domain.item_ids)), ""),
        ("rank of the twin, median", float(np.median(ranks)), ""),
        ("twin among the first 20", 100 * float(np.mean(np.array(ranks) <= 20)), "%"),
        ("cosine of item and twin, mean", float(np.mean(np.sum(full_ND * twin_ND, axis=1))), ""),
    ]
    return [{"work": work, "value": value, "unit": unit} for work, value, unit in rows]


def _rank_of_twin(recommender: Recommender, history: list[str], item_id: str) -> int:
    """Its place among all original items; other twins are not counted."""
    order = [row.item_id for row in recommender.recommend(history, 10**9)]
    return 1 + sum(not other.startswith(PREFIX) for other in order[: order.index(PREFIX + item_id)])


def main(arguments: list[str] | None = None) -> None:
    """Print the table or the JSON document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("bundle", type=Path, help="bundle, or work folder of a run")
    parser.add_argument("--domain", default="demo:books", help="the target of the run")
    parser.add_argument("--users", type=int, default=200)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    args = parser.parse_args(arguments)
    rows = measure(Recommender.load(args.bundle), load_domain(args.domain, DataConfig()), args.users)
    show(rows, f"title-only twins of the best items, {args.domain}", as_json=args.json)


if __name__ == "__main__":
    main()

"""Writes a domain in which a random tenth of the items has no training events, to measure what helps cold items.

    python -m benchmarks.cold_items DATA movies --to movies_cold

The test event of a user is the last one with such an item, its history the events before it with other items, of which
the last one is for validation: so weights and steps are chosen without knowing a cold item, as in a shop that adds new
items. Users without such an event, or with fewer than two events before it, are left out. The folder has the items and
the knowledge graph of the domain, and is split by leave-one-out, so every command runs on it.
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import Domain, load_domain
from llmrec_jax.data.domains.folders import GRAPH, ITEMS, find, has, locate

SHARE = 0.1  # of the items


def main() -> None:
    """Parse the arguments, write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", help="folder of the domain folders")
    parser.add_argument("domain")
    parser.add_argument("--to", type=Path, required=True, help="the folder to write")
    parser.add_argument("--seed", type=int, default=0, help="draws the items")
    parser.add_argument("--cache-dir", default=DataConfig.cache_dir)
    arguments = parser.parse_args()
    domain = load_domain(arguments.domain, DataConfig(root=arguments.root, cache_dir=arguments.cache_dir))
    folder = locate(arguments.domain, Path(arguments.root), "")
    arguments.to.mkdir(parents=True)
    for name in (ITEMS, GRAPH):
        if has(folder, name):
            shutil.copyfile(find(folder, name), arguments.to / find(folder, name).name)
    rows, num_users = events(domain, cold_items(len(domain.item_ids), arguments.seed))
    (arguments.to / "interactions.csv").write_text("\n".join(["user_id,item_id", *rows]) + "\n")
    (arguments.to / "domain.json").write_text(json.dumps({"order": "sequence"}) + "\n")
    print(f"{arguments.to}: {len(rows):,} interactions of {num_users:,} of {len(domain.user_ids):,} users")


def cold_items(num_items: int, seed: int) -> np.ndarray:
    """Which items are cold, bool [I]."""
    is_cold_I = np.zeros(num_items, bool)
    is_cold_I[np.random.default_rng(seed).permutation(num_items)[: round(SHARE * num_items)]] = True
    return is_cold_I


def events(domain: Domain, is_cold_I: np.ndarray) -> tuple[list[str], int]:
    """The rows of interactions.csv without its header, and the number of users."""
    rows, num_users = [], 0
    for user, user_id in enumerate(domain.user_ids):
        history = domain.history(user)
        cold = np.flatnonzero(is_cold_I[history])
        if not len(cold):
            continue
        before = history[: cold[-1]]
        before = before[~is_cold_I[before]]
        if len(before) > 1:
            rows += [f"{user_id},{domain.item_ids[item]}" for item in (*before, history[cold[-1]])]
            num_users += 1
    return rows, num_users


if __name__ == "__main__":
    main()

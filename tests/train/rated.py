"""A small shop whose users click on items of lists and rate what they take, for the tests of the tasks."""

import json
from pathlib import Path

import numpy as np

WORDS = ("red", "blue", "old", "new", "long", "short", "warm", "cold", "soft", "loud")


def write_shop(folder: Path) -> Path:
    """30 items, 40 users with 6 to 12 events. The rating depends on user and item, and one in ten is empty. Each event
    is a click in a list of four items, of which the clicked one stands anywhere."""
    rng = np.random.default_rng(0)
    folder.mkdir()
    items = [{"item_id": f"i{n}", "title": " ".join(rng.choice(WORDS, 3))} for n in range(30)]
    (folder / "items.jsonl").write_text("\n".join(map(json.dumps, items)))
    quality, mood = rng.normal(size=30), rng.normal(size=40)
    rows = ["user_id,item_id,rating,timestamp,action,impression_id"]
    for user in range(40):
        for time, item in enumerate(rng.permutation(30)[: rng.integers(6, 13)]):
            rating = int(np.clip(np.round(3 + mood[user] + quality[item] + rng.normal(0, 0.3)), 1, 5))
            end = f"{1000 * user + time},{{}},{user}-{time}"
            rows += [f"u{user},i{other},,{end.format('view')}" for other in rng.permutation(30)[:3] if other != item]
            rows.append(f"u{user},i{item},{'' if rng.random() < 0.1 else rating},{end.format('click')}")
    (folder / "interactions.csv").write_text("\n".join(rows))
    return folder

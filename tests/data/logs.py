"""A domain folder with everything that a log may have: ties, repeats, ratings, bad rows of each kind, shards, lists."""

import gzip
import json
import random
from collections.abc import Sequence
from pathlib import Path

NAMES = {  # by number of shards; some are gzipped
    1: ("interactions.csv",),
    3: tuple(f"interactions-0000{n}-of-00003.csv" + ".gz" * (n == 1) for n in range(3)),
}


def rows_of(columns: Sequence[str], num_rows: int, seed: int = 0) -> list[str]:
    """Rows with these columns, in no order; a few are bad."""
    draw = random.Random(seed)
    rows = []
    for number in range(1, num_rows + 1):
        user = int(draw.random() ** 2 * 40)
        cells = {
            "user_id": f"ü{user}" if number % 97 else "",
            "item_id": "unknown" if number % 37 == 0 else "bad" if number % 41 == 0 else f"i{draw.randrange(12)}",
            "rating": draw.choice(["", "1", "2", "3.5", "5"]) if number % 43 else "x",
            "timestamp": str(1_600_000_000 + draw.randrange(9)) + "000" * (number % 61 == 0) if number % 59 else "",
            "weight": draw.choice(["0", "1", "2.5"]) if number % 67 else "",
            "action": draw.choice(["click", "view"]),
            "impression_id": f"L\udcff{user}-{number // 40}" if number % 5 else "",  # not valid UTF-8
        }
        if cells["impression_id"] == "":
            cells["action"] = "click"
        rows.append(",".join(cells[column] for column in columns))
    return rows


def write(folder: Path, columns: Sequence[str], rows: Sequence[str], shards: int = 1, **settings: str) -> Path:
    """A domain folder with these rows; `settings` become its domain.json."""
    folder.mkdir(parents=True)
    items = [{"item_id": f"i{number}", "title": f"Item {number}"} for number in range(13)] + [{"item_id": "bad"}]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    (folder / "kg.tsv").write_text("i1\tgenre\tdrama\nunknown\tgenre\tdrama\ni2\tgenre\tdrama\n")
    lines = [",".join(columns), *rows]
    for number, name in enumerate(NAMES[shards]):
        part = lines[len(lines) * number // shards : len(lines) * (number + 1) // shards]
        data = ("\n".join(part) + "\n" * (number != 1)).encode(
            errors="surrogateescape"
        )  # the last line end of a file may be missing
        (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    if settings:
        (folder / "domain.json").write_text(json.dumps(settings))
    return folder

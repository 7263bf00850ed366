"""Every known format gives the log and the catalogue that were written."""

import csv
import json

import pytest

from llmrec_jax import importers
from llmrec_jax.data.domains import prepare
from llmrec_jax.importers.table import SAMPLE
from tests.importers import samples
from tests.importers.samples import ITEMS, LOG, SAMPLES, number_of


def imported(paths, to, *mapping, ask=None):
    plan = importers.plan([str(path) for path in paths], mapping, ask)
    return plan, importers.write(plan, to)


def records(folder):
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    with (folder / "interactions.csv").open(newline="") as file:
        return items, list(csv.DictReader(file))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_format_is_read_without_a_hint(tmp_path, name):
    folder = samples.write(tmp_path / "raw", SAMPLES[name]())
    _, counts = imported([folder], tmp_path / "to")
    items, rows = records(tmp_path / "to")
    assert prepare.build(tmp_path / "to", "fail", None).report["items"] == len(ITEMS)
    assert not counts.left_out
    events = [row for row in rows if row.get("action") != "impression"]
    pairs = [(number_of(row["user_id"]), number_of(row["item_id"])) for row in events]
    assert sorted(pairs) == sorted((user, item) for user, item, *_ in LOG)
    assert counts.interactions == len(LOG)
    _check_items(name, items)
    _check_values(name, events)


def test_mind_gives_the_history_of_users_beyond_the_sample(tmp_path):
    files = samples.mind()
    lists = "".join(f"{n}\tu{n}\t11/15/2019 8:55:22 AM\t\tN1-0 N2-1\n" for n in range(SAMPLE))
    _, counts = imported([samples.write(tmp_path / "raw", files | {"behaviors.tsv": lists + files["behaviors.tsv"]})],
                         tmp_path / "to")  # fmt: skip
    assert counts.interactions == SAMPLE + len(LOG)


def _check_items(name, items):
    assert {number_of(item["item_id"]) for item in items} == {item for item, *_ in ITEMS}
    pipe = " " if name == "movielens_100k" else "|"
    titles = {number_of(item["item_id"]): item["title"] for item in items}
    assert titles == {item: title.replace("|", pipe) for item, title, _ in ITEMS}
    if not name.startswith(("lastfm", "hetrec")):
        assert all({i: g for i, _, g in ITEMS}[number_of(item["item_id"])] in item["category"] for item in items)
    brands = {item.get("brand") for item in items}
    expected = {"goodreads": "Ann Lee", "lastfm_1k": "Ann"} | dict.fromkeys(
        ("amazon_2014", "amazon_2018", "amazon_2023"), "Ann's"
    )
    assert brands == {expected.get(name)}
    prices = {"amazon_2014": 9.5, "amazon_2018": 9.5, "excel": 1234.5}
    assert {item.get("price") for item in items} == {prices.get(name)}


def _check_values(name, events):
    found = {(number_of(row["user_id"]), number_of(row["item_id"])): row for row in events}
    for user, item, rating, time in LOG:
        row = found[user, item]
        if "timestamp" in row and name != "mind":
            assert float(row["timestamp"]) == (time if name != "excel" else time // 60 * 60)
        if "rating" in row:
            assert float(row["rating"]) == rating + 0.5 * (name == "excel")
    assert ("timestamp" in events[0]) == (name not in ("lastfm_360k", "hetrec"))
    assert ("rating" in events[0]) == (name not in ("mind", "lastfm_1k"))

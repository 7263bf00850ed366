"""Preparation: order, repeats, quarantine, all or nothing, the cache, the TFDS view, real counts."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import domain as domains
from llmrec_jax.data.domains import prepare, schema

ITEMS = [{"item_id": name, "title": name.title(), "brand": "Brand", "description": "d" * 300} for name in "cabd"]


def shop(root: Path, rows: list[str], order: str | None = None, name: str = "shop") -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    if order:
        (root / "domains.json").write_text(json.dumps({"domains": {name: {"order": order}}}))
    return folder


def open_shop(root: Path, **fields: str) -> domains.Domain:
    return domains.load_domain("shop", DataConfig(root=str(root), cache_dir=str(root / "cache"), **fields))


def histories(domain: domains.Domain) -> dict[str, list[str]]:
    return {
        user_id: [domain.item_ids[item] for item in domain.history(user)]
        for user, user_id in enumerate(domain.user_ids)
    }


def test_events_are_sorted_by_time_and_repeats_dropped(tmp_path):
    shop(tmp_path, ["u,a,1,30", "v,b,2,5", "u,b,3,10", "u,a,5,50", "v,c,,4", "w,d,1,1"])
    domain = open_shop(tmp_path)
    assert histories(domain) == {"u": ["b", "a"], "v": ["c", "b"], "w": ["d"]}
    np.testing.assert_array_equal(domain.ratings_E, np.array([3, 1, np.nan, 2, 1], np.float32))
    np.testing.assert_array_equal(domain.timestamps_E, [10, 30, 4, 5, 1])
    np.testing.assert_array_equal(domain.offsets, [0, 2, 4, 5])
    assert (domain.order, domain.name, domain.titles[0]) == ("timestamp", "shop", "C")
    assert domain.texts[0] == "C. Brand. " + "d" * 200
    assert (domain.items_E.dtype, domain.offsets.dtype) == (np.int32, np.int64)
    assert isinstance(domain.items_E, np.memmap)
    counts = {"users": 3, "items": 4, "interactions": 5, "repeats_dropped": 1, "items_without_interactions": 0}
    assert domain.report == counts | {"skipped": {}}


def test_ties_depend_on_neither_file_order_nor_item_id(tmp_path):
    rows = [f"u{user},{item},1,7" for user in range(40) for item in "abcd"]
    for name, lines in (("one", rows), ("two", rows[::-1])):
        (tmp_path / name).mkdir()
        shop(tmp_path / name, lines)
    one, two = histories(open_shop(tmp_path / "one")), histories(open_shop(tmp_path / "two"))
    assert one == two
    firsts = [history[0] for history in one.values()]
    assert max(map(firsts.count, "abcd")) < 20


def test_order_of_the_file_or_none(tmp_path):
    rows = ["u,d,,", "v,a,,", "u,b,,9", "u,c,,1", "u,a,,2"]
    shop(tmp_path, rows)
    domain = open_shop(tmp_path)
    assert (domain.order, histories(domain)["u"]) == ("sequence", ["d", "b", "c", "a"])
    (tmp_path / "domains.json").write_text('{"domains": {"shop": {"order": "none"}}}')
    assert open_shop(tmp_path).order == "none"
    assert open_shop(tmp_path).hash != domain.hash
    (tmp_path / "domains.json").write_text('{"domains": {"shop": {"order": "timestamp"}}}')
    with pytest.raises(ValueError, match="2 rows have none"):
        open_shop(tmp_path)
    (tmp_path / "domains.json").write_text('{"domains": {"shop": {"order": "upwards"}}}')
    with pytest.raises(ValueError, match=r"domains\.json"):
        open_shop(tmp_path)


def test_skipped_records_are_counted_and_kept_apart(tmp_path):
    folder = shop(tmp_path, ["u,a,1,1", "u,nothing,1,2", "u,b,x,3", "u,c,1,4", "v,nothing,1,2", "v,a,1,2", "v,b,1,3"])
    with (folder / "items.jsonl").open("ab") as file:
        file.write(b'{"item_id": "e\xff"}\n')
    with pytest.raises(schema.DataError, match=r"items\.jsonl:5: not UTF-8\n  interactions\.csv:3: item_id is not"):
        open_shop(tmp_path)
    domain = open_shop(tmp_path, on_bad_record="skip")
    assert domain.report["skipped"] == {
        "items.jsonl: not UTF-8": 1,
        "interactions.csv: item_id is not among the items": 2,
        "interactions.csv: rating is not a number": 1,
    }
    quarantine = [json.loads(line) for line in (domain.folder / "quarantine.jsonl").read_text().splitlines()]
    assert quarantine[0] == {"file": "items.jsonl", "line": 5, "reason": "not UTF-8", "raw": '{"item_id": "e\ufffd"}'}
    assert [record["line"] for record in quarantine[1:]] == [3, 4, 6]


def test_all_or_nothing(tmp_path, monkeypatch):
    shop(tmp_path, ["u,a,1,1", "u,b,1,2"])

    def fail(self, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare.DomainRecords, "download_and_prepare", fail)
        with pytest.raises(KeyboardInterrupt):
            open_shop(tmp_path)
    assert list((tmp_path / "cache" / "domains").iterdir()) == []
    domain = open_shop(tmp_path)
    assert list(domain.folder.parent.iterdir()) == [domain.folder]


def test_cache_is_hit_and_follows_the_content(tmp_path, monkeypatch):
    folder = shop(tmp_path, ["u,a,1,1", "u,b,1,2"])
    first = open_shop(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(schema, "read", None)  # a second preparation would fail
        assert open_shop(tmp_path).hash == first.hash
    subprocess.run(["gzip", folder / "items.jsonl"], check=True)
    assert open_shop(tmp_path).hash == first.hash
    with (folder / "interactions.csv").open("a") as file:
        file.write("u,c,1,3\n")
    assert open_shop(tmp_path).hash != first.hash


def test_killed_and_simultaneous_preparations(tmp_path):
    shop(tmp_path, [f"u{user},{item},1,{user}" for user in range(500) for item in "abcd"])
    command = f"""
import os, sys
from pathlib import Path
from llmrec_jax.data.domains import prepare
if sys.argv[1] == "die":
    prepare.DomainRecords.download_and_prepare = lambda *_, **__: os.kill(os.getpid(), 9)
print(prepare.prepare(Path({str(tmp_path / "shop")!r}), Path({str(tmp_path / "cache")!r}), "fail"))
assert "tensorflow" not in sys.modules
"""
    run = [sys.executable, "-W", "error", "-c", command]
    assert subprocess.run([*run, "die"]).returncode == -9
    assert not [path for path in (tmp_path / "cache" / "domains").iterdir() if not path.name.startswith(".")]
    both = [subprocess.Popen([*run, "live"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    outputs = [process.communicate() for process in both]
    assert outputs[0] == outputs[1] == (f"{open_shop(tmp_path).folder}\n", "")  # and nothing else is said


def test_tfds_reads_it(tmp_path):
    shop(tmp_path, ["u,a,1,30", "v,b,2,5", "u,b,,10"])
    domain = open_shop(tmp_path)
    builder = tfds.builder_from_directory(domain.folder / "tfds" / "domain_records" / "1.0.0")
    items, users = builder.as_data_source("items"), builder.as_data_source("users")
    assert [item["id"].decode() for item in items] == domain.item_ids
    assert (items[0]["title"], items[0]["description"]) == (b"C", b"d" * 300)
    assert [user["id"].decode() for user in users] == domain.user_ids
    for number, user in enumerate(users):
        np.testing.assert_array_equal(user["items"], domain.history(number))
    np.testing.assert_array_equal(users[0]["timestamps"], [10, 30])
    np.testing.assert_array_equal(users[0]["ratings"], np.array([np.nan, 1], np.float32))
    assert len(builder.as_data_source("users[:50%]")) == 1
    assert "tensorflow" not in sys.modules


def test_no_such_domain(tmp_path):
    with pytest.raises(ValueError, match="no domain 'nowhere'"):
        domains.load_domain("nowhere", DataConfig(root=str(tmp_path), cache_dir=str(tmp_path)))


@pytest.mark.parametrize("name", ["gift_cards", "music"])
def test_real_counts(shared_data, tmp_path, name):
    said = json.loads((shared_data / "domains.json").read_text())["domains"][name]
    domain = domains.load_domain(str(shared_data / name), DataConfig(cache_dir=str(tmp_path)))
    assert {key: domain.report[key] for key in ("users", "items", "interactions")} == {
        key: said[key] for key in ("users", "items", "interactions")
    }
    assert (domain.order, len(domain.items_E)) == (said["order"], said["interactions"])
    assert domain.report["repeats_dropped"] == 0

"""Preparation: order, repeats, ratings, quarantine, atomic writes, the cache, the TFDS export, real counts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import domain as domains
from llmrec_jax.data.domains import prepare, schema
from llmrec_jax.data.domains.tfds_export import export

ITEMS = [{"item_id": name, "title": name.title(), "brand": "Brand", "description": "d" * 300} for name in "cabd"]


def shop(root: Path, rows: list[str], order: str | None = None, name: str = "shop") -> Path:
    folder = root / name
    folder.mkdir()
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in ITEMS))
    (folder / "interactions.csv").write_text("\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n")
    if order:
        (root / "domains.json").write_text(json.dumps({"domains": {name: {"order": order}}}))
    return folder


def open_shop(root: Path, **fields: Any) -> domains.Domain:
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
    assert domain.report == counts | {
        "below_min_rating": 0,
        "weights": False,
        "order": "timestamp",
        "order_reason": "every row has a time",
        "notes": [
            "1 repeats of an item by the same user dropped: the first is kept",
            "ratings are not used: 3 of 5 are 2 or less of 5 and count like the others; data.min_rating=3 leaves them "
            "out",
            "4 descriptions truncated to 200 characters (data.description_chars)",
        ],
        "skipped": {},
    }


def test_ties_depend_on_neither_file_order_nor_item_id(tmp_path):
    rows = [f"u{user},{item},1,7" for user in range(40) for item in "abcd"]
    for name, lines in (("one", rows), ("two", rows[::-1])):
        (tmp_path / name).mkdir()
        shop(tmp_path / name, lines)
    one, two = histories(open_shop(tmp_path / "one")), histories(open_shop(tmp_path / "two"))
    assert one == two
    firsts = [history[0] for history in one.values()]
    assert max(map(firsts.count, "abcd")) < 20
    assert any(note.startswith("160 of 160 interactions share") for note in open_shop(tmp_path / "one").report["notes"])


def test_order_of_the_file_or_none(tmp_path):
    rows = ["u,d,,", "v,a,,", "u,b,,9", "u,c,,1", "u,a,,2"]
    folder = shop(tmp_path, rows)
    with pytest.raises(schema.DataError, match="timestamp is empty, but other rows have one"):
        open_shop(tmp_path)
    (tmp_path / "domains.json").write_text('{"domains": {"shop": {"order": "sequence"}}}')
    domain = open_shop(tmp_path)
    assert (domain.order, histories(domain)["u"]) == ("sequence", ["d", "b", "c", "a"])
    np.testing.assert_array_equal(domain.timestamps_E, [-1, 9, 1, 2, -1])
    (folder / "domain.json").write_text('{"order": "none"}')
    assert open_shop(tmp_path).order == "none"
    assert open_shop(tmp_path).hash != domain.hash


def test_times_finer_than_a_second_order_the_events(tmp_path):
    times = (1_600_000_000_000 + milliseconds for milliseconds in (30, 10, 40, 20))
    shop(tmp_path, [f"u,{item},,{time}" for item, time in zip("abcd", times, strict=True)])
    domain = open_shop(tmp_path)
    assert histories(domain) == {"u": ["b", "d", "a", "c"]}
    np.testing.assert_array_equal(domain.timestamps_E, [1_600_000_000] * 4)


def test_low_ratings_are_left_out(tmp_path):
    shop(tmp_path, ["w,a,1,1", "u,a,1,1", "u,b,3,2", "u,a,5,3", "v,c,,4", "v,d,2,5"])
    domain = open_shop(tmp_path, min_rating=3.0)
    assert histories(domain) == {"u": ["b", "a"], "v": ["c"]}
    counts = {"users": 2, "interactions": 3, "below_min_rating": 3, "repeats_dropped": 0}
    assert {name: domain.report[name] for name in counts} == counts
    note = "3 interactions rated below data.min_rating=3 left out (ratings from 1 to 5); 1 have no rating and are kept"
    assert domain.report["notes"][0] == note
    assert open_shop(tmp_path).hash != domain.hash
    assert len(open_shop(tmp_path).items_E) == 5
    shutil.rmtree(tmp_path / "shop")
    shop(tmp_path, ["u,a,1,1", "u,b,3,2"])
    with pytest.raises(ValueError, match=r"shop: data\.min_rating=6 leaves no interaction: .* lower, from 1 to 3$"):
        open_shop(tmp_path, min_rating=6.0)
    all_kept = "0 interactions rated below data.min_rating=0.5 left out (ratings from 1 to 3)"
    assert open_shop(tmp_path, min_rating=0.5).report["notes"][0] == all_kept
    shutil.rmtree(tmp_path / "shop")
    shop(tmp_path, ["u,a,,1", "u,b,,2"])
    assert open_shop(tmp_path, min_rating=3.0).report["notes"][0] == (
        "data.min_rating=3 has no effect: there are no ratings"
    )


@pytest.mark.parametrize(
    ("ratings", "note"),
    [
        (
            "5 1 2.5",
            "ratings are not used: 1 of 3 are 2 or less of 5 and count like the others; data.min_rating=3 leaves",
        ),
        ("5 3 4", "ratings are not used (lowest 3, highest 5); data.min_rating leaves out the lower ones"),
        ("120 1 7", "ratings are not used (lowest 1, highest 120); data.min_rating leaves out the lower ones"),
        ("-1 -1 -1", "ratings are not used (all are -1)"),
    ],
)
def test_unused_ratings_are_said(tmp_path, ratings, note):
    rows = zip("abc", ratings.split(), strict=True)
    shop(tmp_path, [f"u,{item},{rating},{time}" for time, (item, rating) in enumerate(rows)])
    assert open_shop(tmp_path, description_chars=300).report["notes"][0].startswith(note)


def test_the_template_of_the_texts(tmp_path):
    shop(tmp_path, ["u,a,,1"])
    domain = open_shop(tmp_path, text_fields=("description", "title"), description_chars=3)
    assert domain.texts[0] == "ddd. C"
    assert domain.report["notes"] == ["4 descriptions truncated to 3 characters (data.description_chars)"]
    assert open_shop(tmp_path, text_fields=("title",)).report["notes"] == []


def test_a_link_keeps_its_own_name(tmp_path):
    (tmp_path / "store").mkdir()
    target = shop(tmp_path / "store", ["u,a,,", "u,b,,"], name="latest")
    (tmp_path / "shop").symlink_to(target)
    assert open_shop(tmp_path).name == "shop"
    (tmp_path / "domains.json").write_text('{"domains": {"shop": {"order": "none"}}}')
    assert open_shop(tmp_path).order == "none"


def test_skipped_records_are_counted_and_kept_apart(tmp_path):
    folder = shop(tmp_path, ["u,a,1,1", "u,nothing,1,2", "u,b,x,3", "u,c,1,4", "v,nothing,1,2", "v,a,1,2", "v,b,1,3"])
    with (folder / "items.jsonl").open("ab") as file:
        file.write(b'{"item_id": "e\xff"}\n')
    with pytest.raises(
        schema.DataError, match=r"(?s)items\.jsonl:5: not UTF-8.*\n  interactions\.csv:3: item_id is not"
    ):
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

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(prepare, "write", fail)
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
from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import prepare
from llmrec_jax.data.domains.domain import load_domain
if sys.argv[1] == "die":
    prepare.write = lambda *_: os.kill(os.getpid(), 9)
print(load_domain("shop", DataConfig(root={str(tmp_path)!r}, cache_dir={str(tmp_path / "cache")!r})).folder)
assert not {{"tensorflow", "tensorflow_datasets", "jax"}} & set(sys.modules)
"""
    run = [sys.executable, "-W", "error", "-c", command]
    assert subprocess.run([*run, "die"]).returncode == -9
    assert not [path for path in (tmp_path / "cache" / "domains").iterdir() if not path.name.startswith(".")]
    both = [subprocess.Popen([*run, "live"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    outputs = [process.communicate() for process in both]
    assert outputs[0] == outputs[1] == (f"{open_shop(tmp_path).folder}\n", "")  # and nothing else is said


def test_tfds_reads_the_export(tmp_path):
    shop(tmp_path, ["u,a,1,30", "v,b,2,5", "u,b,,10"])
    domain = open_shop(tmp_path)
    written = export(domain, tmp_path / "out")
    with pytest.raises(ValueError, match="exists and is not an empty folder"):
        export(domain, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    builder = tfds.builder_from_directory(written)
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


def test_tfds_reads_weights(tmp_path):
    folder = shop(tmp_path, [])
    (folder / "interactions.csv").write_text("user_id,item_id,weight\nu,a,1\nu,b,0.5\nu,a,3\nv,b,0")
    builder = tfds.builder_from_directory(export(open_shop(tmp_path), tmp_path / "out"))
    assert [user["weights"].tolist() for user in builder.as_data_source("users")] == [[3, 0.5], [0]]


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "items_E.npy").write_bytes((folder / "items_E.npy").read_bytes()[:-4]),
        lambda folder: (folder / "offsets.npy").write_bytes(b""),
        lambda folder: (folder / "facts.json").write_bytes((folder / "facts.json").read_bytes()[:20]),
        lambda folder: (folder / "items.json").write_bytes(b"[]"),
        lambda folder: (folder / "users.json").unlink(),
        lambda folder: [path.unlink() for path in folder.iterdir()],
    ],
    ids=["cut array", "empty array", "cut facts", "fewer items", "no users", "empty folder"],
)
def test_a_damaged_preparation_is_made_again(tmp_path, capsys, harm):
    shop(tmp_path, ["u,a,1,1", "u,b,1,2"])
    folder = open_shop(tmp_path).folder
    harm(folder)
    again = open_shop(tmp_path)
    assert (again.folder, histories(again)) == (folder, {"u": ["a", "b"]})
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{folder}: damaged (")
    assert line.endswith("); creating it again")
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("name", ["gift_cards", "music"])
def test_real_counts(shared_data, tmp_path, name):
    said = json.loads((shared_data / "domains.json").read_text())["domains"][name]
    domain = domains.load_domain(str(shared_data / name), DataConfig(cache_dir=str(tmp_path)))
    assert {key: domain.report[key] for key in ("users", "items", "interactions")} == {
        key: said[key] for key in ("users", "items", "interactions")
    }
    assert (domain.order, len(domain.items_E)) == (said["order"], said["interactions"])
    assert domain.report["repeats_dropped"] == 0

"""Every bad line is named by file, line and reason; no reason repeats what the line says; good lines survive."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from llmrec_jax.data.domains import schema

GOOD_ITEMS = [b'{"item_id": "a", "title": "One"}', b'{"item_id": "b", "title": "Two", "brand": null, "unknown": [1]}']
GOOD_ROWS = [b"user_id,item_id,rating,timestamp", b"u,a,4.5,1500000000", b"v,b,,"]

BAD_ITEMS = {
    "truncated": (b'{"item_id": "SECRET", "tit', "Input data was truncated"),
    "not JSON": (b"SECRET", "JSON is malformed: invalid character"),
    "two objects": (b'{"item_id": "SECRET", "title": "x"} {}', "JSON is malformed: trailing characters"),
    "UTF-8": (b'{"item_id": "SECRET", "title": "\xff"}', "not UTF-8"),
    "UTF-8 surrogate": (b'{"item_id": "SECRET", "title": "\xed\xa0\x80"}', "not UTF-8"),
    "lone surrogate": (b'{"item_id": "SECRET", "title": "\\ud800"}', "Input data was truncated"),
    "NaN": (b'{"item_id": "SECRET", "title": "x", "price": NaN}', "JSON is malformed: invalid character"),
    "Infinity": (b'{"item_id": "SECRET", "title": "x", "price": Infinity}', "JSON is malformed: invalid character"),
    "number as id": (b'{"item_id": 7, "title": "SECRET"}', "Expected `str`, got `int` - at `$.item_id`"),
    "list as brand": (
        b'{"item_id": "SECRET", "title": "x", "brand": ["y"]}',
        "Expected `str | null`, got `array` - at `$.brand`",
    ),
    "no title": (b'{"item_id": "SECRET"}', "Object missing required field `title`"),
    "null title": (b'{"item_id": "SECRET", "title": null}', "Expected `str`, got `null` - at `$.title`"),
    "empty title": (b'{"item_id": "SECRET", "title": " "}', "title is empty"),
    "array row": (b'["SECRET", "x"]', "Expected `object`, got `array`"),
    "nested": (
        b'{"item_id": "SECRET", "title": "x", "z": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "nested too deep",
    ),
    "long text": (
        json.dumps({"item_id": "SECRET", "title": "x", "description": "y" * 1_000_001}).encode(),
        "description is longer than 1000000 characters",
    ),
    "NUL byte": (b'{"item_id": "SECRET", "title": "\0"}', "NUL byte"),
    "NUL escape": (b'{"item_id": "SECRET", "title": "x\\u0000"}', "title holds a NUL character"),
    "NUL in id": (b'{"item_id": "SECRET\\u0000", "title": "x"}', "item_id holds a NUL character"),
    "newline in id": (b'{"item_id": "SECRET\\n", "title": "x"}', "item_id holds a line break"),
    "empty id": (b'{"item_id": "", "title": "SECRET"}', "item_id is empty"),
    "repeated id": (b'{"item_id": "a", "title": "SECRET"}', "item_id repeats that of an earlier line"),
    "BOM": (b'\xef\xbb\xbf{"item_id": "SECRET", "title": "x"}', "starts with a byte order mark"),
    "blank": (b"  ", "blank line"),
}
BAD_ROWS = {
    "few columns": (b"SECRET,a,1", "wrong number of columns: the header has 4"),
    "many columns": (b"SECRET,a,1,2,3", "wrong number of columns: the header has 4"),
    "open quote": (b'"SECRET,a,1,2', "malformed CSV: unexpected end of data"),
    "unknown item": (b"u,SECRET,1,2", "item_id is not among the items"),
    "empty user": (b",a,1,2", "user_id is empty"),
    "empty item": (b"SECRET,,1,2", "item_id is empty"),
    "UTF-8": (b"SECRET\xff,a,1,2", "not UTF-8"),
    "NUL": (b"SECRET\0,a,1,2", "NUL byte"),
    "rating": (b"u,a,SECRET,2", "rating is not a number"),
    "rating NaN": (b"u,a,nan,2", "rating is not a finite number"),
    "rating inf": (b"u,a,-inf,2", "rating is not a finite number"),
    "rating beyond float32": (b"u,a,1e39,2", "rating is not a finite number"),
    "timestamp": (b"u,a,1,SECRET", "timestamp is not a whole number of seconds"),
    "fraction": (b"u,a,1,1500000000.5", "timestamp is not a whole number of seconds"),
    "negative": (b"u,a,1,-5", "timestamp is negative"),
    "milliseconds": (b"u,a,1,1500000000000", "timestamp looks like milliseconds"),
    "absurd": (b"u,a,1," + b"9" * 5000, "timestamp looks like milliseconds"),
    "blank": (b"", "blank line"),
}


def folder_of(path: Path, items: list[bytes], rows: list[bytes]) -> Path:
    (path / "items.jsonl").write_bytes(b"\n".join(items))
    (path / "interactions.csv").write_bytes(b"\n".join(rows))
    return path


@pytest.mark.parametrize("case", BAD_ITEMS)
def test_bad_item(tmp_path, case):
    line, reason = BAD_ITEMS[case]
    folder = folder_of(tmp_path, [GOOD_ITEMS[0], line, GOOD_ITEMS[1]], GOOD_ROWS)
    (record,) = schema.validate(folder)
    assert str(record) == f"items.jsonl:2: {reason}"
    with pytest.raises(schema.DataError, match="1 bad record") as error:
        schema.read(folder, "fail")
    assert "SECRET" not in str(error.value)
    raw, bad = schema.read(folder, "skip")
    assert [item.item_id for item in raw.items] == ["a", "b"]
    assert bad == [record]


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row(tmp_path, case):
    line, reason = BAD_ROWS[case]
    folder = folder_of(tmp_path, GOOD_ITEMS, [*GOOD_ROWS[:2], line, GOOD_ROWS[2]])
    (record,) = schema.validate(folder)
    assert str(record) == f"interactions.csv:3: {reason}"
    raw, _ = schema.read(folder, "skip")
    assert raw.user_ids == ["u", "v"]
    np.testing.assert_array_equal(raw.items_E, [0, 1])
    np.testing.assert_array_equal(raw.ratings_E, np.array([4.5, np.nan], np.float32))
    np.testing.assert_array_equal(raw.timestamps_E, [1500000000, -1])


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([b"user,item", b"u,a"], "the header lacks user_id and item_id"),
        ([b"user_id,item_id,user_id", b"u,a,u"], "the header names a column twice"),
        ([b"\xef\xbb\xbfuser_id,item_id", b"u,a"], "starts with a byte order mark"),
        ([b""], "blank line"),
    ],
)
def test_bad_header_cannot_be_skipped(tmp_path, rows, reason):
    folder = folder_of(tmp_path, [*GOOD_ITEMS, b"["], rows)
    assert [str(record) for record in schema.validate(folder)][1:] == [f"interactions.csv:1: {reason}"]
    with pytest.raises(schema.DataError, match=reason):
        schema.read(folder, "skip")


def test_sound_folder(tmp_path):
    rows = [b"rating,item_id,extra,user_id\r", b'3,a,x,"u, ""v"""\r', b"4,b,,w\r", b"\r", b""]
    folder = folder_of(tmp_path, [*GOOD_ITEMS, b"", b" ", b""], rows)
    assert schema.validate(folder) == []
    raw, _ = schema.read(folder, "fail")
    assert raw.user_ids == ['u, "v"', "w"]
    np.testing.assert_array_equal(raw.ratings_E, [3, 4])
    np.testing.assert_array_equal(raw.timestamps_E, [-1, -1])


def test_missing_doubled_and_truncated_files(tmp_path):
    assert [str(record) for record in schema.validate(tmp_path / "nowhere")] == [
        f"items.jsonl: neither items.jsonl nor items.jsonl.gz is there; {schema.NEEDED}"
    ]
    folder = folder_of(tmp_path, GOOD_ITEMS, GOOD_ROWS)
    whole = gzip.compress(b"\n".join(GOOD_ROWS))
    (folder / "interactions.csv.gz").write_bytes(whole)
    assert "both interactions.csv and interactions.csv.gz are there" in str(schema.validate(folder)[0])
    (folder / "interactions.csv").unlink()
    assert schema.validate(folder) == []
    for broken in (whole[:-12], whole[:20] + b"xxxx" + whole[24:], b"not gzip"):
        (folder / "interactions.csv.gz").write_bytes(broken)
        assert str(schema.validate(folder)[0]).startswith("interactions.csv.gz: cannot be read: ")
        with pytest.raises(schema.DataError, match=r"interactions\.csv\.gz"):
            schema.read(folder, "skip")


def test_a_catalogue_alone_is_told_what_it_can_do(tmp_path):
    folder = folder_of(tmp_path, GOOD_ITEMS, GOOD_ROWS[:1])
    hint = f"{folder}: .*interactions.csv: {{}}; a domain is its items and its interactions; .*Recommender.add_items$"
    for reason in ("no good record in it", "neither interactions.csv nor interactions.csv.gz is there"):
        with pytest.raises(schema.DataError, match=f"(?s){hint.format(reason)}"):
            schema.read(folder, "fail")
        (folder / "interactions.csv").unlink(missing_ok=True)


def test_message_lists_twenty_and_counts_all(tmp_path):
    folder = folder_of(tmp_path, GOOD_ITEMS, [*GOOD_ROWS, *[b"u,nothing,1,2"] * 30])
    with pytest.raises(schema.DataError, match=r"30 bad record\(s\)") as error:
        schema.read(folder, "fail")
    assert str(error.value).count("interactions.csv:") == 20
    assert "and 10 more" in str(error.value)


def test_mostly_bad_is_refused(tmp_path):
    bad = [b"u,nothing,1,2"] * 2
    schema.read(folder_of(tmp_path, GOOD_ITEMS, [*GOOD_ROWS, *bad]), "skip")
    with pytest.raises(schema.DataError, match=r"more than half of interactions\.csv \(3 of 5\)"):
        schema.read(folder_of(tmp_path, GOOD_ITEMS, [*GOOD_ROWS, *bad, bad[0]]), "skip")

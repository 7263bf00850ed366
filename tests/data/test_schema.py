"""Every bad record is reported with file, line and reason; reasons never quote the line; good lines are kept."""

import gzip
import json

import numpy as np
import pytest

from llmrec_jax.data.domains import folders, schema
from llmrec_jax.data.domains.problems import DataError
from tests.data.shops import HEADER, ITEMS, error_of, folder_of, problems

ROWS = [HEADER, b"u,a,4.5,1500000000", b"v,b,,1500000001"]

BAD_ITEMS = {
    "truncated": (b'{"item_id": "SECRET", "tit', "not JSON: Input data was truncated"),
    "no JSON": (b"SECRET", "not JSON: invalid character"),
    "two objects": (b'{"item_id": "SECRET", "title": "x"} {}', "not JSON: trailing characters"),
    "UTF-8": (b'{"item_id": "SECRET", "title": "\xff"}', "not UTF-8"),
    "UTF-8 surrogate": (b'{"item_id": "SECRET", "title": "\xed\xa0\x80"}', "not UTF-8"),
    "lone surrogate": (b'{"item_id": "SECRET", "title": "\\ud800"}', "not JSON: Input data was truncated"),
    "NaN": (b'{"item_id": "SECRET", "title": "x", "price": NaN}', "not JSON: invalid character"),
    "Infinity": (b'{"item_id": "SECRET", "title": "x", "price": Infinity}', "not JSON: invalid character"),
    "id": (b'{"item_id": true, "title": "SECRET"}', "item_id is true or false; a text or a whole number is expected"),
    "fraction as id": (
        b'{"item_id": 7.5, "title": "SECRET"}',
        "item_id is a fraction; a text or a whole number is expected",
    ),
    "object as brand": (
        b'{"item_id": "SECRET", "title": "x", "brand": {"y": 1}}',
        "brand is an object; a text or a list of texts is expected",
    ),
    "list of objects": (
        b'{"item_id": "SECRET", "title": "x", "category": [{"y": 1}]}',
        "category is a list that holds an object; texts are expected",
    ),
    "no title": (b'{"item_id": "SECRET"}', "no title"),
    "null title": (b'{"item_id": "SECRET", "title": null}', "title is null"),
    "empty title": (b'{"item_id": "SECRET", "title": " "}', "title is empty"),
    "twice": (
        b'{"item_id": "SECRET", "title": "x", "Title ": "y"}',
        "title occurs twice, under names that differ only in case or blanks",
    ),
    "array row": (b'["SECRET", "x"]', "not an object; one JSON object a line is expected"),
    "nested": (
        b'{"item_id": "SECRET", "title": "x", "z": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "nested too deep",
    ),
    "NUL byte": (b'{"item_id": "SECRET", "title": "\0"}', "NUL byte"),
    "NUL escape": (b'{"item_id": "SECRET", "title": "x\\u0000"}', "title holds a NUL character"),
    "NUL in id": (b'{"item_id": "SECRET\\u0000", "title": "x"}', "item_id holds a NUL character"),
    "newline in id": (b'{"item_id": "SEC\\nRET", "title": "x"}', "item_id holds a line break"),
    "long id": (b'{"item_id": "' + b"SECRET" * 200 + b'", "title": "x"}', "item_id is longer than 1000 characters"),
    "empty id": (b'{"item_id": " ", "title": "SECRET"}', "item_id is empty"),
    "repeated id": (b'{"item_id": "a ", "title": "SECRET"}', "item_id occurs on an earlier line too"),
}
BAD_ROWS = {
    "few columns": (b"SECRET,a,1", "wrong number of columns: the header has 4"),
    "many columns": (b"SECRET,a,1,2,3", "wrong number of columns: the header has 4"),
    "open quote": (b'"SECRET,a,1,2', "malformed CSV: unexpected end of data"),
    "stray quote": (b'"SEC"RET,a,1,2', "malformed CSV: ',' expected after '\"'"),
    "unknown item": (b"u,SECRET,1,2", "item_id is not among the items"),
    "empty user": (b",a,1,2", "user_id is empty"),
    "empty item": (b"SECRET,,1,2", "item_id is empty"),
    "UTF-8": (b"SECRET\xff,a,1,2", "not UTF-8"),
    "UTF-8 in the item": (b"SECRET,\xff,1,2", "not UTF-8"),
    "NUL": (b"SECRET\0,a,1,2", "user_id holds a NUL character"),
    "rating": (b"u,a,SECRET,2", "rating is not a number"),
    "rating NaN": (b"u,a,nan,2", "rating is not a finite number"),
    "rating inf": (b"u,a,-inf,2", "rating is not a finite number"),
    "rating beyond float32": (b"u,a,1e39,2", "rating is not a finite number"),
    "decimal comma": (b'u,a,"4,5",2', "rating is not a number"),
    "timestamp": (b"u,a,1,SECRET", "timestamp is neither a number nor an ISO 8601 time"),
    "local date": (b"u,a,1,02.05.2020 10:13", "timestamp is neither a number nor an ISO 8601 time"),
    "scientific": (b"u,a,1,1.6E+09", "timestamp is in scientific notation, which loses digits"),
    "negative": (b"u,a,1,-5", "timestamp is negative"),
    "before 1970": (b"u,a,1,1969-12-31", "timestamp is before 1970"),
    "no time": (b"u,a,1,", "timestamp is empty, but other rows have one"),
    "milliseconds": (
        b"u,a,1,1500000000000",
        "timestamp is in milliseconds, but most are in seconds: a file has one unit",
    ),
    "date": (b"u,a,1,2020-01-01", "timestamp is in ISO 8601, but most are in seconds: a file has one unit"),
    "absurd": (b"u,a,1," + b"9" * 5000, "timestamp is after the year 2262 in every unit"),
}


@pytest.mark.parametrize("case", BAD_ITEMS)
def test_bad_item(tmp_path, case):
    line, reason = BAD_ITEMS[case]
    folder = folder_of(tmp_path, [ITEMS[0], line, ITEMS[1]], ROWS)
    (record,) = problems(folder)
    assert str(record) == f"items.jsonl:2: {reason}"
    assert "1 bad record\n" in error_of(folder)
    assert "SECRET" not in error_of(folder)
    raw = schema.read(folder, "skip")
    assert [item.item_id for item in raw.items] == ["a", "b"]
    assert raw.findings.bad == [record]


@pytest.mark.parametrize("case", BAD_ROWS)
def test_bad_row(tmp_path, case):
    line, reason = BAD_ROWS[case]
    folder = folder_of(tmp_path, ITEMS, [*ROWS[:2], line, ROWS[2]])
    (record,) = problems(folder)
    assert str(record) == f"interactions.csv:3: {reason}"
    assert "SECRET" not in error_of(folder)
    events = schema.read(folder, "skip").events
    assert events.user_ids == ["u", "v"]
    np.testing.assert_array_equal(events.items_E, [0, 1])
    np.testing.assert_array_equal(events.ratings_E, np.array([4.5, np.nan], np.float32))
    np.testing.assert_array_equal(events.times_E // 10**9, [1500000000, 1500000001])


def test_sound_folder(tmp_path):
    rows = [b"rating,item_id,extra,user_id\r", b'3,a,x,"u, ""v"""\r', b",,,\r", b"4,b,,w\r", b"\r", b""]
    raw = schema.read(folder_of(tmp_path, [ITEMS[0], b"", ITEMS[1], b" ", b""], rows), "fail")
    assert raw.events.user_ids == ['u, "v"', "w"]
    np.testing.assert_array_equal(raw.events.ratings_E, [3, 4])
    np.testing.assert_array_equal(raw.events.times_E, [-1, -1])
    assert (raw.order, raw.order_reason[:18]) == ("sequence", "no row has a time,")


def test_missing_doubled_and_truncated_files(tmp_path):
    folder = folder_of(tmp_path, ITEMS, ROWS)
    whole = gzip.compress(b"\n".join(ROWS))
    (folder / "interactions.csv.gz").write_bytes(whole)
    assert "both interactions.csv and interactions.csv.gz are there" in error_of(folder)
    (folder / "interactions.csv").unlink()
    assert problems(folder) == []
    for broken in (whole[:-12], whole[:20] + b"xxxx" + whole[24:], b"not gzip"):
        (folder / "interactions.csv.gz").write_bytes(broken)
        assert str(problems(folder)[0]).startswith("interactions.csv.gz: cannot be read: ")
        with pytest.raises(DataError, match=r"interactions\.csv\.gz"):
            schema.read(folder, "skip")


def test_a_catalogue_alone_is_told_what_it_can_do(tmp_path):
    folder = folder_of(tmp_path, ITEMS, ROWS[:1])
    for reason in ("no record in it", "neither interactions.csv nor interactions.csv.gz is there"):
        assert f"interactions.csv: {reason}; {folders.NEEDED}" in error_of(folder)
        (folder / "interactions.csv").unlink(missing_ok=True)


def test_one_line_a_cause(tmp_path):
    folder = folder_of(tmp_path, ITEMS, [*ROWS, *[b"u,nothing,1,2"] * 30, b"u,a,x,2"])
    assert error_of(folder).splitlines() == [
        f"{folder}: 31 bad records",
        "  interactions.csv:4: item_id is not among the items (30 times; also interactions.csv:5, interactions.csv:6, "
        "...); add the items, or leave these rows out with data.on_bad_record=skip",
        "  interactions.csv:34: rating is not a number",
    ]
    assert len(problems(folder)) == 31


def test_rows_that_are_bad_because_their_item_is_are_not_listed(tmp_path):
    items = [*ITEMS, b'{"item_id": "c", "title": ""}', b'{"item_id": "d", "tit', b'{"item_id": 7.5, "title": "x"}']
    folder = folder_of(tmp_path, items, [*ROWS, *[b"u,c,1,2", b"u,d,1,2"] * 40])
    assert [record.line for record in problems(folder)] == [3, 4, 5]
    assert "(80 rows name items whose own lines are bad; they are not listed)" in error_of(folder)
    nothing = folder_of(tmp_path, [b'{"item_id": "a"}'] * 2, ROWS)
    assert [str(record) for record in problems(nothing)] == [
        "items.jsonl:1: no title",
        "items.jsonl:2: no title",
    ]


def test_a_row_of_a_lost_item_is_counted_when_skipped(tmp_path):
    folder = folder_of(tmp_path, [*ITEMS, b'{"item_id": "c", "title": ""}'], [*ROWS, b"u,c,1,2"])
    assert schema.read(folder, "skip").findings.consequences == 1


def test_mostly_bad_is_refused(tmp_path):
    bad = [b"u,nothing,1,2"] * 2
    schema.read(folder_of(tmp_path, ITEMS, [*ROWS, *bad]), "skip")
    with pytest.raises(DataError, match=r"more than half of interactions\.csv \(3 of 5\)"):
        schema.read(folder_of(tmp_path, ITEMS, [*ROWS, *bad, bad[0]]), "skip")


@pytest.mark.parametrize(
    ("ids", "remedy"),
    [
        (["A", "B"], "the ids of the two files differ in upper and lower case: write them alike"),
        (["00a", "0b"], "the ids of the two files differ in leading zeros: write them alike"),
        (["'a'", "'b'"], "the ids of the two files differ in quotes, blanks or punctuation: write them alike"),
        (["1.23E+12"], "ids are in scientific notation: a spreadsheet shortened them; export them as text"),
        (["x"], "no row names one: do both files belong to the same shop?"),
    ],
)
def test_the_likely_cause_of_unknown_items(tmp_path, ids, remedy):
    folder = folder_of(tmp_path, ITEMS, [HEADER, *[f"u,{item_id},1,2".encode() for item_id in ids]])
    assert error_of(folder).endswith(f"; {remedy}")


def test_quarantined_bytes_stay_readable(tmp_path):
    (record,) = problems(folder_of(tmp_path, [*ITEMS, b'{"item_id": "\xff"}'], ROWS))
    assert json.dumps(record.raw.encode(errors="surrogateescape").decode(errors="replace"))

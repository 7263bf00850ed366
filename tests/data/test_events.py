"""interactions.csv as commonly exported: unusual but unambiguous separators, headers, quotes, ids and times."""

import pytest

from llmrec_jax.data.domains import schema
from tests.data.shops import HEADER, ITEMS, error_of, folder_of, problems


def read(tmp_path, rows, items=ITEMS, **settings):
    """The raw domain and the notes on its log."""
    raw = schema.read(folder_of(tmp_path, items, rows, **settings), "fail")
    return raw, [note.removeprefix("interactions.csv: ") for note in raw.findings.notes if "csv" in note]


@pytest.mark.parametrize(("separator", "name"), [(b";", "';'"), (b"\t", "tab"), (b"|", "'|'")])
def test_separators(tmp_path, separator, name):
    rows = [row.replace(b",", separator) for row in (HEADER, b"u,a,4.5,1", b"u,b,3,2")]
    rows[2] = rows[2].replace(b"3", b"3,5")
    raw, notes = read(tmp_path, rows)
    assert raw.events.ratings_E.tolist() == [4.5, 3.5]
    assert notes == [f"separator {name} recognised", "1 ratings have a decimal comma: read as such"]


def test_a_declared_separator_and_excels_own_line(tmp_path):
    rows = [b"user_id:item_id", b"u:a"]
    assert "the header has no user_id and item_id" in error_of(folder_of(tmp_path, ITEMS, rows))
    assert read(tmp_path, rows, separator=":")[0].events.user_ids == ["u"]
    assert read(tmp_path, [b"sep=;", b"user_id;item_id", b"u;a"])[0].events.user_ids == ["u"]


@pytest.mark.parametrize("end", [b"\r\n", b"\r"])
def test_line_ends_and_a_byte_order_mark(tmp_path, end):
    raw, notes = read(tmp_path, [b"\xef\xbb\xbf" + end.join([HEADER, b"u,a,,1", b"v,b,,2", b""])])
    assert raw.events.user_ids == ["u", "v"]
    expected = ["byte order mark: read as UTF-8"]
    assert notes == expected + ["carriage returns (CR) end lines: read as line ends"] * (end == b"\r")


def test_headers_whatever_their_case(tmp_path):
    raw, notes = read(tmp_path, [b"User_ID, item_id,Timestamp ,,note", b"u,a,5,0,x", b"u,b,3,1,y"])
    assert raw.order == "timestamp"
    assert notes == [
        "columns recognised: 'User_ID' as user_id, ' item_id' as item_id, 'Timestamp ' as timestamp",
        "columns that are not read: (unnamed), note",
    ]


@pytest.mark.parametrize(
    ("header", "reason", "remedy"),
    [
        ("userId,movieId", "the header has no user_id and item_id", '{"user_id": "userId", "item_id": "movieId"}'),
        ("user;item_id", "the header has no user_id", '{"user_id": "user"}'),
        ("user_id:token\titem_id:token", "the header has no user_id and item_id", "'user_id:token' looks like user_id"),
        ("user_id item_id", "the header has no user_id and item_id", "the first line names the columns"),
        ("u1,i1,5,160", "the header has no user_id and item_id", "the first line names the columns"),
        ("user_id,item_id,USER_ID", "the header names user_id twice", ""),
        ("user_id,item_id,time", "the header has no timestamp, but 'time' may be meant", '{"timestamp": null}'),
        ("user_id,item_id,reviewTime,ts", "the header has no timestamp, but 'reviewTime' and 'ts' may be meant", ""),
        ("user_id,item_id,timestamp_ms", "the header has no timestamp, but 'timestamp_ms' may be meant", ""),
        ("user_id,item_id,ratings", "the header has no rating, but 'ratings' may be meant", '{"rating": "ratings"}'),
        ("", "blank line, where the header is expected", ""),
    ],
)
def test_headers_that_are_asked_about(tmp_path, header, reason, remedy):
    folder = folder_of(tmp_path, [*ITEMS, b"["], [header.encode(), b"1,2,3"])
    assert [str(record) for record in problems(folder)][1:] == [f"interactions.csv:1: {reason}"]
    assert remedy in error_of(folder)
    with pytest.raises(ValueError, match=reason):
        schema.read(folder, "skip")


def test_columns_that_are_declared(tmp_path):
    rows = [b"customer,article,date,note", b"u,a,2020-01-02,x", b"u,b,2020-01-01,y"]
    columns = {"user_id": "customer", "item_id": "article"}
    assert read(tmp_path, rows, columns=columns | {"timestamp": "date"})[0].order == "timestamp"
    assert read(tmp_path, rows, columns=columns | {"timestamp": None})[0].order == "sequence"
    assert read(tmp_path, rows, columns=columns, order="none")[0].order == "none"
    wrong = folder_of(tmp_path, ITEMS, rows, columns=columns | {"timestamp": "when"})
    assert "the header lacks the column that domain.json names for timestamp" in error_of(wrong)


def test_a_header_repeated_where_files_were_joined(tmp_path):
    raw, notes = read(tmp_path, [HEADER, b"u,a,,1", HEADER, b"u,b,,2"])
    assert (len(raw.events.users_E), notes) == (2, ["1 repeated header lines skipped"])


def test_quoted_fields_run_over_lines(tmp_path):
    rows = [b"user_id,item_id,review,timestamp", b'u,a,"good', b'very, ""very""",1', b"v,b,x,2", b'"u', b'2",b,x,2']
    folder = folder_of(tmp_path, ITEMS, rows)
    assert [str(record) for record in problems(folder)] == [
        "interactions.csv:5: malformed CSV: a quoted field runs over the end of the line"
    ]
    (tmp_path / "interactions.csv").write_bytes(b"\n".join(rows[:4]))
    assert schema.read(folder, "fail").events.user_ids == ["u", "v"]


def test_a_broken_quote_costs_its_own_line(tmp_path):
    good = [f"u{n},a,x,{n}".encode() for n in range(500)]
    broken = [b'u,a,"open,3', *good[:5], b'u,b,"x" y,4', *good[5:], b'u,a,"open,3']
    folder = folder_of(tmp_path, ITEMS, [b"user_id,item_id,review,timestamp", *broken])
    assert [record.line for record in problems(folder)] == [2, 8, 504]
    assert len(schema.read(folder, "skip").events.users_E) == 500


def test_a_long_field_that_is_not_read(tmp_path):
    raw, _ = read(tmp_path, [b"user_id,item_id,review", b'u,a,"' + b"x," * 100_000 + b'"'])
    assert raw.events.user_ids == ["u"]


def test_ids_padded_with_blanks(tmp_path):
    raw, notes = read(tmp_path, [b"user_id,item_id", b"u ,a ", "\u00a0u,b".encode()])
    assert (raw.events.user_ids, notes) == (["u"], ["3 ids had surrounding blanks, which were removed"])


@pytest.mark.parametrize(("catalogue", "log"), [(b"3", b"3.0"), (b"3.0", b"3"), (b"3", b"3.00")])
def test_ids_as_floats(tmp_path, catalogue, log):
    items = [b'{"item_id": "%s", "title": "T"}' % catalogue]
    raw, notes = read(tmp_path, [b"user_id,item_id", b"u," + log], items)
    assert raw.events.items_E.tolist() == [0]
    assert notes == ["1 item_ids differ from the items' by .0 (3.0 for 3): read as the items' ids"]


@pytest.mark.parametrize(
    ("cells", "note"),
    [
        (["1600000000", "1600000001"], None),
        (["1600000000.0", "1600000001."], "2 timestamps have a decimal point: read as numbers"),
        (["1600000000000", "1600000001000"], "timestamps read as milliseconds"),
        (["1600000000000000", "1600000001000000"], "timestamps read as microseconds"),
        (["1600000000000000000", "1600000001000000000"], "timestamps read as nanoseconds"),
        (["2020-09-13T12:26:40", "2020-09-13 12:26:41"], "timestamps read as ISO 8601"),
        (["2020-09-13T14:26:40+02:00", "2020-09-13 12:26:41 UTC"], "timestamps read as ISO 8601 with a time zone"),
        (["2020-09-13T12:26:40Z", "2020-09-13T12:26:41.000000000Z"], "timestamps read as ISO 8601 with a time zone"),
    ],
)
def test_times(tmp_path, cells, note):
    raw, notes = read(
        tmp_path, [HEADER, *[f"u,{item},, {cell}".encode() for item, cell in zip("ab", cells, strict=True)]]
    )
    assert raw.events.times_E.tolist() == [1600000000 * 10**9, 1600000001 * 10**9]
    assert notes == ([note] if note else [])


def test_fractions_of_seconds_and_declared_units(tmp_path):
    rows = [HEADER, b"u,a,,1600000000.250000000", b"u,b,,1600000000.125"]
    assert (read(tmp_path, rows)[0].events.times_E % 10**9).tolist() == [250_000_000, 125_000_000]
    small = [HEADER, b"u,a,,5000", b"u,b,,6000"]
    assert read(tmp_path, small, time_unit="ms")[0].events.times_E.tolist() == [5 * 10**9, 6 * 10**9]


def test_units_are_never_mixed(tmp_path):
    rows = [HEADER, b"u,a,,1600000000000", b"v,a,,1600000000", b"u,b,,1600000001000", b"w,a,,", b"x,a,,2020-01-01T00"]
    folder = folder_of(tmp_path, ITEMS, rows)
    assert [(record.line, record.reason.split(",")[0]) for record in problems(folder)] == [
        (3, "timestamp is in seconds"),
        (5, "timestamp is empty"),
        (6, "timestamp is in ISO 8601"),
    ]
    mixed = [HEADER, b"u,a,,2020-01-01T00:00", b"u,b,,2020-01-01T00:00Z", b"v,b,,2020-01-01T00:00"]
    assert "ISO 8601 with a time zone, but most are in ISO 8601" in error_of(folder_of(tmp_path, ITEMS, mixed))


def test_dates_in_digits_have_two_readings(tmp_path):
    rows = [HEADER, b"u,a,,20200131", b"u,b,,19991231"]
    assert "timestamps could be dates (20200131) or seconds since 1970" in error_of(folder_of(tmp_path, ITEMS, rows))
    assert read(tmp_path, rows, time_unit="s")[0].events.times_E[0] == 20200131 * 10**9


def test_some_rows_without_a_time(tmp_path):
    rows = [HEADER, b"u,a,,5", b"u,b,,", b"v,a,,6", b"v,b,,7", b"w,b,,"]
    message = error_of(folder_of(tmp_path, ITEMS, rows))
    assert (
        "interactions.csv:3: timestamp is empty, but other rows have one (2 times; also interactions.csv:6)" in message
    )
    assert '{"order": "sequence"}' in message
    for order in ("sequence", "none"):
        raw, _ = read(tmp_path, rows, order=order)
        assert (raw.order, raw.order_reason, len(raw.events.users_E)) == (order, "declared", 5)
    skipped = schema.read(folder_of(tmp_path / "skip", ITEMS, rows), "skip").events
    assert (skipped.user_ids, skipped.users_E.tolist()) == (["u", "v"], [0, 1, 1])  # w has no row left
    with pytest.raises(ValueError, match="declared order is timestamp, but no row has a timestamp"):
        read(tmp_path, [b"user_id,item_id", b"u,a"], order="timestamp")


def test_a_row_of_another_encoding(tmp_path):
    rows = ["user_id,item_id,note", "Zoë,a,ü"]
    raw, _ = read(tmp_path, [row.encode("cp1252") for row in rows], encoding="cp1252")
    assert raw.events.user_ids == ["Zoë"]
    message = error_of(folder_of(tmp_path / "undeclared", ITEMS, [row.encode("cp1252") for row in rows]))
    assert "interactions.csv:2: not UTF-8; save the file as UTF-8, or say what it is in domain.json" in message

"""items.jsonl as commonly exported: unusual but unambiguous values are read with a note, HTML is removed."""

import json

import pytest

from llmrec_jax.data.domains import schema
from llmrec_jax.data.domains.records import item_text, plain
from tests.data.shops import ITEMS, error_of, folder_of


def read(tmp_path, *lines, **settings):
    """Items and notes of a catalogue."""
    known = b"user_id,item_id,timestamp\nu,a,1"
    raw = schema.read(folder_of(tmp_path, [ITEMS[0], *lines], [known], **settings), "fail")
    return raw.items[1:], [note for note in raw.findings.notes if "'unknown'" not in note]


@pytest.mark.parametrize(
    ("value", "item_id", "note"),
    [
        (7, "7", "items.jsonl: 1 item_ids are JSON numbers: read as text"),
        (7.0, "7", "items.jsonl: 1 item_ids are JSON numbers: read as text"),
        (" x ", "x", "items.jsonl: 1 item_ids had surrounding blanks, which were removed"),
    ],
)
def test_ids(tmp_path, value, item_id, note):
    (item,), notes = read(tmp_path, json.dumps({"item_id": value, "title": "T"}).encode())
    assert (item.item_id, notes) == (item_id, [note])


def test_lists_and_numbers_in_texts(tmp_path):
    line = {"item_id": "x", "title": 1984, "category": [["Books", None], ["Fiction"]], "description": ["a", "b"]}
    (item,), notes = read(tmp_path, json.dumps(line).encode())
    assert (item.title, item.category, item.description) == ("1984", "Books, Fiction", "a b")
    assert sorted(notes) == [
        "items.jsonl: 1 lists in category: joined",
        "items.jsonl: 1 lists in description: joined",
        "items.jsonl: 1 numbers in title: read as text",
    ]


def test_long_texts_are_cut(tmp_path):
    (item,), notes = read(tmp_path, json.dumps({"item_id": "x", "title": "T", "description": "y" * 1_200_000}).encode())
    assert len(item.description) == 100_000
    assert notes == ["items.jsonl: 1 description texts truncated to 100,000 characters"]


def test_names_of_fields(tmp_path):
    line = b'{"Item_ID": "x", " title": "T", "author": "Ann", "genres": "g", "price": 3, "tags": ["a"]}'
    (item,), notes = read(tmp_path, line, fields={"brand": "Author"})
    assert (item.item_id, item.title, item.brand) == ("x", "T", "Ann")
    assert item.attributes == {"genres": "g", "price": 3}
    assert notes == [
        "items.jsonl: 'Item_ID' read as item_id in 1 items",
        "items.jsonl: ' title' read as title in 1 items",
        'items.jsonl: fields that are used by filters only: genres (1), price (1); to read one: {"fields": '
        '{"category": NAME}} in domain.json',
        'items.jsonl: fields that are not read: tags (1); to read one: {"fields": {"category": NAME}} in domain.json',
    ]
    (item,), _ = read(tmp_path, line.replace(b"genres", b"brand"), fields={"brand": None})
    assert item.brand is None
    near = error_of(folder_of(tmp_path, [b'{"parent_asin": "x", "name": "T"}']))
    assert '\'parent_asin\' looks like it: rename it, or declare it in domain.json: {"fields": {"item_id": ' in near


def test_one_array_in_the_file(tmp_path):
    array = json.dumps([json.loads(line) for line in ITEMS], indent=1).encode()
    rows = [b"user_id,item_id,timestamp", b"u,a,1"]
    raw = schema.read(folder_of(tmp_path, [b"", array], rows), "fail")
    assert [item.item_id for item in raw.items] == ["a", "b"]
    assert raw.findings.notes[0] == "items.jsonl: one JSON array: read, its elements counted as lines"
    assert "items.jsonl:2: title is empty" in error_of(folder_of(tmp_path, [array.replace(b"Two", b" ")], rows))
    for whole_file in ([array[:-4]], [b"{", *array.splitlines()[2:-1]]):
        assert len(error_of(folder_of(tmp_path, whole_file, rows)).splitlines()) <= 3


def test_encodings(tmp_path):
    text = '{"item_id": "x", "title": "Misérables €"}'
    (item,), notes = read(tmp_path, text.encode("cp1252"), encoding="cp1252")
    assert (item.title, notes) == ("Misérables €", [])
    rows = [b"user_id,item_id,timestamp", b"u,x,1"]
    for encoding in ("utf-8-sig", "utf-16"):
        raw = schema.read(folder_of(tmp_path, [text.encode(encoding)], rows), "fail")
        assert raw.items[0].title == "Misérables €"
        assert raw.findings.notes == [f"items.jsonl: byte order mark: read as {encoding.removesuffix('-sig').upper()}"]
    assert "is not utf-16" in error_of(folder_of(tmp_path, [text.encode("utf-16")[:-1]], rows))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Tom &amp;amp; Anna &quot;2&quot; &#39;", 'Tom & Anna "2" \''),
        ('one<br>two <a href="x">three</a><!-- no -->', "one two three"),
        ("&lt;b&gt;bold&lt;/b&gt;", "bold"),
        ("<script>var x = 1;</script>Lamp", "Lamp"),
        ("<br>", ""),
        ("I <3 you, a < b > c, <unk>, AT&T, R&D; x", "I <3 you, a < b > c, <unk>, AT&T, R&D; x"),
    ],
)
def test_plain_text(text, expected):
    assert plain(text) == plain(plain(text)) == expected


def test_html_is_counted_and_a_title_never_lost(tmp_path):
    line = b'{"item_id": "x", "title": "<br>", "brand": "<b>Ann</b>", "description": "&lt;p&gt;"}'
    (item,), notes = read(tmp_path, line)
    assert (item.title, item.brand, item.description) == ("<br>", "Ann", "")
    assert "items.jsonl: HTML in 1 brand texts: entities unescaped, tags stripped" in notes


def test_the_text_of_an_item():
    facts = "Title", "category", "Brand", "d" * 300
    assert item_text(*facts) == "Title. Brand. category. " + "d" * 200
    assert item_text("Title", None, "", None) == "Title"
    assert item_text(*facts, fields=("description", "title"), description_chars=3) == "ddd. Title"
    assert item_text("A &amp; B", None, None, "<br>" + "d" * 200) == "A & B. " + "d" * 200

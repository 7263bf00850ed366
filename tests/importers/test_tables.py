# ruff: noqa: E501
"""Plain tables: columns are recognised by names in many languages and by values; cells in the forms that people have."""

import csv
import json

import pytest

from llmrec_jax.data.domains import prepare
from llmrec_jax.errors import UserError
from tests.importers import samples
from tests.importers.samples import ITEMS, LOG, START, lines, stamp, table
from tests.importers.test_formats import imported, records


def log(*names, rows=LOG, **dialect):
    return table([list(names), *(list(row) for row in rows)], **dialect)


def items(*names, rows=ITEMS, **dialect):
    return table([list(names), *(list(row) for row in rows)], **dialect)


def times(form):
    return [(user, item, stamp(time, form)) for user, item, _, time in LOG]


NAMED = items("item_id", "title", "category")
TWO_LINES = [(item, title, 'two\nlines, "q"; end') for item, title, _ in ITEMS]
FOREIGN = [(item, f"Кофе {item}", "Книги") for item, *_ in ITEMS]
EAST = [(item, f"海のカフェ{item}", "ほん") for item, *_ in ITEMS]
FRENCH = [(user, item, f"{rating},5", stamp(time, "%d/%m/%Y %H:%M")) for user, item, rating, time in LOG]
TABLES = {
    "columns in another order": {"o.csv": log("time", "rating", "item", "user", rows=[row[::-1] for row in LOG]),
                                 "p.csv": items("genre", "name", "item", rows=[row[::-1] for row in ITEMS])},
    "UTF-16": {"o.csv": log("customer_id", "product_id", "rating", "date").encode("utf-16"),
               "p.csv": items("product_id", "name", "category").encode("utf-16-le")},
    "byte order mark and tabs": {"o.txt": b"\xef\xbb\xbf" + log("user", "item", "score", "ts", delimiter="\t").encode(),
                                 "p.txt": items("item", "title", "genre", delimiter="\t")},
    "pipes": {"o.csv": log("user", "item", "score", "ts", delimiter="|"), "p.csv": items("item", "title", "genre", delimiter="|")},
    "Macintosh line ends": {"o.csv": log("user", "item", "score", "ts").replace("\n", "\r"), "p.csv": NAMED.replace("\n", "\r")},
    "line breaks in quotes": {"o.csv": log("user", "item", "score", "ts"), "p.csv": items("item", "title", "text", rows=TWO_LINES)},
    "line breaks between tabs": {"o.tsv": log("user", "item", "score", "ts", delimiter="\t"),
                                 "p.tsv": items("item", "title", "description", rows=TWO_LINES, delimiter="\t")},
    "quotes everywhere": {"o.csv": log("user", "item", "score", "ts", quoting=csv.QUOTE_ALL), "p.csv": NAMED},
    "empty columns of Excel": {
        "o.csv": log("Kunde", "Artikel", "Bewertung", "Zeit", "", "", rows=[(*row, "", "") for row in LOG], delimiter=";") + "Summe;;90;;;\n",
        "p.csv": items("Artikel", "Bezeichnung", "", rows=[(i, t, "") for i, t, _ in ITEMS], delimiter=";")},
    "Excel's first line": {"o.csv": "sep=;\n" + log("user", "item", "score", "ts", delimiter=";"), "p.csv": NAMED},
    "lines before the header": {"o.csv": "Orders of our shop\n\n" + log("user", "item", "score", "ts"), "p.csv": NAMED},
    "the header repeated": {"o.csv": log("user", "item", "score", "ts") + "user,item,score,ts\n", "p.csv": NAMED},
    "French": {"achats.csv": log("client", "produit", "note", "date", rows=FRENCH, delimiter=";"),
               "produits.csv": items("réf produit", "désignation", "catégorie", delimiter=";").encode("cp1252")},
    "Spanish": {"v.csv": log("id_usuario", "id_producto", "valoración", "fecha"), "p.csv": items("id_producto", "nombre", "categoría")},
    "Italian": {"v.csv": log("utente", "articolo", "voto", "data"), "p.csv": items("articolo", "titolo", "categoria")},
    "Dutch": {"v.csv": log("klant", "artikelnummer", "beoordeling", "datum"), "p.csv": items("artikelnummer", "naam", "categorie")},
    "Polish": {"o.csv": log("klient", "produkt", "ocena", "data"), "p.csv": items("produkt", "tytuł", "kategoria")},
    "Russian": {"o.csv": log("пользователь", "товар", "рейтинг", "дата").encode("cp1251"),
                "p.csv": items("товар", "название", "категория", rows=FOREIGN).encode("cp1251")},
    "Japanese": {"o.csv": log("顧客ID", "商品ID", "評価", "日時").encode("cp932"),
                 "p.csv": items("商品ID", "商品名", "カテゴリ", rows=EAST).encode("cp932")},
    "Chinese": {"o.csv": log("用户ID", "商品编号", "评分", "时间"), "p.csv": items("商品编号", "名称", "类别")},
    "unknown names": {"o.csv": log("aa", "bb", "cc", "dd"), "p.csv": items("zz", "xx", "yy")},
    "names with digits": {"o.csv": log("x1", "x2", "x3", rows=[(stamp(t, "%Y-%m-%d"), f"SK-{i}", f"c{u}") for u, i, _, t in LOG]),
                          "p.csv": items("y1", "y2", "y3", rows=[(g, t, f"SK-{i}") for i, t, g in ITEMS])},
    "a log without header": {"o.csv": samples.rows(","), "p.csv": items("product_id", "name", "category")},
    "index columns": {"o.csv": log("", "user_id", "item_id", "rating", "timestamp", rows=[(n, *row) for n, row in enumerate(LOG)]),
                      "p.csv": items("Unnamed: 0", "item_id", "title", rows=[(n, *row[:2]) for n, row in enumerate(ITEMS)])},
    "row names of R": {"o.csv": log("user", "item", "rating", "time", rows=[(n + 1, *row) for n, row in enumerate(LOG)]), "p.csv": NAMED},
    "numbers of pandas": {"o.csv": log("user_id", "item_id", "time", rows=[(f"{u}.0", f"{i}.0", f"{t}.0") for u, i, _, t in LOG]),
                          "p.csv": NAMED},
    "leading zeros": {"o.csv": log("user_id", "article_id", "rating", "timestamp"),
                      "p.csv": items("article_id", "title", "category", rows=[(i.zfill(9), *rest) for i, *rest in ITEMS])},
    "upper case": {"o.csv": log("user_id", "sku", "time", rows=[(u, f"ab{i}", t) for u, i, _, t in LOG]),
                   "p.csv": items("sku", "title", rows=[(f"AB{i}", t) for i, t, _ in ITEMS])},
    "one table": {"o.csv": log("CustomerID", "StockCode", "InvoiceDate", "Description", "UnitPrice", "Quantity",
                               rows=[(u, f"8512{i}", stamp(t, "%m/%d/%Y %H:%M"), ITEMS[int(i) - 1][1], 2.5, n)
                                     for n, (u, i, _, t) in enumerate(LOG)])},
    "only a log": {"o.csv": log("user", "item", "rating", "time")},
    "orders": {"orders.csv": log("order_id", "order_date", "customer_id", "customer_name", "product_id", "quantity",
                                 rows=[(n + 1000, stamp(t, "%Y-%m-%d"), f"C{u}", "Ann", f"P{i}", 2) for n, (u, i, _, t) in enumerate(LOG)]),
               "products.csv": items("id", "name", "category", "price", rows=[(f"P{i}", t, g, "$9.99") for i, t, g in ITEMS]),
               "customers.csv": table([["customer_id", "name"], ["C1", "Ann"], ["C9", "Tom"]])},
    "several ids": {"ratings.csv": log("user_id", "book_id", "rating", "time"),
                    "books.csv": items("id", "book_id", "goodreads_book_id", "title",
                                       rows=[(n, i, 27670 + n, t) for n, (i, t, _) in enumerate(ITEMS)])},
    "backslashes before quotes": {"r.csv": log("User-ID", "ISBN", "Book-Rating", "time", delimiter=";", quoting=csv.QUOTE_ALL),
                                  "b.csv": "".join(f'"{i}";"{t}"\n' for i, t in [("ISBN", "Book-Title"),
                                           *((i, t.replace('"', '\\"')) for i, t, _ in ITEMS)])},
    "JSON": {"o.json": lines([dict(zip(("user", "item", "rating", "time"), row, strict=True)) for row in LOG]),
             "p.json": str([{"item": i, "title": "t" + i, "tags": [g]} for i, _, g in ITEMS]).replace("'", '"')},
    "JSON of pandas": {
        "o.json": json.dumps({"columns": ["user", "item", "rating", "time"], "index": list(range(len(LOG))), "data": LOG}),
        "p.json": json.dumps({name: {str(n): row[at] for n, row in enumerate(ITEMS)} for at, name in enumerate(("item", "title", "tags"))})},
    "names in brackets": {"o.csv": log("[user]", "[item]", "[time]", rows=[(u, i, t) for u, i, _, t in LOG]), "p.csv": NAMED},
    "ids as fractions": {"o.json": lines([{"user": float(u), "item": float(i), "time": t} for u, i, _, t in LOG])},
    "JSON by rows": {
        "o.json": json.dumps({"orders": [{"user": u, "item": i, "time": t} for u, i, _, t in LOG], "version": 3}),
        "p.json": json.dumps({f"row {n}": {"item": i, "title": t} for n, (i, t, _) in enumerate(ITEMS)})},
    "columns numbered by pandas": {"o.csv": log("0", "1", "2", "3"), "p.csv": items("0", "1", "2")},
    "a catalogue without titles": {"o.csv": log("user", "item", "rating", "time"), "p.csv": items("item", "genre", rows=[(i, g) for i, _, g in ITEMS])},
    "one unknown name": {"o.csv": log("Buyer", "Thing", "When", rows=[(u, i, t) for u, i, _, t in LOG])},
    "a table of genres": {"r.dat": log("userID", "movieID", "rating", "time", delimiter="\t"),
                          "movies.dat": items("id", "title", "imdbID", "year", rows=[(i, t, f"01144{i}", 1995) for i, t, _ in ITEMS], delimiter="\t"),
                          "genres.dat": items("movieID", "genre", rows=[(i, g) for i, _, g in ITEMS], delimiter="\t")},
    "ids without a name": {"o.csv": log("user", "item", "rating", "time"), "p.csv": items("", "title", "", rows=[(i, t, g) for i, t, g in ITEMS])},
    "several files": {"2019.csv": log("user", "item", "time", rows=[(u, i, t) for u, i, _, t in LOG[:9]]),
                      "2020.csv": log("user", "item", "time", rows=[(u, i, t) for u, i, _, t in LOG[9:]]), "p.csv": NAMED},
    "German dates": {"o.csv": log("user", "item", "time", rows=times("%d.%m.%Y %H:%M:%S")), "p.csv": NAMED},
    "American dates": {"o.csv": log("user", "item", "time", rows=times("%m/%d/%Y %I:%M:%S %p")), "p.csv": NAMED},
    "milliseconds": {"o.csv": log("user", "item", "time", rows=[(u, i, t * 1000) for u, i, _, t in LOG]), "p.csv": NAMED},
    "dates as numbers": {"o.csv": log("user", "item", "date", rows=times("%Y%m%d")), "p.csv": NAMED},
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_without_a_hint(tmp_path, name):
    folder = samples.write(tmp_path / "raw", TABLES[name])
    imported([folder], tmp_path / "to")
    catalogue, events = records(tmp_path / "to")
    report = prepare.build(tmp_path / "to", "fail", None).report
    assert (report["items"], report["users"], report["interactions"]) == (len(ITEMS), 6, len(LOG))
    known = {samples.number_of(item["item_id"]) for item in catalogue}
    assert len(known) == len(ITEMS)
    if name == "ids as fractions":
        assert all(item["title"] == item["item_id"] for item in catalogue)
    elif name not in ("only a log", "one unknown name"):
        assert not any(item["title"] == item["item_id"] for item in catalogue)
    if "timestamp" in events[0]:
        days = {(row["user_id"].strip("Cc"), int(float(row["timestamp"]) // 86_400)) for row in events}
        assert days == {(user, time // 86_400) for user, _, _, time in LOG}
    else:
        raise AssertionError("no time was read")


def test_what_cannot_be_taken_is_left_out_and_listed(tmp_path):
    rows = [*LOG, ("", "1", 3, 5), ("u", "99", 3, 5), ("u", "7", "good", 5), ("u", "1", 3, ""), ("u", "1", 3, "soon"),
            ("u", "N", 3, 5), ("u", "", 3, 5), ("u", "1", 3), LOG[0]]  # fmt: skip
    catalogue = [*ITEMS, ("N", "", "x"), ("1", "Other", "x"), ("", "No id", "x")]
    folder = samples.write(tmp_path / "raw", {"o.csv": log("user", "item", "rating", "time", rows=rows),
                                              "p.csv": items("item", "title", "category", rows=catalogue)})  # fmt: skip
    _, counts = imported([folder], tmp_path / "to")
    with (tmp_path / "to" / "left_out.csv").open(newline="") as file:
        left_out = list(csv.DictReader(file))
    assert [(row["file"], int(row["line"]), row["reason"]) for row in left_out] == [
        ("p.csv", 10, "title is empty"),
        ("p.csv", 11, "item_id occurs on an earlier line too"),
        ("p.csv", 12, "item_id is empty"),
        ("o.csv", 32, "user_id is empty"),
        ("o.csv", 33, "item_id is not among the items"),
        ("o.csv", 35, "timestamp is empty"),
        ("o.csv", 36, "timestamp is not understood"),
        ("o.csv", 37, "the line of its item is left out"),
        ("o.csv", 38, "item_id is empty"),
        ("o.csv", 39, "wrong number of columns: most rows have 4"),
    ]
    assert sum(counts.left_out.values()) == len(left_out)
    assert counts.interactions + sum(row["file"] == "o.csv" for row in left_out) == len(rows)
    assert counts.unread_ratings == 1
    assert prepare.build(tmp_path / "to", "fail", None).report["repeats_dropped"] == 1


def test_whatever_is_written_is_sound(tmp_path):
    names = ("user_id", "item_id", "rating", "timestamp", "weight", "action", "impression_id")
    good = [("u", "1", 3, START, 1, "Click", "a"), ("u", "2", 3, START, 0, "view", "a"), ("u", "3", 3, START, 2, "", ""),
            ("u", "4", 3, START, 1, "click", "")]  # fmt: skip
    bad = [("u", "1", 3, START, weight, "", "") for weight in (-1, "1e-40", "", "much")]
    bad += [("u", "1", 3, START, 1, action, name) for action, name in (("buy", "a"), ("view", ""))]
    bad += [(user, "1", 3, START, 1, "", "") for user in ("u" * 2000, "u\nv")]
    bad += [("u", "1", 3, time, 1, "", "") for time in ("2999-01-01", "9" * 25)]
    rows = [*good * 5, ("u", "1", "1e300", START, 1, "", ""), *bad]
    catalogue = [*ITEMS, ("x\ny", "Line", "d"), ("n", "A\0B\tC", "d"), ("t", "  ", "d")]
    folder = samples.write(
        tmp_path / "raw",
        {"o.csv": log(*names, rows=rows), "p.csv": items("item_id", "title", "category", rows=catalogue)},
    )
    _, counts = imported([folder], tmp_path / "to")
    assert (counts.interactions, counts.shown, counts.unread_ratings) == (16, 5, 1)
    assert sum(counts.left_out.values()) == len(bad) + 2
    assert prepare.build(tmp_path / "to", "fail", None).report["impressions"] == 1
    assert records(tmp_path / "to")[0][-1]["title"] == "AB C"


def test_further_columns_of_products_are_kept(tmp_path):
    products = items("index", "item", "title", "price", "Farbe", "stock", "image_url", "Title ", "Größe",
                     rows=[(n, i, t, "1.299,00 €", "rot", 4, "http://x", "other", None) for n, (i, t, _) in enumerate(ITEMS)])  # fmt: skip
    folder = samples.write(tmp_path / "raw", {"o.csv": log("user", "item", "rating", "time"), "p.csv": products})
    imported([folder], tmp_path / "to")
    item = records(tmp_path / "to")[0][0]
    assert item == {"item_id": "1", "title": ITEMS[0][1], "price": 1299, "Farbe": "rot", "stock": 4}


def test_prices_in_any_form(tmp_path):
    forms = ["$12.99", "12,99 €", "$1,299", "1.299 €", "1.299", "1,234.50", {"a": 1}, None]
    catalogue = lines(
        [{"item": item, "title": title, "price": price} for (item, title, _), price in zip(ITEMS, forms, strict=True)]
    )
    folder = samples.write(tmp_path / "raw", {"o.csv": log("user", "item", "rating", "time"), "p.jsonl": catalogue})
    imported([folder], tmp_path / "to")
    assert [item.get("price") for item in records(tmp_path / "to")[0]] == [
        12.99,
        12.99,
        1299,
        1299,
        1.299,
        1234.5,
        None,
        None,
    ]


def test_ambiguous_dates_are_settled_by_the_whole_file(tmp_path):
    rows = [(f"u{n % 50}", str(n % 8 + 1), f"0{n % 9 + 1}/02/2020") for n in range(2_100)] + [("u1", "1", "28/02/2020")]
    folder = samples.write(tmp_path / "raw", {"o.csv": log("user", "item", "date", rows=rows), "p.csv": NAMED})
    imported([folder], tmp_path / "to")
    assert {row["timestamp"] for row in records(tmp_path / "to")[1]} <= {
        str(1580515200 + n * 86_400) for n in range(29)
    }


def test_files_of_one_log_are_read_alike(tmp_path):
    days = {"1.csv": "11/01/2019", "2.csv": "11/15/2019"}
    files = {name: log("user", "item", "rating", "date", rows=[(u, i, r - (name == "1.csv"), day) for u, i, r, _ in LOG * (1 + (name == "2.csv"))],
                       delimiter=";") for name, day in days.items()}  # fmt: skip
    files["1.csv"] = files["1.csv"].replace(";1;", ";0;").replace(";4;", ";5;")
    imported([samples.write(tmp_path / "raw", {**files, "p.csv": NAMED})], tmp_path / "to")
    rows = records(tmp_path / "to")[1]
    assert {int(row["timestamp"]) // 86_400 - 18_201 for row in rows} == {0, 14}  # the first is in November
    assert "0" in {row["rating"] for row in rows}  # the larger file has no zero


def test_zeros_are_no_ratings_where_most_are(tmp_path):
    rows = [(user, item, 0 if n % 2 else 10, time) for n, (user, item, _, time) in enumerate(LOG)]
    folder = samples.write(
        tmp_path / "raw", {"o.csv": log("user", "item", "rating", "time", rows=rows), "p.csv": NAMED}
    )
    imported([folder], tmp_path / "to")
    assert {row["rating"] for row in records(tmp_path / "to")[1]} == {"", "10"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"x.csv": "a,b\n1,2\n3,4\n"}, r"(?s)no table with a column of users .*x.csv .*a \(1\), b \(2\).*--map user=COLUMN"),
        ({"x.bin": bytes(range(256))}, r"x.bin \(\): no table: neither JSON nor rows"),
        ({"p.csv": NAMED}, "no table with a column of users"),
        ({"o.csv": log("user", "item", "time"), "p.csv": items("item", "title", rows=[("x", "X"), ("y", "Y")])}, "no interaction is left"),
        ({"x.csv.gz": b""}, "x.csv.gz"),
    ],
)  # fmt: skip
def test_what_is_not_recognised(tmp_path, files, message):
    folder = samples.write(tmp_path / "raw", files)
    with pytest.raises(UserError, match=message):
        imported([folder], tmp_path / "to")
    assert not (tmp_path / "to").exists()


def test_the_folder_must_be_new_and_the_paths_must_exist(tmp_path):
    folder = samples.write(tmp_path / "raw", {"o.csv": log("user", "item", "rating", "time")})
    with pytest.raises(UserError, match="raw exists and is not an empty folder"):
        imported([folder], folder)
    with pytest.raises(UserError, match="nowhere: no such file"):
        imported([tmp_path / "nowhere"], tmp_path / "to")


def test_columns_that_the_user_names(tmp_path):
    rows = [(user, item, item, time) for user, item, _, time in LOG]
    folder = samples.write(
        tmp_path / "raw", {"o.csv": log("who", "what", "when", "at", rows=rows), "p.csv": items("what", "wie", "x")}
    )
    plan, _ = imported([folder], tmp_path / "to", "user=WHO", "item=what", "title=p.csv:wie", "rating=", "time=at")
    assert plan.events[0].roles == {"user_id": "who", "item_id": "what", "timestamp": "at"}
    assert plan.items[0].roles["title"] == "wie"
    for wrong, message in (
        ("user", "write FIELD=COLUMN"),
        ("usr=x", "nearest: user"),
        ("user=nobody", "no file has this column"),
    ):
        with pytest.raises(UserError, match=message):
            imported([folder], tmp_path / "other", wrong)


def test_columns_that_are_asked_for(tmp_path):
    folder = samples.write(tmp_path / "raw", {"o.csv": log("aa", "bb", "cc", "dd")})
    asked = []

    def ask(question, choices):
        asked.append(question)
        return choices[0]

    plan, _ = imported([folder], tmp_path / "to", ask=ask)
    assert plan.events[0].roles["user_id"] == "aa"
    assert plan.events[0].roles["item_id"] == "bb"
    assert [question.split(": ")[1] for question in asked] == [
        "which column holds the user?",
        "which column holds the item?",
    ]
    with pytest.raises(UserError, match="no table with a column of users"):
        imported([folder], tmp_path / "other", ask=lambda question, choices: None)

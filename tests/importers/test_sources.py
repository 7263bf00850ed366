"""Where tables come from: archives, compressed files, Parquet, databases, TFDS; and that imports stream."""

import bz2
import datetime
import decimal
import gzip
import io
import lzma
import sqlite3
import tarfile
import tracemalloc
import zipfile
from html import escape

import numpy as np
import pytest
import tensorflow_datasets as tfds

from llmrec_jax import importers
from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import load_domain
from llmrec_jax.data.domains.tfds_export import export
from llmrec_jax.errors import UserError
from llmrec_jax.importers import databases, workbooks
from tests.importers import samples
from tests.importers.samples import ITEMS, LOG, movielens_csv
from tests.importers.test_formats import imported, records

CONTENT = {
    name: str(content).encode() for name, content in movielens_csv().items() if name in ("movies.csv", "ratings.csv")
}
COLUMNS = ("user_id", "item_id", "rating", "time")


def check(paths, to):
    plan, counts = imported(paths, to)
    assert (counts.items, counts.interactions, dict(counts.left_out)) == (len(ITEMS), len(LOG), {})
    rows = sorted((row["user_id"], row["item_id"], float(row["rating"])) for row in records(to)[1])
    assert rows == sorted((user, item, float(rating)) for user, item, rating, _ in LOG)
    return plan


def test_archives_and_compressed_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "ml.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in CONTENT.items():
            archive.writestr(f"ml-latest/{name}", content)
        archive.writestr("__MACOSX/ml-latest/._movies.csv", b"\0")
    plan = check([tmp_path / "ml.zip"], tmp_path / "zip")
    assert plan.events[0].table.name == "ml.zip/ml-latest/ratings.csv"
    with tarfile.open(tmp_path / "ml.tar.gz", "w:gz") as archive:
        for name, content in CONTENT.items():
            member = tarfile.TarInfo(f"ml/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    check([tmp_path / "ml.tar.gz"], tmp_path / "tar")
    for suffix, compress in ((".gz", gzip.compress), (".bz2", bz2.compress), ("", lzma.compress)):
        folder = samples.write(tmp_path / f"raw{suffix}", {})
        for name, content in CONTENT.items():
            (folder / f"{name}{suffix}").write_bytes(compress(content))
        check([folder], tmp_path / f"to{suffix}")


def test_a_damaged_file_is_named(tmp_path):
    whole = gzip.compress(CONTENT["ratings.csv"])
    for damaged in (whole[:-20], whole[:40] + b"xxxx" + whole[44:]):
        (tmp_path / "ratings.csv.gz").write_bytes(damaged)
        with pytest.raises(UserError, match=r"ratings.csv.gz: is damaged or was not copied whole"):
            importers.plan([str(tmp_path)])


def test_parquet_and_feather(tmp_path):
    pyarrow, parquet, feather = (pytest.importorskip(f"pyarrow{name}") for name in ("", ".parquet", ".feather"))
    log = pyarrow.table(dict(zip(COLUMNS, zip(*LOG, strict=True), strict=True)))
    catalogue = pyarrow.table({"item_id": [item for item, *_ in ITEMS], "title": [title for _, title, _ in ITEMS],
                               "tags": [[genre, "War"] for *_, genre in ITEMS],
                               "weight": [decimal.Decimal("2.50")] * len(ITEMS), "new": [True] * len(ITEMS),
                               "made": [datetime.date(2020, 5, 31)] * len(ITEMS)})  # fmt: skip
    samples.write(tmp_path / "raw", {})
    parquet.write_table(log, tmp_path / "raw" / "log.parquet")
    feather.write_feather(catalogue, tmp_path / "raw" / "items.feather", compression="uncompressed")
    check([tmp_path / "raw"], tmp_path / "to")
    found = records(tmp_path / "to")[0][0]
    assert found["category"] == "Drama, War"
    assert (found["weight"], found["new"], found["made"]) == (2.5, True, "2020-05-31")


def workbook(sheets, numbered=True):
    """A workbook as Excel writes it: shared texts, dates as numbers with a style, empty cells left out. Some
    programs do not number the rows."""
    texts = list(dict.fromkeys(cell for _, rows in sheets for row in rows for cell in row if isinstance(cell, str)))
    parts = {
        "[Content_Types].xml": "<Types/>",
        "xl/workbook.xml": f'<workbook xmlns="m" xmlns:r="{workbooks.RELATION[1:-3]}"><sheets>' + "".join(
            f'<sheet name="{name}" r:id="r{n}"/>' for n, (name, _) in enumerate(sheets)) + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": "<Relationships>" + "".join(
            f'<Relationship Id="r{n}" Target="worksheets/s{n}.xml"/>' for n in range(len(sheets))) + "</Relationships>",
        "xl/styles.xml": '<styleSheet><numFmts><numFmt numFmtId="165" formatCode="dd/mm/yyyy;@"/></numFmts>'
                         '<cellXfs><xf numFmtId="0"/><xf numFmtId="165"/></cellXfs></styleSheet>',
        "xl/sharedStrings.xml": "<sst>" + "".join(f"<si><t>{escape(text)}</t></si>" for text in texts) + "</sst>",
    }  # fmt: skip
    for n, (_, rows) in enumerate(sheets):
        lines = ""
        for number, row in enumerate(rows, 1):
            cells = [
                f'<c r="{chr(65 + at)}{number}" ' + (f't="s"><v>{texts.index(cell)}' if isinstance(cell, str) else
                                                     f's="{int(isinstance(cell, float))}"><v>{cell}') + "</v></c>"
                for at, cell in enumerate(row) if cell is not None
            ]  # fmt: skip
            lines += f'<row r="{number}">{"".join(cells)}</row>' if numbered else f"<row>{''.join(cells)}</row>"
        parts[f"xl/worksheets/s{n}.xml"] = f"<worksheet><sheetData>{lines}</sheetData></worksheet>"
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_a_workbook_of_excel(tmp_path):
    days = [(user, int(item), rating, 25_569 + time / 86_400) for user, item, rating, time in LOG]
    catalogue = [["Artikel", "Leer", "Titel"], *([int(item), None, title] for item, title, _ in ITEMS)]
    log = [["Kunde", "Artikel", "Bewertung", "Datum"], *days]
    sheets = [("Notes", [["about"]]), ("Log", log), ("Artikel", catalogue)]
    (tmp_path / "shop.xlsx").write_bytes(workbook(sheets))
    plan = check([tmp_path / "shop.xlsx"], tmp_path / "to")
    assert plan.events[0].table.name == "shop.xlsx/Log"
    items, rows = records(tmp_path / "to")
    assert {item["item_id"]: item["title"] for item in items} == {item: title for item, title, _ in ITEMS}
    assert sorted(int(row["timestamp"].split(".")[0]) for row in rows) == sorted(time for *_, time in LOG)
    (tmp_path / "bare.xlsx").write_bytes(workbook(sheets, numbered=False))
    check([tmp_path / "bare.xlsx"], tmp_path / "same")
    assert records(tmp_path / "same") == (items, rows)
    (tmp_path / "shop.xlsx").write_bytes(workbook([*sheets[:2], ("Artikel", [])])[:-30])
    with pytest.raises(UserError, match="is damaged or was not copied whole"):
        importers.plan([str(tmp_path / "shop.xlsx")])


@pytest.fixture
def shop_tables():
    """Statements that make two tables."""
    log = ", ".join(f"('{user}', '{item}', {rating}, {time})" for user, item, rating, time in LOG)
    quoted = [(item, title.replace("'", "''"), genre) for item, title, genre in ITEMS]
    items = ", ".join(f"('{item}', '{title}', '{genre}')" for item, title, genre in quoted)
    return (
        "CREATE TABLE orders (customer VARCHAR(9), product VARCHAR(9), rating INTEGER, time BIGINT)",
        f"INSERT INTO orders VALUES {log}",
        "CREATE TABLE products (product VARCHAR(9), name VARCHAR(99), category VARCHAR(99))",
        f"INSERT INTO products VALUES {items}",
        "CREATE TABLE other (a INTEGER)",
    )


def test_duckdb(tmp_path, shop_tables):
    with pytest.importorskip("duckdb").connect(str(tmp_path / "shop.duckdb")) as connection:
        for statement in shop_tables:
            connection.execute(statement)
    url = f"duckdb:///{tmp_path}/shop.duckdb"
    check([f"{url}?table=orders", f"{url}?table=products"], tmp_path / "to")
    check([url], tmp_path / "all")
    check([tmp_path / "shop.duckdb"], tmp_path / "file")
    with pytest.raises(UserError, match="no table 'x'; it has orders, other, products"):
        importers.plan([f"{url}?table=x"])
    with pytest.raises(UserError, match="cannot be opened by DuckDB"):
        importers.plan(["duckdb:///nowhere.duckdb"])


def test_sqlalchemy(tmp_path, shop_tables, monkeypatch):
    pytest.importorskip("sqlalchemy")
    connection = sqlite3.connect(tmp_path / "shop.db")
    for statement in shop_tables:
        connection.execute(statement)
    connection.commit()
    connection.close()
    url = f"sqlite:///{tmp_path}/shop.db"
    check([f"{url}?table=orders", f"{url}?table=products"], tmp_path / "to")
    check([tmp_path / "shop.db"], tmp_path / "file")
    with pytest.raises(UserError, match="no table 'x'; it has orders, other, products"):
        importers.plan([f"{url}?table=x"])
    with pytest.raises(UserError) as error:
        importers.plan(["nosuch://me:secret@host/shop"])
    assert "secret" not in str(error.value)
    monkeypatch.setattr(databases.importlib, "import_module", lambda name: (_ for _ in ()).throw(ModuleNotFoundError()))
    with pytest.raises(UserError, match=r"needs sqlalchemy: pip install 'llmrec_jax\[tables\]'"):
        importers.plan([url])


def test_an_exported_domain_comes_back(tmp_path):
    config = DataConfig(cache_dir=str(tmp_path / "cache"))
    folder = samples.write(tmp_path / "raw", movielens_csv())
    imported([folder], tmp_path / "films")
    domain = load_domain(str(tmp_path / "films"), config)
    export(domain, tmp_path / "exported")
    imported([f"tfds:{tmp_path / 'exported'}"], tmp_path / "to")
    again = load_domain(str(tmp_path / "to"), config)
    assert (again.item_ids, again.titles, again.texts) == (domain.item_ids, domain.titles, domain.texts)
    assert again.user_ids == domain.user_ids
    for name in ("items_E", "ratings_E", "timestamps_E", "offsets"):
        assert getattr(again, name).tolist() == pytest.approx(getattr(domain, name).tolist(), nan_ok=True), name


class Ratings(tfds.core.GeneratorBasedBuilder):
    """A TFDS dataset like movielens/100k-ratings."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        text = tfds.features.Text()
        genres = tfds.features.Sequence(tfds.features.ClassLabel(names=["Drama", "Comedy"]))
        return tfds.core.DatasetInfo(builder=self, disable_shuffling=True, features=tfds.features.FeaturesDict(
            {"data": {"movie_id": text, "movie_title": text, "movie_genres": genres, "user_id": text,
                      "user_rating": tfds.features.Scalar(np.float32),
                      "timestamp": tfds.features.Scalar(np.int64)}}))  # fmt: skip

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for n, (user, item, rating, time) in enumerate(LOG):
            _, title, genre = ITEMS[int(item) - 1]
            yield n, {"data": {"movie_id": item, "movie_title": title, "movie_genres": [genre], "user_id": user,
                               "user_rating": float(rating), "timestamp": time}}  # fmt: skip


def test_a_tfds_dataset(tmp_path, capsys):
    builder = Ratings(data_dir=str(tmp_path), file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    capsys.readouterr()
    check([f"tfds:{builder.data_dir}"], tmp_path / "to")
    item = records(tmp_path / "to")[0][0]
    assert item == {"item_id": "4", "title": ITEMS[3][1], "category": "Comedy"}
    with pytest.raises(UserError, match="tfds:no_such_data: neither a folder nor a dataset that TFDS knows"):
        importers.plan(["tfds:no_such_data"])


def test_memory_does_not_grow_with_the_log(tmp_path):
    peaks = []
    for size in (4_000, 16_000):
        rows = (f"u{n % 97},{n % 8 + 1},{n % 5 + 1},{1_600_000_000 + n}\n" for n in range(size))
        folder = samples.write(tmp_path / str(size), {"o.csv": "user,item,rating,time\n" + "".join(rows),
                                                      "p.csv": CONTENT["movies.csv"]})  # fmt: skip
        plan = importers.plan([str(folder)])
        tracemalloc.start()
        counts = importers.write(plan, tmp_path / f"to{size}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert counts.interactions == size
    assert peaks[1] < 1.2 * peaks[0]

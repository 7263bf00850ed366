"""Reads Parquet, Feather and database tables, in batches. Needs the extra `tables`, imported where it is used.

A database is `duckdb:///shop.duckdb?table=orders` or a SQLAlchemy URL, `postgresql://host/db?table=orders`; without
`table`, all its tables are read. Files of SQLite and DuckDB are recognised.
"""

import importlib
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from llmrec_jax.errors import UserError
from llmrec_jax.importers.files import File
from llmrec_jax.importers.table import SAMPLE, Rows, Table
from llmrec_jax.progress import Meter

BATCH = 10_000  # rows
EXTRA = "pip install 'llmrec_jax[tables]'"
SQLITE, DUCKDB, PARQUET, ARROW = b"SQLite format 3\0", b"DUCK", b"PAR1", b"ARROW1"


def library(name: str, what: str) -> Any:
    """A module of the extra `tables`. Raises `UserError` if it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        raise UserError(f"{what} needs {name.split('.')[0]}: {EXTRA}") from None


def is_url(path: str) -> bool:
    """Whether a path is a database URL."""
    return "://" in path


def open_parquet(file: File) -> Table:
    """The table of a Parquet or Feather file."""
    if file.path is None:
        raise UserError(f"{file.name}: unpack the archive first: Parquet and Feather files are not read from archives")
    dataset = library("pyarrow.dataset", file.name)
    form = "parquet" if file.start(4) == PARQUET else "feather"
    try:
        data = dataset.dataset(str(file.path), format=form)
        columns = tuple(data.schema.names)
        sample = [list(row.values()) for row in data.head(SAMPLE).to_pylist()]
    except (OSError, ValueError) as error:
        raise UserError(f"{file.name}: cannot be read as {form}: {error}") from None

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        total, before = max(1, data.count_rows()), 0
        for batch in data.to_batches(columns=list(wanted), batch_size=BATCH):
            cells = [batch.column(name).to_pylist() for name in wanted]
            yield from enumerate(zip(*cells, strict=True), before + 1)
            before += batch.num_rows
            if meter:
                meter.advance(file.size * batch.num_rows // total)

    return Table(file.name, form.title(), columns, sample, read, file.size)


def open_file(file: File, start: bytes) -> list[Table] | None:
    """The tables of a database file; None if it is none."""
    if start.startswith(SQLITE):
        return open_url(f"sqlite:///{file.path}", file.name)
    if start[8:12] == DUCKDB:
        return open_url(f"duckdb:///{file.path}", file.name)
    return None


def open_url(url: str, name: str = "") -> list[Table]:
    """The table that a URL names, or all tables of the database. Raises `UserError` if it cannot be opened."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query)
    wanted = [value for key, value in query if key == "table"]
    if parts.scheme == "duckdb":
        opened: Any = _DuckDB(parts.path[1:], url)  # duckdb:///shop.duckdb is relative, duckdb:////data/... absolute
    else:
        rest = urlencode([(key, value) for key, value in query if key != "table"])
        bare = url.split("?")[0] + (f"?{rest}" if rest else "")
        opened = _SQLAlchemy(bare, urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="")))
    names = wanted or opened.names()
    if not names:
        raise UserError(f"{opened.shown}: the database has no table")
    return [_table(opened, table, f"{name}/{table}" if name else table) for table in names]


def _table(opened: Any, table: str, name: str) -> Table:
    columns = opened.columns(table)
    sample = [list(row) for row in opened.rows(table, columns, SAMPLE)]

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        yield from enumerate(opened.rows(table, wanted, None), 1)

    return Table(name, f"table of {opened.shown}", tuple(columns), sample, read)


class _DuckDB:
    """A DuckDB file, opened for reading only."""

    def __init__(self, path: str, url: str):
        self.duckdb = library("duckdb", url)
        self.shown = path
        try:
            self.connection = self.duckdb.connect(path, read_only=True)
        except self.duckdb.Error as error:
            raise UserError(f"{path}: cannot be opened by DuckDB: {error}") from None

    def names(self) -> list[str]:
        return [row[0] for row in self.connection.execute("SHOW TABLES").fetchall()]

    def columns(self, table: str) -> list[str]:
        try:
            return [row[0] for row in self.connection.execute(f"DESCRIBE {_quoted(table)}").fetchall()]
        except self.duckdb.Error:
            raise UserError(f"{self.shown}: no table {table!r}; it has {', '.join(self.names())}") from None

    def rows(self, table: str, columns: Sequence[str], limit: int | None) -> Iterator[Sequence[Any]]:
        chosen = ", ".join(map(_quoted, columns))
        query = f"SELECT {chosen} FROM {_quoted(table)}" + (f" LIMIT {limit}" if limit else "")
        result = self.connection.cursor().execute(query)
        while batch := result.fetchmany(BATCH):
            yield from batch


class _SQLAlchemy:
    """A database that SQLAlchemy knows, by its URL. `shown` is the URL without a password."""

    def __init__(self, url: str, shown: str):
        self.sqlalchemy, self.shown = library("sqlalchemy", shown), shown
        try:
            self.engine = self.sqlalchemy.create_engine(url, poolclass=self.sqlalchemy.pool.NullPool)
            self.inspector = self.sqlalchemy.inspect(self.engine)
        except ModuleNotFoundError as error:
            raise UserError(f"{shown}: needs the driver {error.name}: pip install {error.name}") from None
        except (self.sqlalchemy.exc.SQLAlchemyError, ValueError) as error:
            raise UserError(
                f"{shown}: cannot be opened: {type(error).__name__}; check the address and the password"
            ) from None

    def names(self) -> list[str]:
        return [*self.inspector.get_table_names(), *self.inspector.get_view_names()]

    def columns(self, table: str) -> list[str]:
        try:
            return [column["name"] for column in self.inspector.get_columns(*_with_schema(table))]
        except self.sqlalchemy.exc.NoSuchTableError:
            raise UserError(f"{self.shown}: no table {table!r}; it has {', '.join(self.names())}") from None

    def rows(self, table: str, columns: Sequence[str], limit: int | None) -> Iterator[Sequence[Any]]:
        sql = self.sqlalchemy
        name, schema = _with_schema(table)
        chosen = sql.select(*map(sql.column, columns)).select_from(sql.table(name, schema=schema)).limit(limit)
        with self.engine.connect().execution_options(stream_results=True) as connection:
            for batch in connection.execute(chosen).partitions(BATCH):
                yield from batch


def _with_schema(table: str) -> tuple[str, str | None]:
    """ "sales.orders" -> the table and its schema."""
    schema, _, name = table.rpartition(".")
    return name, schema or None


def _quoted(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'

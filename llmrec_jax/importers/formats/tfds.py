"""TFDS datasets on this machine: MovieLens and others with plain features, and what `llmrec export-tfds` wrote."""

import itertools
from collections.abc import Sequence

from llmrec_jax.importers.table import SAMPLE, Rows, Table
from llmrec_jax.progress import Meter

PREFIX = "tfds:"
OWN_EVENTS = {"items": "item_id", "ratings": "rating", "timestamps": "timestamp", "weights": "weight"}
OWN_TEXTS = ("title", "category", "brand", "description")


def open_tfds(spec: str) -> list[Table]:
    """The tables of `tfds:NAME`, one per split. Raises `UserError` if the dataset is not on this machine."""
    from llmrec_jax.data.domains.tfds_records import open_dataset

    splits = open_dataset(spec.removeprefix(PREFIX))
    if {"items", "users"} == splits.keys() and {"id", "title", "items"} <= set(splits["items"].features):
        return _own(spec, splits["items"], splits["users"])
    return [_table(f"{spec}:{name}", records) for name, records in splits.items()]


def _table(name: str, records: object) -> Table:
    first = list(itertools.islice(records, SAMPLE))  # type: ignore[call-overload]
    columns = tuple(dict.fromkeys(itertools.chain.from_iterable(first)))

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        for number, record in enumerate(records, 1):  # type: ignore[arg-type, var-annotated]
            yield number, [record.get(column) for column in wanted]

    return Table(name, "TFDS", columns, [[record.get(c) for c in columns] for record in first], read)


def _own(spec: str, items: object, users: object) -> list[Table]:
    """The two tables of `export-tfds`: a user's record holds numbers of items, and arrays of the rest."""
    ids = [record["id"] for record in items]  # type: ignore[attr-defined]
    arrays = [name for name in OWN_EVENTS if name in users.features]  # type: ignore[attr-defined]
    columns = ("user_id", *(OWN_EVENTS[name] for name in arrays))

    def rows() -> Rows:
        numbers = itertools.count(1)
        for record in users:  # type: ignore[attr-defined]
            for cells in zip(*(record[name] for name in arrays), strict=True):
                yield next(numbers), (record["id"], ids[cells[0]], *map(_present, arrays[1:], cells[1:]))

    sample = [cells for _, cells in itertools.islice(rows(), SAMPLE) if not isinstance(cells, ValueError)]
    if "timestamp" in columns and all(cells[columns.index("timestamp")] is None for cells in sample):
        columns = tuple("" if column == "timestamp" else column for column in columns)

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        at = [columns.index(column) for column in wanted]
        for number, cells in rows():
            yield number, cells if isinstance(cells, ValueError) else [cells[n] for n in at]

    roles = {column: column for column in columns if column}
    log = Table(f"{spec}:users", "TFDS", columns, sample, read, kind="events", format="export-tfds", roles=roles)
    catalogue = _table(f"{spec}:items", items)
    texts = {"item_id": "id", **{name: name for name in OWN_TEXTS}}
    kept = Table(catalogue.name, "TFDS", catalogue.columns, catalogue.sample, catalogue.read, kind="items",
                 format="export-tfds", roles=texts, keep_attributes=False)  # fmt: skip
    return [log, kept]


def _present(name: str, cell: object) -> object:
    """None for the time -1, which means that there is none."""
    return None if name == "timestamps" and cell == -1 else cell

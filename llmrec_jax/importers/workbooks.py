"""Reads Excel workbooks (.xlsx), a table per sheet, row by row. Formulas have the values that Excel has stored."""

import datetime
import itertools
import re
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any
from xml.etree import ElementTree

from llmrec_jax.errors import UserError
from llmrec_jax.importers.files import File
from llmrec_jax.importers.table import SAMPLE, Rows, Table, unique_names
from llmrec_jax.progress import Meter

BOOK = "xl/workbook.xml"
RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
DATE_FORMATS = {*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)}  # numbers of Excel's own formats
DATE_LETTERS = re.compile(r"[ymdhs]", re.IGNORECASE)
NOT_LETTERS = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')  # parts of a format that stand for themselves
EPOCHS = {False: datetime.datetime(1899, 12, 30), True: datetime.datetime(1904, 1, 1)}
LETTERS = re.compile(r"[A-Z]+")


def is_workbook(file: File) -> bool:
    """Whether a zip file is a workbook."""
    try:
        with file.raw() as raw, zipfile.ZipFile(raw) as archive:
            return BOOK in archive.namelist()
    except zipfile.BadZipFile:
        return False


def open_workbook(file: File) -> list[Table]:
    """The tables of a workbook: its sheets with at least two columns. Raises `UserError` if it is damaged."""
    try:
        book = _Book(file)
        return [table for name, part in book.sheets() if (table := _table(book, f"{file.name}/{name}", part))]
    except (ElementTree.ParseError, KeyError, zipfile.BadZipFile, ValueError, IndexError) as error:
        raise UserError(f"{file.name}: cannot be read as a workbook ({error}): save its tables as CSV") from None


def _table(book: "_Book", name: str, part: str) -> Table | None:
    rows = book.rows(part, None)
    number, first = next(rows, (0, []))
    has_header = bool(first) and all(isinstance(cell, str) for cell in first if cell is not None)
    columns = unique_names([str(cell or "") if has_header else str(n + 1) for n, cell in enumerate(first)])
    if len(columns) < 2:
        return None
    size, begin = len(columns), number + has_header

    def read(wanted: Sequence[str], meter: Meter | None) -> Rows:
        at = [columns.index(column) for column in wanted]
        for number, cells in book.rows(part, meter):
            if number >= begin:
                padded = [*cells, *[None] * (size - len(cells))]
                yield number, [padded[n] for n in at]

    sample = [list(cells) for _, cells in itertools.islice(read(columns, None), SAMPLE) if isinstance(cells, list)]
    return Table(name, "Excel", tuple(columns), sample, read, book.file.size, has_header)


class _Book:
    """The parts of a workbook that all sheets share."""

    def __init__(self, file: File):
        self.file = file
        self.texts = [_text(item) for item in self._root("xl/sharedStrings.xml")]
        properties = self._find(BOOK, "workbookPr")
        self.epoch = EPOCHS[bool(properties) and properties[0].get("date1904") in ("1", "true")]
        codes = {
            int(own.get("numFmtId", 0)): own.get("formatCode", "") for own in self._find("xl/styles.xml", "numFmt")
        }
        dates = DATE_FORMATS | {n for n, code in codes.items() if DATE_LETTERS.search(NOT_LETTERS.sub("", code))}
        styles = self._find("xl/styles.xml", "cellXfs")
        self.is_date = [int(own.get("numFmtId", 0)) in dates for own in styles[0]] if styles else []

    def sheets(self) -> Iterator[tuple[str, str]]:
        """Names of the sheets, and the parts of the file with them."""
        targets = {own.get("Id"): own.get("Target", "") for own in self._root("xl/_rels/workbook.xml.rels")}
        for sheet in self._find(BOOK, "sheet"):
            target = targets[sheet.get(RELATION)]
            yield sheet.get("name", ""), target.lstrip("/") if target.startswith("/") else f"xl/{target}"

    def rows(self, part: str, meter: Meter | None) -> Iterator[tuple[int, list[Any]]]:
        """The rows of a sheet that are not empty, with their numbers."""
        with self.file.raw() as raw, zipfile.ZipFile(raw) as archive, archive.open(part) as data:
            number = 0
            for _, element in ElementTree.iterparse(data):
                if _name(element) != "row":
                    continue
                number = int(element.get("r", number + 1))  # some programs leave the number out
                cells: list[Any] = []
                for cell in element:
                    place = LETTERS.match(cell.get("r", ""))
                    cells += [None] * (_number(place[0]) - len(cells) if place else 0)
                    cells.append(self._value(cell))
                if any(cell is not None for cell in cells):
                    yield number, cells
                element.clear()
        if meter:
            meter.advance(self.file.size)

    def _value(self, cell: ElementTree.Element) -> Any:
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _text(cell)
        value = next((own.text for own in cell if _name(own) == "v"), None)
        if value is None or kind == "e":
            return None
        if kind != "n":
            return self.texts[int(value)] if kind == "s" else value
        number, style = float(value), int(cell.get("s", 0))
        if style < len(self.is_date) and self.is_date[style]:
            seconds = round(number * 86_400, 3)
            return self.epoch + datetime.timedelta(seconds=seconds)
        return int(number) if number.is_integer() else number

    def _root(self, part: str) -> ElementTree.Element:
        with self.file.raw() as raw, zipfile.ZipFile(raw) as archive:
            return ElementTree.fromstring(archive.read(part)) if part in archive.namelist() else ElementTree.Element("")

    def _find(self, part: str, name: str) -> list[ElementTree.Element]:
        return [element for element in self._root(part).iter() if _name(element) == name]


def _name(element: ElementTree.Element) -> str:
    """The name of an element without its namespace."""
    return element.tag.rpartition("}")[2]


def _text(element: ElementTree.Element) -> str:
    """The text of a cell, of all its formatted runs, without readings of Japanese."""
    return "".join(own.text or "" for run in element.iter() if _name(run) != "rPh" for own in run if _name(own) == "t")


def _number(letters: str) -> int:
    """The number of a column from 0: 0 for "A", 26 for "AA"."""
    number = 0
    for letter in letters:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number - 1

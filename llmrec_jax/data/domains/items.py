"""Reads `items.jsonl`: one JSON object per line, or one array of objects."""

import collections
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from llmrec_jax.data.domains.folders import is_text, text_lines
from llmrec_jax.data.domains.problems import BadRecord, Findings, file_error, some
from llmrec_jax.data.domains.records import MAX_TEXT, TEXT_FIELDS, Item, attributes, check_item, plain
from llmrec_jax.data.domains.settings import FIELDS, Settings

ITEM_ID = re.compile(r"""["']item_id["']\s*:\s*(?:"([^"\\]*)"|(\d+))""", re.IGNORECASE)
NEAR = {  # other common names of the required fields, lowercase and without punctuation
    "item_id": ("id", "itemid", "asin", "parentasin", "productid", "movieid", "bookid", "articleid", "sku", "newsid"),
    "title": ("name", "itemname", "productname", "producttitle", "titel", "headline"),
}


class Items(NamedTuple):
    """A catalogue, and the ids on its bad lines as far as they can be extracted."""

    items: list[Item]
    bad_ids: set[str]


def read_items(path: Path, settings: Settings, findings: Findings) -> Items:
    """Read a catalogue; bad lines and notes are added to `findings`."""
    reader, items, bad_ids, seen = _Reader(settings.fields), [], set[str](), set[str]()
    with text_lines(path, settings.encoding, findings) as lines:
        for number, line in _objects(path, lines, findings):
            try:
                item = reader(_decode(line) if isinstance(line, str) else line)
                if item.item_id in seen:
                    raise ValueError("item_id occurs on an earlier line too")
            except ValueError as error:
                raw = line if isinstance(line, str) else msgspec.json.encode(line).decode()
                findings.bad.append(BadRecord(path.name, number, str(error), raw))
                if salvaged := ITEM_ID.search(raw):
                    bad_ids.add((salvaged[1] or salvaged[2]).strip())
                continue
            seen.add(item.item_id)
            items.append(item)
    reader.report(path.name, findings)
    return Items(items, bad_ids - seen)


def _objects(
    path: Path, lines: Iterator[tuple[int, str]], findings: Findings
) -> Iterator[tuple[int, str | Mapping[str, Any]]]:
    """Yield the non-blank lines with their numbers or, if the file is one JSON array, its elements with theirs."""
    full = ((number, line) for number, line in lines if line.strip())
    for number, line in full:
        if line.strip() == "{":
            raise file_error(
                path.parent, path.name, "a JSON object spans several lines", "write one JSON object a line"
            )
        if line.lstrip().startswith("["):
            yield from enumerate(_array(path, "\n".join([line, *(rest for _, rest in full)])), 1)
            findings.notes.append(f"{path.name}: one JSON array: read, its elements counted as lines")
        else:
            yield number, line
            yield from full


def _array(path: Path, text: str) -> list[Any]:
    try:
        return msgspec.json.decode(text, type=list)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError) as error:
        reason = f"begins like one JSON array, but is none: {_problem(error)}"
        raise file_error(path.parent, path.name, reason, "write one JSON object a line") from None


def _problem(error: Exception) -> str:
    """The message of a JSON error, without the position."""
    return str(error).removeprefix("JSON is malformed: ").split(" (byte")[0]


def _decode(line: str) -> Any:
    if not is_text(line):
        raise ValueError("not UTF-8")
    if "\0" in line:
        raise ValueError("NUL byte")
    try:
        return msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {_problem(error)}") from None
    except RecursionError:
        raise ValueError("nested too deep") from None


class _Reader:
    """Converts JSON objects to items and counts conversions."""

    def __init__(self, names: Mapping[str, str | None]):
        self.names = {field: names.get(field, field) for field in FIELDS}
        self.fields = {name.strip().casefold(): field for field, name in self.names.items() if name is not None}
        self.counts: collections.Counter[str] = collections.Counter()
        self.kept: collections.Counter[str] = collections.Counter()  # as attributes
        self.unread: collections.Counter[str] = collections.Counter()

    def __call__(self, values: Any) -> Item:
        if not isinstance(values, Mapping):
            raise ValueError("not an object; one JSON object a line is expected")
        found: dict[str, Any] = {}
        others: dict[str, Any] = {}
        for name, value in values.items():
            field = self.fields.get(name) or self.fields.get(name.strip().casefold())
            if field is None:
                others[name] = value
            elif field in found:
                raise ValueError(f"{field} occurs twice, under names that differ only in case or blanks")
            else:
                found[field] = value
                if name != field and name.strip().casefold() == field:
                    self.counts[f"{name!r} read as {field} in {{n}} items"] += 1
        kept = attributes(others)
        self.kept.update(kept.keys())
        self.unread.update(name for name in others if name not in kept)
        for field in ("item_id", "title"):
            if field not in found:
                raise ValueError(f"no {self.names[field] or field}")
        texts = {field: self._text(field, found.get(field)) for field in TEXT_FIELDS}
        if found["title"] is None:
            raise ValueError("title is null")
        known: dict[str, Any] = {field: text for field, text in texts.items() if text is not None}
        item = Item(self._id(found["item_id"]), **known, attributes=kept)
        check_item(item)
        return item

    def _id(self, value: Any) -> str:
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            self.counts["{n} item_ids are JSON numbers: read as text"] += 1
            return str(value)
        if not isinstance(value, str):
            raise ValueError(f"item_id is {_kind(value)}; a text or a whole number is expected")
        if (stripped := value.strip()) != value:
            self.counts["{n} item_ids had surrounding blanks, which were removed"] += 1
        return stripped

    def _text(self, field: str, value: Any) -> str | None:
        if isinstance(value, list):
            self.counts[f"{{n}} lists in {field}: joined"] += 1
            value = (" " if field == "description" else ", ").join(_flat(field, value))
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self.counts[f"{{n}} numbers in {field}: read as text"] += 1
            value = str(value)
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError(f"{field} is {_kind(value)}; a text or a list of texts is expected")
        if len(value) > MAX_TEXT:
            self.counts[f"{{n}} {field} texts truncated to {MAX_TEXT:,} characters"] += 1
            value = value[:MAX_TEXT]
        bare = plain(value)
        if bare != value:
            self.counts[f"HTML in {{n}} {field} texts: entities unescaped, tags stripped"] += 1
        return bare or (value if field == "title" else bare)

    def report(self, file: str, findings: Findings) -> None:
        """Add notes on converted values and unread fields, and remedies if a required field has another name."""
        for text, count in self.counts.items():
            findings.note(count, f"{file}: {text}")
        fix = 'to read one: {"fields": {"category": NAME}} in domain.json'
        for counts, what in ((self.kept, "used by filters only"), (self.unread, "not read")):
            if counts:
                shown = some([f"{name} ({count:,})" for name, count in counts.most_common()])
                findings.notes.append(f"{file}: fields that are {what}: {shown}; {fix}")
        for field, names in NEAR.items():
            near = next(
                (name for name in (*self.unread, *self.kept) if re.sub(r"[\W_]", "", name).casefold() in names), None
            )
            if near:
                fix = f'rename it, or declare it in domain.json: {{"fields": {{"{field}": "{near}"}}}}'
                findings.remedies[f"no {field}"] = f"{near!r} looks like it: {fix}"


def _flat(field: str, values: list[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):
            yield from _flat(field, value)
        elif isinstance(value, str):
            yield value
        elif value is not None:
            raise ValueError(f"{field} is a list that holds {_kind(value)}; texts are expected")


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    return {dict: "an object", list: "a list", float: "a fraction", type(None): "null"}.get(type(value), "a number")

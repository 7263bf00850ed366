"""Items: fields, checks, and the text that models read. `items.py` reads the files."""

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

MAX_ID = 1_000  # characters of an id
MAX_ATTRIBUTE = 200  # characters of an attribute; longer texts are not kept
MAX_TEXT = 100_000  # characters of a text field; longer ones are truncated
TEXT_FIELDS = ("title", "brand", "category", "description")  # in the order in which they are joined
DESCRIPTION_CHARS = 200
Fact: TypeAlias = tuple[str, str]  # a relation of the knowledge graph, and a tail of it
WORD = re.compile(r"\w+")
ENTITY = re.compile(r"&(#\d+|#x[0-9a-f]+|[a-z][a-z0-9]*);", re.IGNORECASE)
# Known tags only: "<3", "a < b > c" and "<unk>" are kept as text.
TAG = re.compile(
    r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|</?(a|abbr|b|big|blockquote|body|br|button|center|code|dd|div|dl|dt|em|font"
    r"|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|label|li|link|meta|nav|ol|option|p|pre|s|script|section"
    r"|select|small|span|strike|strong|style|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|video)\b[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)


class Item(msgspec.Struct, frozen=True):
    """One line of `items.jsonl`, and the item's lines of `kg.tsv`."""

    item_id: str
    title: str
    category: str | None = None
    brand: str | None = None
    description: str | None = None
    facts: tuple[Fact, ...] = ()  # the most informative first
    attributes: dict[str, str | float] = {}  # the other fields that are texts or numbers; for filters, not in the text


def item_text(
    title: str,
    category: str | None,
    brand: str | None,
    description: str | None,
    fields: Sequence[str] = TEXT_FIELDS,
    description_chars: int = DESCRIPTION_CHARS,
    facts: Sequence[Fact] = (),
) -> str:
    """The text of an item: its non-empty `fields` joined by ". ", with the description truncated.

    `facts` stand before the description, as in "director: Ann. genre: drama, comedy", without those whose tail another
    field names.
    HTML is removed (`plain`), so that an item added later has the same text as in a prepared domain.
    """
    texts = {
        "title": plain(title) or title,
        "category": plain(category or ""),
        "brand": plain(brand or ""),
        "description": plain(description or "")[:description_chars],
    }
    order = [*fields]
    if facts:
        named = _words(" ".join(texts[field] for field in fields if field != "description"))
        texts["facts"] = _facts_text([fact for fact in facts if _words(fact[1]) not in named])
        order.insert(order.index("description") if "description" in order else len(order), "facts")
    return ". ".join(texts[field] for field in order if texts[field])


def _facts_text(facts: Sequence[Fact]) -> str:
    """The tails by relation, relations in the order of their first facts."""
    tails: dict[str, list[str]] = {}
    for relation, tail in facts:
        tails.setdefault(relation.replace("_", " "), []).append(tail)
    return ". ".join(f"{relation}: {', '.join(own)}" for relation, own in tails.items())


def _words(text: str) -> str:
    """The lowercase words of a text, between single spaces."""
    return f" {' '.join(WORD.findall(text.casefold()))} "


def plain(text: str) -> str:
    """The text with HTML entities unescaped and tags stripped. Idempotent; the result may be empty."""
    if "&" not in text and "<" not in text:
        return text
    before, bare = None, text
    while bare != before:  # "&amp;amp;" and "&lt;br&gt;" take two rounds
        before = bare
        bare = ENTITY.sub(lambda entity: html.unescape(entity[0]), TAG.sub(" ", bare))
    return text if bare == text else " ".join(bare.split())


def attributes(fields: Mapping[str, Any]) -> dict[str, str | float]:
    """Those of the fields that a filter can read: finite numbers, and texts of at most `MAX_ATTRIBUTE` characters."""
    found: dict[str, str | float] = {}
    for name, value in fields.items():
        if isinstance(value, bool):
            found[name] = str(value).lower()
        elif (isinstance(value, str) and 0 < len(value) <= MAX_ATTRIBUTE) or (
            isinstance(value, int | float) and abs(value) < 2**63
        ):
            found[name] = value
    return found


def check_item(item: Item) -> None:
    """Raises ValueError if the values of an item are invalid. Types are checked before."""
    check_id("item_id", item.item_id)
    if not item.title.strip():
        raise ValueError("title is empty")
    for field in TEXT_FIELDS:
        if "\0" in (getattr(item, field) or ""):
            raise ValueError(f"{field} holds a NUL character")
    for fact in item.facts:
        for field, value in zip(("relation", "tail"), fact, strict=True):
            check_id(field, value)


def check_id(field: str, value: str) -> None:
    """Raises ValueError if a string is not a valid id."""
    if not value:
        raise ValueError(f"{field} is empty")
    if "\n" in value or "\r" in value:
        raise ValueError(f"{field} holds a line break")
    if "\0" in value:
        raise ValueError(f"{field} holds a NUL character")
    if len(value) > MAX_ID:
        raise ValueError(f"{field} is longer than {MAX_ID} characters")

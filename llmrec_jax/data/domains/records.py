"""Items: fields, checks, and the text that models read. `items.py` reads the files."""

import html
import re
from collections.abc import Sequence

import msgspec

MAX_ID = 1_000  # characters of an id
MAX_TEXT = 100_000  # characters of a text field; longer ones are truncated
TEXT_FIELDS = ("title", "brand", "category", "description")  # in the order in which they are joined
DESCRIPTION_CHARS = 200
ENTITY = re.compile(r"&(#\d+|#x[0-9a-f]+|[a-z][a-z0-9]*);", re.IGNORECASE)
# Known tags only: "<3", "a < b > c" and "<unk>" are kept as text.
TAG = re.compile(
    r"<!--.*?-->|<(script|style)\b.*?</\1\s*>|</?(a|abbr|b|big|blockquote|body|br|button|center|code|dd|div|dl|dt|em|font"
    r"|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|label|li|link|meta|nav|ol|option|p|pre|s|script|section"
    r"|select|small|span|strike|strong|style|sub|sup|table|tbody|td|tfoot|th|thead|title|tr|tt|u|ul|video)\b[^<>]*>",
    re.IGNORECASE | re.DOTALL,
)


class Item(msgspec.Struct, frozen=True):
    """One line of `items.jsonl`."""

    item_id: str
    title: str
    category: str | None = None
    brand: str | None = None
    description: str | None = None


def item_text(
    title: str,
    category: str | None,
    brand: str | None,
    description: str | None,
    fields: Sequence[str] = TEXT_FIELDS,
    description_chars: int = DESCRIPTION_CHARS,
) -> str:
    """The text of an item: its non-empty `fields` joined by ". ", with the description truncated.

    HTML is removed (`plain`), so that an item added later has the same text as in a prepared domain.
    """
    texts = {
        "title": plain(title) or title,
        "category": plain(category or ""),
        "brand": plain(brand or ""),
        "description": plain(description or "")[:description_chars],
    }
    return ". ".join(texts[field] for field in fields if texts[field])


def plain(text: str) -> str:
    """The text with HTML entities unescaped and tags stripped. Idempotent; the result may be empty."""
    if "&" not in text and "<" not in text:
        return text
    before, bare = None, text
    while bare != before:  # "&amp;amp;" and "&lt;br&gt;" take two rounds
        before = bare
        bare = ENTITY.sub(lambda entity: html.unescape(entity[0]), TAG.sub(" ", bare))
    return text if bare == text else " ".join(bare.split())


def check_item(item: Item) -> None:
    """Raises ValueError if the values of an item are invalid. Types are checked before."""
    check_id("item_id", item.item_id)
    if not item.title.strip():
        raise ValueError("title is empty")
    for field in TEXT_FIELDS:
        if "\0" in (getattr(item, field) or ""):
            raise ValueError(f"{field} holds a NUL character")


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

"""Markup: elements whose text is escaped, tables, and numbers as text. Charts are in `charts`."""

import html
from collections.abc import Iterable, Sequence
from typing import Any

# Characters that an HTML text may not hold, and those that change the direction of the text after them.
DROPPED = dict.fromkeys((*range(9), 11, 12, *range(14, 32), *range(127, 160), *range(0xD800, 0xE000))) | dict.fromkeys(
    (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFFFE, 0xFFFF)
)
VOID = {"meta"}


class Html(str):
    """Markup. Every other string is text, which `tag` escapes."""


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """An element. Children and attributes are escaped unless they are `Html`; None is left out.

    In the names of attributes, `_` stands for `-`; `class_` is `class`.
    """
    written = "".join(
        f' {key.strip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items() if value is not None
    )
    if name in VOID:
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{join(children)}</{name}>")


def join(parts: Iterable[Any]) -> Html:
    """The parts in a row, each escaped unless it is `Html`; None is left out."""
    return Html("".join(text(part) for part in parts if part is not None))


def text(value: Any) -> Html:
    """`Html` as it is, anything else as escaped text."""
    return value if isinstance(value, Html) else Html(html.escape(str(value).translate(DROPPED)))


def title(of_item: str) -> Html:
    """The title of an item: its direction does not affect the text around it."""
    return tag("bdi", of_item.strip() or "(no title)")


def table(
    columns: Sequence[Any], rows: Iterable[Sequence[Any]], *, words: int = 1, classes: Sequence[str] = ()
) -> Html:
    """A table that scrolls sideways if it is too wide. The first `words` columns are text, the others numbers.

    `classes` are of the rows.
    """
    body = []
    for number, row in enumerate(rows):
        heading, *cells = row
        first = tag("th", heading, scope="row")
        others = (tag("td", cell, class_=None if place < words else "n") for place, cell in enumerate(cells, 1))
        body.append(tag("tr", first, *others, class_=(classes[number] or None) if classes else None))
    head = (tag("th", name, scope="col", class_=None if n < words else "n") for n, name in enumerate(columns))
    whole = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *body))
    return tag("div", whole, class_="wide", tabindex="0")


def details(summary: Any, *children: Any) -> Html:
    """A part of the page that opens with a click, or for printing."""
    return tag("details", tag("summary", summary), *children)


def note(*children: Any) -> Html:
    """A line of small print."""
    return tag("p", *children, class_="note")


def tiles(facts: Sequence[tuple[str, Any, Any]]) -> Html:
    """Figures side by side: name, value, and what explains it (None: nothing)."""
    found = (
        tag("div", tag("dt", name), tag("dd", value, None if more is None else tag("small", more)))
        for name, value, more in facts
    )
    return tag("dl", *found, class_="tiles")


def decimal(value: float | None, digits: int = 4) -> str:
    """A number with a fixed number of digits; a dash for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return "-" if value is None else f"{value:+.4f}"


def interval(low: float, high: float) -> str:
    """An interval of differences."""
    return f"{signed(low)} to {signed(high)}"


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:.0f} %"


def duration(seconds: float) -> str:
    """Seconds in words: 45 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 100:
        return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def sentence(said: str) -> str:
    """A text with a capital first letter and a full stop."""
    return f"{said[:1].upper()}{said[1:].rstrip('.')}."


def spaced(name: str) -> str:
    """The name of a method, a part or a field as words."""
    return name.replace("_", " ")

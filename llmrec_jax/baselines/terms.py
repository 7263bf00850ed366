"""The terms by which items are compared: words, volume of a series, facet.

A kind of terms is a function of an item; `readers` makes rows of a channel from them. An item has terms as part of a
history and terms as a candidate. They differ for `series`: volume 2 in a history has the term of volume 3.
"""

import re
from collections.abc import Callable, Container, Sequence

from llmrec_jax.data.domains.records import Item, item_text, plain
from llmrec_jax.data.texts.tfidf import terms_of

# "Name, #3", "Name Vol. 3", "Name Book 3": a marked number of one to three digits. An unmarked number is not read
# as a volume: "Console 3" is not what buyers of "Console 2" want next.
_VOLUME = re.compile(
    r"([^()#;\[\]]*?)[\s,:\-]*(?:#|\b(?:vol|volume|book|part|no)\b\.?\s*#?)\s*(\d{1,3})\b(?![.\d])", re.IGNORECASE
)
_PARENTHESES = re.compile(r"[(\[]([^()\[\]]+)[)\]]\s*$")
_DASH = re.compile(r"\s-\s?(?=\S)")
LONGEST_FACET = 4  # words, where a facet is looked for inside a title


def title_and_brand(item: Item) -> list[str]:
    """The words of the title and the brand."""
    return terms_of(f"{plain(item.title)} {plain(item.brand or '')}")


def whole_text(item: Item) -> list[str]:
    """The words of all fields, with the description truncated."""
    return terms_of(item_text(item.title, item.category, item.brand, item.description))


def facts(item: Item) -> list[str]:
    """The facts of the knowledge graph, each as one term."""
    return [f"{relation}\t{tail}" for relation, tail in item.facts]


def volumes(item: Item) -> list[tuple[str, int]]:
    """The series that the title names, with the item's number in each."""
    found = ((" ".join(terms_of(match[1])), int(match[2])) for match in _VOLUME.finditer(plain(item.title)))
    return list(dict.fromkeys((name, number) for name, number in found if name))


def volume_term(name: str, number: int) -> str:
    """The term of one volume."""
    return f"{name} #{number}"


def last_of_title(item: Item) -> str:
    """The last parentheses of a title or, without any, what follows its last dash, such as the platform of a game."""
    title = plain(item.title).strip()
    match = _PARENTHESES.search(title)
    if match:
        return " ".join(terms_of(match[1]))
    pieces = _DASH.split(title)
    return " ".join(terms_of(pieces[-1])) if len(pieces) > 1 else ""


def facet(item: Item, known: Container[str]) -> list[str]:
    """`last_of_title` if it is a known facet, else the longest known facet in the title, the last of that length."""
    last = last_of_title(item)
    if last in known:
        return [last]
    words = terms_of(plain(item.title))
    for length in range(min(LONGEST_FACET, len(words)), 0, -1):
        for start in range(len(words) - length, -1, -1):
            inside = " ".join(words[start : start + length])
            if inside in known:
                return [inside]
    return []


Terms = Callable[[Item, Container[str]], tuple[Sequence[str], Sequence[str]]]


def _same(terms: Callable[[Item], list[str]]) -> Terms:
    def both(item: Item, known: Container[str]) -> tuple[Sequence[str], Sequence[str]]:
        found = terms(item)
        return found, found

    return both


def _facet(item: Item, known: Container[str]) -> tuple[Sequence[str], Sequence[str]]:
    found = facet(item, known)
    return found, found


def _series(item: Item, known: Container[str]) -> tuple[Sequence[str], Sequence[str]]:
    found = volumes(item)
    return [volume_term(name, n + 1) for name, n in found], [volume_term(name, n) for name, n in found]


# Terms of an item in a history, and of an item as a candidate. The names are stored in bundles.
SIMILAR: dict[str, Terms] = {  # compared by TF-IDF cosine
    "title_and_brand": _same(title_and_brand),
    "whole_text": _same(whole_text),
    "facts": _same(facts),
}
# Added to the norm of a row, so that of two items with the same cosine the one with more facts has the higher score.
# Most items with few facts have only common ones, such as a genre and a decade, and would be equal to many others.
PRIOR = {"facts": 20.0}
EQUAL: dict[str, Terms] = {"series": _series, "facet": _facet}  # compared for equality

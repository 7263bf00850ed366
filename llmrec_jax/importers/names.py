"""Guesses what a column holds from its name. `roles` also checks the values."""

import functools
import re
import unicodedata
from typing import NamedTuple

from llmrec_jax.importers import words

CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Letters that are no base letter with an accent.
LETTERS = str.maketrans({"ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "\u0131": "i", "đ": "d", "æ": "ae"})
MAX_NAME = 40  # characters of a name of a column


def bare(text: str) -> str:
    """The text without accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).translate(LETTERS)


def folded(name: str) -> str:
    """A name in lowercase without accents, words joined by "_"."""
    plain = bare(name.strip())
    key = plain if plain.isupper() else CAMEL.sub("_", plain)
    return re.sub(r"\W+", "_", key.casefold()).strip("_")


def _any_of(expressions: str) -> re.Pattern[str]:
    return re.compile("|".join(bare(expressions).split()))


ID_END = re.compile(f"({_any_of(words.ID_ENDS).pattern})$")
USER, ITEM, SESSION = _any_of(words.USERS), _any_of(words.ITEMS), _any_of(words.SESSIONS)
KINDS = {kind: _any_of(expressions) for kind, expressions in words.KINDS.items()}
# Kinds of columns whose name ends like that of an id.
KINDS_OF_IDS = {"category": re.compile("category_?code"), "impression_id": KINDS["impression_id"]}
NAME, AGGREGATE, SECOND_ID = _any_of(words.NAMES), re.compile(words.AGGREGATES), _any_of(words.SECOND_IDS)
PLAIN_ID = re.compile(words.PLAIN_IDS)


class Guess(NamedTuple):
    """A role by name: "user_id", "item_id", a key of KINDS, "id" or ""; and how certain it is, from 0 to 1."""

    role: str
    strength: float


@functools.cache
def by_name(name: str) -> Guess:
    """The role that a column of this name may have."""
    key = folded(name)
    joined = key.replace("_", "")
    if not key:
        return Guess("", 0.0)
    is_id = bool(ID_END.search(joined)) and not AGGREGATE.match(key)
    for kind, pattern in (KINDS_OF_IDS if is_id else KINDS).items():
        if pattern.search(key):
            return _of_kind(kind, key, joined)
    return _of_id(key, joined, is_id)


def _of_kind(kind: str, key: str, joined: str) -> Guess:
    """A column that holds no id."""
    if kind == "rating" and (AGGREGATE.search(key) or "ratings_" in key):
        return Guess("count", 0.5)
    if kind == "title" and USER.search(joined) and not ITEM.search(joined):
        return Guess("", 0.0)
    return Guess(kind, 1.0 if key == kind or joined in words.EXACT else 0.8)


def _of_id(key: str, joined: str, is_id: bool) -> Guess:
    """A user or an item: its id, or its name."""
    user, item = USER.search(joined), ITEM.search(joined)
    if item and not is_id and NAME.search(joined):
        return Guess("title", 0.8)
    if user and not is_id and NAME.search(joined):
        return Guess("user_id", 0.2)
    if user and (item is None or user.start() <= item.start()):  # a name begins with what it is about
        strength = 0.5 if SESSION.search(joined) else 0.9 if is_id else 0.8
        return Guess("user_id", 1.0 if key == "user_id" else strength)
    if item:
        strength = 0.9 if is_id else 0.8
        return Guess("item_id", 1.0 if key == "item_id" else strength - 0.1 * bool(SECOND_ID.search(key)))
    return Guess("id", 0.4) if PLAIN_ID.match(key) else Guess("", 0.0)


def is_known(name: str) -> bool:
    """Whether a cell may be the name of a column."""
    return 0 < len(name.strip()) <= MAX_NAME and by_name(name.split(":")[0]).role != ""

"""Two synthetic bookshops with a planted shift of the words, a source and a target, between which adaptation helps.

Invariant: the themes and how many books each has, the words that are not specific to a theme, and how readers choose:
the theme of the next book depends on the theme of the last one alone, and all books of a theme are equally likely.

Shifted: the words of a theme. A book has three of them. In the source, most are words that both shops use; in the
target, most are words that only the target uses, which do not occur in the source. Their meaning can be learned only
from the target's texts, where they occur together with shared words of the same theme. A fifth of the target's books
have no shared word (`Truth.is_known`).

The distribution of the next book is known, so the best possible ranking (`best_scores`), and the best one without the
words that only the target uses (`blind_scores`), are known too.

Shape letters: those of `types`; K themes.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Literal, NamedTuple

import numpy as np

from llmrec_jax.data.domains import demo_words as words
from llmrec_jax.data.domains.demo_draw import pick
from llmrec_jax.data.domains.events import Event
from llmrec_jax.data.domains.records import Item

Shop = Literal["shift_source", "shift_target"]

SIZES = {"shift_source": (240, 800, 5), "shift_target": (240, 800, 5)}  # items, users, fewest events (the mean is 7)
THEMES = tuple(words.THEMES)
SHARED_WORDS = 10  # of a theme, of those that both shops know
TELLING = 3  # words of its theme in a book's text
SHARED_SHARE = {"shift_source": 0.65, "shift_target": 0.35}  # the probability that one of them is a shared word
STAY, PARTNER = 0.7, 0.2  # the theme of the next book: the same, its partner; else any
START = 1_577_836_800  # 2020-01-01
DAY = 86_400


class Truth(NamedTuple):
    """The latent attributes of a book."""

    theme: int  # index into `THEMES`
    is_known: bool  # whether its text has a word of the theme that both shops use


def items(shop: Shop) -> tuple[list[Item], list[Truth]]:
    """The books of a shop and what is planted in them; every theme has the same number of books."""
    rng = Random(f"{shop} items")
    truths: list[Truth] = []
    found: dict[str, Item] = {}  # by title: titles are unique
    while len(found) < SIZES[shop][0]:
        theme = len(found) % len(THEMES)
        telling = _telling(rng, shop, theme)
        item = _item(rng, f"{shop}-{len(found):04d}", telling)
        if item.title not in found:
            found[item.title] = item
            truths.append(Truth(theme, any(word in shared_words(theme) for word in telling)))
    return list(found.values()), truths


def shared_words(theme: int) -> tuple[str, ...]:
    """The words of a theme that both shops use."""
    return words.THEMES[THEMES[theme]].shared[:SHARED_WORDS]


def _telling(rng: Random, shop: Shop, theme: int) -> list[str]:
    vocabulary = words.THEMES[THEMES[theme]]
    own = vocabulary.films if shop == "shift_source" else vocabulary.books
    found: list[str] = []
    while len(found) < TELLING:
        word = pick(rng, shared_words(theme) if rng.random() < SHARED_SHARE[shop] else own)
        if word not in found:
            found.append(word)
    return found


def _item(rng: Random, item_id: str, telling: Sequence[str]) -> Item:
    adjective, place, noun = pick(rng, words.ADJECTIVES), pick(rng, words.PLACES), telling[0].title()
    return Item(
        item_id=item_id,
        title=pick(rng, (f"The {adjective} {noun}", f"{noun} in {place}", f"{adjective} {noun}")),
        category=pick(rng, words.FORMATS["books"]),
        brand=pick(rng, words.LAST_NAMES),
        description=f"{pick(rng, words.STYLES['books']).title()} about {' and '.join(telling[1:])}.",
    )


def events(shop: Shop, item_ids: Sequence[str], truths: Sequence[Truth]) -> Iterator[Event]:
    """The events of all users of a shop; nobody reads a book twice."""
    rng = Random(f"{shop} events")
    _, users, fewest = SIZES[shop]
    shelves: list[list[int]] = [[] for _ in THEMES]
    for number, planted in enumerate(truths):
        shelves[planted.theme].append(number)
    for user in range(users):
        theme, time, seen = int(rng.random() * len(THEMES)), START + int(rng.random() * 600 * DAY), set[int]()
        for _ in range(fewest + int(rng.random() * 5)):
            item = pick(rng, [number for number in shelves[theme] if number not in seen])
            seen.add(item)
            yield Event(f"{shop}-user-{user:04d}", item_ids[item], 4 + (rng.random() < 0.4), time)
            time += DAY // 4 + int(rng.random() * 30 * DAY)
            draw = rng.random()
            if STAY <= draw < STAY + PARTNER:
                theme ^= 1
            elif draw >= STAY + PARTNER:
                theme = int(rng.random() * len(THEMES))


def best_scores(truths: Sequence[Truth], histories: Sequence[np.ndarray]) -> np.ndarray:
    """The probability of each book to be the next one, float64 [N, I]: the best ranking there can be.

    The books of the history, which are never the next one, have 0.
    """
    theme_I = np.array([planted.theme for planted in truths])
    rows = []
    for history in histories:
        unseen_I = ~np.isin(np.arange(len(truths)), history)
        per_theme_K = np.bincount(theme_I[unseen_I], minlength=len(THEMES))
        rows.append(unseen_I * (_transitions()[theme_I[history[-1]]] / per_theme_K)[theme_I])
    return np.array(rows)


def blind_scores(truths: Sequence[Truth], histories: Sequence[np.ndarray]) -> np.ndarray:
    """The same if only the themes of books with shared words are known, float64 [N, I].

    To them, a history is a Markov chain of themes of which some are not observed, and all books of unknown theme have
    the same probability.
    """
    theme_I = np.array([planted.theme for planted in truths])
    is_known_I = np.array([planted.is_known for planted in truths])
    per_theme_K = np.bincount(theme_I, minlength=len(THEMES))
    share_K = np.bincount(theme_I[~is_known_I], minlength=len(THEMES)) / per_theme_K
    rows = []
    for history in histories:
        belief_K = np.full(len(THEMES), 1 / len(THEMES))
        for item in history:
            if is_known_I[item]:
                belief_K = np.eye(len(THEMES))[theme_I[item]]
            belief_K = belief_K @ _transitions()
        unknown = belief_K @ share_K / max(1, np.sum(~is_known_I))
        rows.append(np.where(is_known_I, (belief_K / per_theme_K)[theme_I], unknown))
    return np.array(rows)


def _transitions() -> np.ndarray:
    """The probability of the next theme [K, K], given the last one."""
    identity_KK = np.eye(len(THEMES))
    partner_KK = identity_KK[np.arange(len(THEMES)) ^ 1]
    return STAY * identity_KK + PARTNER * partner_KK + (1 - STAY - PARTNER) / len(THEMES)

"""Rows of the structure channels: the next volume of a series, the same facet (platform, edition, year) of a title.

Whether a shop's titles have series or facets is decided from its catalogue alone: if too few titles match, the matches
are regarded as chance.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from llmrec_jax.baselines.readers import Rows, TermReader
from llmrec_jax.baselines.terms import last_of_title, volume_term, volumes
from llmrec_jax.data.domains.records import Item

SERIES_SHARE = 0.05  # of the items have a number in a series that another item is part of
FACET_SHARE = 0.3  # of the titles end with a facet
FACET_ITEMS = 5  # that share a facet, at least
FACETS = (5, 500)  # different ones


def series_rows(items: Sequence[Item]) -> Rows | None:
    """Matches volume n + 1 of a series if a history has volume n. None if the titles name too few series.

    A volume that the shop does not have yet is a term, too, so that it is matched when it is added.
    """
    found = [volumes(item) for item in items]
    size = Counter(name for own in found for name in {name for name, _ in own})
    shared = sum(any(size[name] > 1 for name, _ in own) for own in found)
    if shared <= SERIES_SHARE * len(items):
        return None
    pairs = dict.fromkeys(pair for own in found for name, n in own for pair in ((name, n), (name, n + 1)))
    return _equal(items, "series", [volume_term(name, n) for name, n in pairs])


def facet_rows(items: Sequence[Item]) -> Rows | None:
    """Matches items with the same facet: what several titles end with, such as a platform or a year.

    None if too few titles end with one, or if there are too few or too many facets.
    """
    size = Counter(last for item in items if (last := last_of_title(item)))
    kept = [last for last, number in size.items() if number >= FACET_ITEMS]
    if not FACETS[0] <= len(kept) <= FACETS[1] or sum(size[last] for last in kept) <= FACET_SHARE * len(items):
        return None
    return _equal(items, "facet", kept)


def _equal(items: Sequence[Item], kind: str, terms: Sequence[str]) -> Rows:
    reader = TermReader(kind, tuple(terms), np.ones(len(terms), np.float32))
    return Rows(*reader.rows(items, lambda: np.zeros((0, 0), np.float32)), reader)

"""Known data sets: each module tells its tables by their columns and values, and names or converts the columns.

A recogniser takes all tables and returns all tables, with those that it knows replaced.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from llmrec_jax.importers.formats import amazon, goodreads, lastfm, mind, movielens, recbole
from llmrec_jax.importers.table import Table

Recogniser: TypeAlias = Callable[[Sequence[Table]], list[Table]]
RECOGNISERS: tuple[Recogniser, ...] = (
    movielens.recognise,
    amazon.recognise,
    recbole.recognise,
    mind.recognise,
    goodreads.recognise,
    lastfm.recognise,
)


def recognise(tables: Sequence[Table]) -> list[Table]:
    """The tables, with those of known data sets named or converted."""
    found = list(tables)
    for recogniser in RECOGNISERS:
        found = recogniser(found)
    return found

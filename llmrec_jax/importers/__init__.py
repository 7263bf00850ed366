"""Imports files into a domain folder: known data sets and plain tables, recognised by their content.

    files -> opening (tables) -> formats (known data sets) -> plan (columns and joins) -> write (a domain folder)

Does not print or ask; `llmrec import` does.
"""

from collections.abc import Sequence

from llmrec_jax.data.cache import status
from llmrec_jax.errors import UserError
from llmrec_jax.importers.formats import recognise
from llmrec_jax.importers.mapping import Mapped
from llmrec_jax.importers.opening import open_all
from llmrec_jax.importers.plan import Ask, Plan, make
from llmrec_jax.importers.write import write

__all__ = ["Ask", "Plan", "plan", "write"]


def plan(paths: Sequence[str], mapping: Sequence[str] = (), ask: Ask | None = None) -> Plan:
    """Recognise the files at `paths`.

    Args:
      paths: Files, folders, archives, database URLs, or tfds:NAME.
      mapping: What certain columns hold, e.g. ("user=customer",).
      ask: Asked for a column if it cannot be told; None: it is an error.

    Raises:
      UserError: a file cannot be read, or no log of users and items is recognised.
    """
    mapped = Mapped(mapping)
    with status("looking at the files"):
        tables = recognise(open_all(paths))
        try:
            return make(tables, mapped, None)
        except UserError:
            if ask is None:
                raise
    return make(tables, mapped, ask)

"""A term of the objective: its function, its weight, the heads that it trains and the inputs that it needs."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import jax

from llmrec_jax.errors import UserError
from llmrec_jax.types import Head, Mean

Schedule = Callable[[jax.Array], jax.Array]  # progress in [0, 1] -> value

# What a term can need, and how a message names it.
NEEDS = {
    "catalogue": "the vectors of the whole catalogue in every step",  # `Outputs.candidates`
    "negatives": "sampled negatives",  # `Outputs.negatives`
    "ratings": "ratings",  # `Batch.ratings`
    "triples": "facts of a knowledge graph",  # `Batch.triples`
    "impressions": "lists of shown items",  # `Batch.impressions`
    "tokens": "the tokens of texts that a trained encoder reads",  # `Outputs.tokens`
}


class Term(NamedTuple):
    """One term of the objective. With a weight of 0.0 it is only logged.

    The function reads the outputs of the forward pass, and of the batch whatever it likes (`Outputs.batch`): the domain
    of every row, times, ratings. Its parts are the unfinished means of one device; the step sums them over the devices
    and divides.
    """

    fn: Callable[[Any, jax.Array], dict[str, Mean]]  # (outputs, progress) -> unweighted parts
    weight: float | Schedule  # of each part
    heads: Mapping[str, Head] = {}  # modules that the model gets for this term, by name; in `Outputs.heads`
    needs: tuple[str, ...] = ()  # keys of NEEDS


def heads(terms: Mapping[str, Term]) -> dict[str, Head]:
    """The heads of all terms by name. Terms that name the same head share it."""
    return {name: head for term in terms.values() for name, head in term.heads.items()}


def needs(terms: Mapping[str, Term]) -> set[str]:
    """What the terms need, keys of NEEDS."""
    return {need for term in terms.values() for need in term.needs}


def check(terms: Mapping[str, Term], lacks: Mapping[str, str]) -> None:
    """Refuse terms that need what a run does not have.

    Args:
      terms: of the run.
      lacks: keys of NEEDS -> why the run does not have it.

    Raises:
      ValueError: names each term, what it needs and why there is none.
    """
    problems: Iterable[str] = (
        f"the loss {name!r} needs {NEEDS.get(need, need)}: {lacks[need]}"
        for name, term in terms.items()
        for need in term.needs
        if need in lacks
    )
    if text := "\n  ".join(problems):
        raise UserError(text)

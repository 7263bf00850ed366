"""Reads `kg.tsv`, the knowledge graph of a domain, and chooses the triples that are held out for link prediction.

A line is `head_item_id<TAB>relation<TAB>tail`, without a header: a fact about an item, such as its director or a genre.
A tail belongs to its relation: an actor and a director of the same name are two tails.
"""

import collections
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from llmrec_jax.data.domains.folders import is_text, text_lines
from llmrec_jax.data.domains.problems import BadRecord, Findings
from llmrec_jax.data.domains.records import Fact, check_id, plain
from llmrec_jax.data.domains.settings import Settings

UNKNOWN_HEAD = "the head is not among the items"
HEADER = "this line is a header; kg.tsv has none"
NUM_COLUMNS = "not three texts between tabs"
REMEDIES = {
    UNKNOWN_HEAD: "add the items, or leave these triples out with data.on_bad_record=skip",
    HEADER: "remove it",
    NUM_COLUMNS: "a line is head_item_id<TAB>relation<TAB>tail",
}
HELD_OUT = 0.05  # share of the triples


def read_graph(
    path: Path, numbers: Mapping[str, int], bad_ids: set[str], settings: Settings, findings: Findings
) -> tuple[list[list[Fact]], int]:
    """Read a graph; bad lines and notes are added to `findings`.

    Args:
      path: of the file.
      numbers: the number of each item id.
      bad_ids: the ids on bad lines of the items; triples of these are left out without being bad records.
      settings: uses `encoding`.
      findings: see above.

    Returns:
      The facts of each item, those that fewest items share first, but last those of one item alone; and their number.
    """
    facts: list[list[Fact]] = [[] for _ in numbers]
    seen: set[tuple[int, Fact]] = set()
    repeats = orphans = 0
    with text_lines(path, settings.encoding, findings) as lines:
        for number, line in lines:
            if not line.strip():
                continue
            try:
                head, fact = _parse(line)
                if head not in numbers and head not in bad_ids:
                    raise ValueError(HEADER if number == 1 and fact[0].casefold() == "relation" else UNKNOWN_HEAD)
            except ValueError as error:
                findings.bad.append(BadRecord(path.name, number, str(error), line))
                continue
            if head not in numbers:
                orphans += 1
            elif (numbers[head], fact) in seen:
                repeats += 1
            else:
                seen.add((numbers[head], fact))
                facts[numbers[head]].append(fact)
    findings.note(repeats, f"{path.name}: {{n}} repeated triples dropped")
    findings.note(orphans, f"{path.name}: {{n}} triples of items whose own lines are bad are left out")
    findings.remedies |= REMEDIES
    return _informative_first(facts), len(seen)


def held_out(item_ids: Sequence[str], facts: Sequence[Sequence[Fact]], seed: int) -> list[np.ndarray]:
    """Which facts of each item are held out: a share `HELD_OUT`, chosen by a hash. A list of bool arrays.

    A triple depends on nothing but itself and the seed, except that a tail of which all triples would be held out keeps
    them, because nothing could be learned about it.
    """
    limit = int(HELD_OUT * 2**64)
    chosen = [
        np.array([_hash64(f"{seed}\t{item_id}\t{relation}\t{tail}") < limit for relation, tail in own], bool)
        for item_id, own in zip(item_ids, facts, strict=True)
    ]
    remaining = {fact for own, out in zip(facts, chosen, strict=True) for fact, is_out in zip(own, out, strict=True)
                 if not is_out}  # fmt: skip
    return [out & np.array([fact in remaining for fact in own], bool) for own, out in zip(facts, chosen, strict=True)]


def _parse(line: str) -> tuple[str, Fact]:
    """The head and the fact of a line. Raises ValueError if it is bad."""
    if not is_text(line):
        raise ValueError("not UTF-8")
    columns = [column.strip() for column in line.split("\t")]
    if len(columns) != 3:
        raise ValueError(NUM_COLUMNS)
    head, relation, tail = columns[0], plain(columns[1]), plain(columns[2])
    for field, value in (("head", head), ("relation", relation), ("tail", tail)):
        check_id(field, value)
    return head, (relation, tail)


def _informative_first(facts: list[list[Fact]]) -> list[list[Fact]]:
    count = collections.Counter(fact for own in facts for fact in own)
    return [sorted(own, key=lambda fact: (count[fact] == 1, count[fact])) for own in facts]


def _hash64(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")

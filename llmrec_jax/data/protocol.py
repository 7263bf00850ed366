"""Who may see which labels: the regime of a run, the events that select its step, and what is refused before it starts.

Pure functions of domains, their splits and the configuration. Ranks nothing and draws no batch.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.split import Split, keep_fraction, nobody
from llmrec_jax.errors import UserError

Regime = Literal["zero-shot", "transductive", "few-shot", "full"]  # no option of today gives transductive
LAST_STEP = "last_step"
ENOUGH_USERS = 100  # of a source, for a validation score that can tell two steps apart


class Selection(NamedTuple):
    """What chooses the step whose parameters a run hands on."""

    validator: str  # its name in the report
    domain: int | None  # whose validation events are ranked; None: nobody's, the last step is taken
    users: np.ndarray  # bool [users of the domain]: those whose validation events are used


class Protocol(NamedTuple):
    """What a run may learn from and be selected by."""

    regime: Regime
    kept: np.ndarray  # bool [users of the target]: those whose training and validation events the run may see
    left_out: int | None  # a source that no batch holds: its validation events select the step
    selection: Selection


def make_protocol(domains: Sequence[Domain], splits: Sequence[Split], data: DataConfig, selection: str) -> Protocol:
    """Decide who may see which labels. Domains and splits: sources first, the target last.

    Args:
      domains: of the run.
      splits: of the domains.
      data: `sources`, `target_fraction`, `target_share` and `split_seed` are read.
      selection: `train.selection`; `last_step` where nothing is validated.

    Raises:
      ValueError: there is nobody to test or to select on, or the target or a source cannot be trained on.
    """
    target, held_out = domains[-1], splits[-1]
    if not (held_out.test >= 0).any():
        raise UserError(f"nobody to test on in the target {target.name!r}: {nobody(target, held_out, 'test')}")
    kept = keep_fraction(held_out, data.target_fraction, data.split_seed)
    if data.target_fraction:
        _check_trainable(target, held_out, kept, "the target", "set data.target_fraction=0 for zero-shot")
    if domains[:-1] and data.target_fraction and data.target_share in (0, 1):
        none = "the target, though data.target_fraction asks to train on it" if not data.target_share else "the sources"
        raise UserError(f"data.target_share={data.target_share} leaves no row of a batch to {none}")
    regime: Regime = "zero-shot" if not data.target_fraction else "few-shot" if data.target_fraction < 1 else "full"
    chosen = _selection(domains, splits, kept, data, selection)
    left_out = chosen.domain if chosen.domain != len(domains) - 1 else None
    if chosen.domain is not None and not chosen.users.any():
        if chosen.domain == len(domains) - 1 and (held_out.valid >= 0).any():
            why = f"none of the {int(kept.sum()):,} kept users has a validation event"
        else:
            why = nobody(domains[chosen.domain], splits[chosen.domain], "valid")
        raise UserError(
            f"nobody to select the step on in {domains[chosen.domain].name!r}: {why}; "
            f"--train.selection {LAST_STEP} takes the last step"
        )
    for number, source in enumerate(domains[:-1]):
        if number != left_out:
            everybody = np.ones(len(source.user_ids), bool)
            _check_trainable(source, splits[number], everybody, "the source", "take it out of data.sources")
    return Protocol(regime, kept, left_out, chosen)


def _check_trainable(domain: Domain, split: Split, users: np.ndarray, role: str, remedy: str) -> None:
    """Raise ValueError where none of these users (a mask) has a history and a next item to learn from."""
    longest = int((split.train_end - split.offsets[:-1])[users].max(initial=0))
    if longest < 2:
        raise UserError(
            f"nobody to train on in {role} {domain.name!r}: of {int(users.sum()):,} users none has two training events "
            f"(at most {longest}, after validation and test events are held out; {split.method}): {remedy}"
        )


def _selection(domains: Sequence[Domain], splits: Sequence[Split], kept: np.ndarray, data: DataConfig,
               selection: str) -> Selection:  # fmt: skip
    """What `train.selection` asks for."""
    names = [domain.name for domain in domains[:-1]]
    if selection == LAST_STEP:
        return Selection(LAST_STEP, None, np.zeros(0, bool))
    if selection == "auto" and data.target_fraction:
        return Selection("target_valid_ndcg@10", len(names), kept & (splits[-1].valid >= 0))
    if selection == "auto" and len(names) < 2:  # nothing could be left out
        return Selection(LAST_STEP, None, np.zeros(0, bool))
    if selection == "auto":
        source = _smallest_sufficient(splits[:-1])
    elif selection in (*names, *data.sources):
        source = (names if selection in names else list(data.sources)).index(selection)
    else:
        raise UserError(f"train.selection={selection!r} is neither auto nor {LAST_STEP} nor a source "
                        f"({', '.join(names) or 'there is none'})")  # fmt: skip
    if len(names) < 2:
        raise UserError(f"train.selection={selection!r} leaves out the only source: nothing would be learned from it")
    return Selection("left_out_source_valid_ndcg@10", source, splits[source].valid >= 0)


def _smallest_sufficient(splits: Sequence[Split]) -> int:
    """The source to leave out: with the fewest training events of those with enough validation users.

    Where no source has enough: the one with the most.
    """
    users = [int((split.valid >= 0).sum()) for split in splits]
    events = [int((split.train_end - split.offsets[:-1]).sum()) for split in splits]
    enough = [source for source, number in enumerate(users) if number >= ENOUGH_USERS]
    return min(enough, key=events.__getitem__) if enough else max(range(len(users)), key=users.__getitem__)

"""The evaluation protocol: which labels a run trains on, and which validation events select its checkpoint.

Raises an error before the run if there are no users to train, validate or test on. Pure functions of the domains,
their splits and the configuration.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.split import Split, keep_fraction, nobody
from llmrec_jax.errors import UserError

Regime = Literal["zero-shot", "transductive", "few-shot", "full"]
LAST_STEP = "last_step"
ENOUGH_USERS = 100  # validation users of a source: with fewer, its score is too noisy to select a step


class Selection(NamedTuple):
    """How the final parameters of a run are selected."""

    validator: str  # name of the criterion in the report
    domain: int | None  # whose validation events are used; None: no validation, the last step is selected
    users: np.ndarray  # bool [users of the domain]: whose validation events are used


class Protocol(NamedTuple):
    """What a run is trained on and selected by."""

    regime: Regime
    kept: np.ndarray  # bool [users of the target]: whose training and validation events the run may use
    left_out: int | None  # a source that is not trained on: its validation events select the step
    selection: Selection

    @property
    def trains_on_target(self) -> bool:
        """Whether the run has users of the target to train on."""
        return self.regime in ("few-shot", "full")


def make_protocol(domains: Sequence[Domain], splits: Sequence[Split], data: DataConfig, selection: str) -> Protocol:
    """Decide which labels are used for training, selection and test.

    Args:
      domains: sources first, the target last.
      splits: one per domain.
      data: uses `sources`, `regime`, `target_fraction`, `target_share` and `split_seed`.
      selection: `train.selection`; `last_step` for no validation.

    Raises:
      ValueError: there are no users to test or to select on, or the target or a source cannot be trained on.
    """
    target, held_out = domains[-1], splits[-1]
    if not (held_out.test >= 0).any():
        raise UserError(f"no users to test on in the target {target.name!r}: {nobody(target, held_out, 'test')}")
    kept = keep_fraction(held_out, data.target_fraction, data.split_seed)
    if data.target_fraction:
        _check_trainable(target, held_out, kept, "the target", "set data.target_fraction=0 for zero-shot")
    if domains[:-1] and data.target_fraction and data.target_share in (0, 1):
        none = "the target, though data.target_fraction asks to train on it" if not data.target_share else "the sources"
        raise UserError(f"data.target_share={data.target_share} leaves no row of a batch for {none}")
    regime: Regime = "zero-shot" if not data.target_fraction else "few-shot" if data.target_fraction < 1 else "full"
    if data.regime == "transductive":
        regime = data.regime
    chosen = _selection(domains, splits, kept, data, selection)
    left_out = chosen.domain if chosen.domain != len(domains) - 1 else None
    if chosen.domain is not None and not chosen.users.any():
        if chosen.domain == len(domains) - 1 and (held_out.valid >= 0).any():
            why = f"none of the {int(kept.sum()):,} kept users has a validation event"
        else:
            why = nobody(domains[chosen.domain], splits[chosen.domain], "valid")
        raise UserError(
            f"no users to select the step with in {domains[chosen.domain].name!r}: {why}; "
            f"--train.selection {LAST_STEP} takes the last step"
        )
    for number, source in enumerate(domains[:-1]):
        if number != left_out:
            everybody = np.ones(len(source.user_ids), bool)
            _check_trainable(source, splits[number], everybody, "the source", "take it out of data.sources")
    return Protocol(regime, kept, left_out, chosen)


def _check_trainable(domain: Domain, split: Split, users: np.ndarray, role: str, remedy: str) -> None:
    """Raises ValueError if none of these users (a mask) has a history and a next item with a weight above 0."""
    longest = int((split.train_end - split.offsets[:-1])[users].max(initial=0))
    if longest < 2:
        raise UserError(
            f"no users to train on in {role} {domain.name!r}: none of {int(users.sum()):,} has two training events "
            f"(at most {longest}, after validation and test events are held out; {split.method}): {remedy}"
        )
    if not (split.trainable() & users).any():
        raise UserError(
            f"no users to train on in {role} {domain.name!r}: all training events with a history have weight 0: "
            f'correct the weights, say {{"columns": {{"weight": null}}}} in domain.json to ignore them, or {remedy}'
        )


def _selection(domains: Sequence[Domain], splits: Sequence[Split], kept: np.ndarray, data: DataConfig,
               selection: str) -> Selection:  # fmt: skip
    """Resolve `train.selection`."""
    names = [domain.name for domain in domains[:-1]]
    if data.train_on == "train+valid" and selection != LAST_STEP:
        raise UserError("data.train_on=train+valid leaves no validation event to select a step by: set train.selection "
                        f"to {LAST_STEP}, or call llmrec refit")  # fmt: skip
    if selection == LAST_STEP:
        return Selection(LAST_STEP, None, np.zeros(0, bool))
    if selection == "auto" and data.target_fraction:
        return Selection("target_valid_ndcg@10", len(names), kept & (splits[-1].valid >= 0))
    if selection == "auto" and len(names) < 2:  # no source can be left out
        return Selection(LAST_STEP, None, np.zeros(0, bool))
    if selection == "auto":
        source = _smallest_sufficient(splits[:-1])
    elif selection in (*names, *data.sources):
        source = (names if selection in names else list(data.sources)).index(selection)
    else:
        raise UserError(f"train.selection={selection!r} is neither auto nor {LAST_STEP} nor a source "
                        f"({', '.join(names) or 'there is none'})")  # fmt: skip
    if len(names) < 2:
        raise UserError(
            f"train.selection={selection!r} leaves out the only source, so there is none to train on; add a "
            f"source, or set train.selection={LAST_STEP}"
        )
    return Selection("left_out_source_valid_ndcg@10", source, splits[source].valid >= 0)


def _smallest_sufficient(splits: Sequence[Split]) -> int:
    """The source to leave out: of those with enough validation users, the one with the fewest training events.

    If no source has enough, the one with the most validation users.
    """
    users = [int((split.valid >= 0).sum()) for split in splits]
    events = [int((split.train_end - split.offsets[:-1]).sum()) for split in splits]
    enough = [source for source, number in enumerate(users) if number >= ENOUGH_USERS]
    return min(enough, key=events.__getitem__) if enough else max(range(len(users)), key=users.__getitem__)

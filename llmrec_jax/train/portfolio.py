"""Runs the candidates of an adaptation, chooses one, and applies the guard.

No label of the target is read, except, where the run is trained on users of the target, their validation events.

    DIR/candidates/NAME    the work folder of a run; `target` is trained on the target alone, if the regime allows it.
                           A candidate that is made from a run (see `points`) has a folder with its evidence
    DIR/candidates/NAME/left_out/SOURCE    the same with another source left out; only its evidence is used
    DIR/choice.json        the choice and the guard's decision, written before any test event is ranked. The test
                           figures of another choice, `revealed.json`, are deleted
    DIR/bundle             the bundle of the arm that the guard chose

Nothing here ranks test events; `reveal` does, afterwards.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from llmrec_jax import selection
from llmrec_jax.blend.answer import ANSWER
from llmrec_jax.config import Config
from llmrec_jax.evaluate.adaptation_facts import folder_of
from llmrec_jax.inference import bundle, writing
from llmrec_jax.train import compile_cache
from llmrec_jax.train.candidate import export, run_candidates
from llmrec_jax.train.evidence import UNTRAINED, Gathered, merged
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.points import MERGE, NONE, Point
from llmrec_jax.train.prepared import Data
from llmrec_jax.train.workdir import write_json

CHOICE, REVEALED = "choice.json", "revealed.json"
TARGET = "target"  # the arm, and the name of its run, that is trained on the target alone; no candidate
TEXT = "text"  # the arm of the answer without a trained model
# The validators that read the users that the guard reads: zero-shot, and with users of the target, whose validation
# events the run may use. The second is the mean NDCG@10 of the answer; it is no function of the evidence.
LEFT_OUT_SOURCE, TARGET_USERS = "left_out_source", "target_users"


class Run(NamedTuple):
    """A run, its data, which several runs may share, and its candidates."""

    config: Config
    data: Data
    also: Mapping[str, Config]  # the same run with another source left out, by name of that source
    points: Sequence[Point]  # the first is the selected step, with the name of the run


class Outcome(NamedTuple):
    """The choice and the guard's decision."""

    chosen: str  # candidate with the highest score
    validator: str
    scores: dict[str, dict[str, float]]  # candidate -> validator -> score
    left_out: dict[str, dict[str, str]]  # candidate -> validator -> why it has no score
    arm: str  # of `arms`: what the guard chose
    guard: str  # its reasons, for the report
    arms: tuple[str, ...]  # `TEXT`, `NONE`, the chosen candidate if it is another one, and `TARGET` if there is one
    decision: selection.Decision | None  # None: there is no evidence for the guard
    gains: dict[str, selection.Comparison]  # of each candidate and `TARGET` over `TEXT`, on the evidence of the guard

    def as_json(self) -> dict[str, Any]:
        """`choice.json`."""
        gains = {name: dataclasses.asdict(gain) for name, gain in self.gains.items()}
        return {
            "chosen": self.chosen,
            "validator": self.validator,
            "arm": self.arm,
            "guard": self.guard,
            "candidates": [
                {"name": name, "scores": found, "left_out": self.left_out[name], "gain": gains.get(name)}
                for name, found in self.scores.items()
            ],
            "arms": {arm: gains.get(arm) for arm in self.arms},
            "decision": None if self.decision is None else dataclasses.asdict(self.decision),
        }


def adapt(
    runs: Mapping[str, Run],
    workdir: Path,
    console: Console,
    interrupts: Interrupts,
    validator: str | None = None,
) -> Outcome:
    """Run or resume the candidates, choose, apply the guard; write `choice.json`, then `bundle`.

    Args:
      runs: of the candidates, `none` first, and of the arm `TARGET` if there is one; by name.
      workdir: they are in `workdir/candidates`.
      console: prints the progress.
      interrupts: see `train_and_evaluate`.
      validator: that chooses; None: see `selection.default_validator`.

    Raises:
      ValueError: see `train_and_evaluate`; or the validator gives no candidate a score.
    """
    shown: dict[str, Gathered] = {}
    with compile_cache.kept_in(workdir, console):
        for number, (name, run) in enumerate(runs.items(), 1):
            console.print(f"run {name}, {number} of {len(runs)}", markup=False, highlight=False)
            places = {"": run.config} | {f"left_out/{source}": config for source, config in run.also.items()}
            found = [
                run_candidates(
                    config,
                    folder_of(workdir, name) / place,
                    {folder_of(workdir, point.name) / place: point for point in run.points},
                    run.data,
                    console,
                    interrupts,
                )
                for place, config in places.items()
            ]
            shown |= {p.name: merged(of_p) for p, of_p in zip(run.points, zip(*found, strict=True), strict=True)}
    outcome = choose(shown, validator)
    if jax.process_index() == 0:
        _write_choice(workdir, outcome)
    exported = NONE if outcome.arm == TEXT else outcome.arm
    _export(runs, exported, workdir)
    if jax.process_index() == 0:
        folder = folder_of(workdir, exported)
        weights = shown[NONE].untrained if outcome.arm == TEXT else {}
        writing.copy(folder / bundle.NAME, workdir / bundle.NAME, writing.with_weights(weights))
    return outcome


def _write_choice(workdir: Path, outcome: Outcome) -> None:
    path = workdir / CHOICE
    before = path.read_bytes() if path.exists() else None
    write_json(path, outcome.as_json())
    if before != path.read_bytes():
        (workdir / REVEALED).unlink(missing_ok=True)


def _export(runs: Mapping[str, Run], name: str, workdir: Path) -> None:
    """Write the bundle of a candidate; that of a run's selected step was written after its training."""
    for run_name, run in runs.items():
        for point in run.points[run_name != MERGE :]:
            if point.name == name:
                export(point, folder_of(workdir, run_name), folder_of(workdir, name), run.config, run.data)


def choose(shown: Mapping[str, Gathered], validator: str | None = None) -> Outcome:
    """Choose among candidates and apply the guard. A pure function.

    By default the validator is `TARGET_USERS` where there are any, else that of `selection.default_validator`.

    Args:
      shown: by name, `none` first; `TARGET` may be among them, as an arm of the guard only.
      validator: see `adapt`.

    Raises:
      ValueError: the validator gives no candidate a score.
    """
    found = {name: selection.scores(one.evidence) for name, one in shown.items() if name != TARGET}
    judged_on = shown[NONE].judged
    has_target_users = judged_on and shown[NONE].evidence.left_out_ndcg is None
    scores = {name: _of_users(shown[name]) | one.values if has_target_users else one.values
              for name, one in found.items()}  # fmt: skip
    left_out = {name: one.left_out for name, one in found.items()}
    candidates = [selection.Candidate(*item) for item in scores.items()]
    validator = validator or (TARGET_USERS if has_target_users else selection.default_validator(candidates))
    chosen = selection.choose(candidates, validator).name
    runs = dict.fromkeys([NONE, chosen, *(name for name in shown if name == TARGET)])
    arms = (TEXT, *runs)
    if not judged_on:
        guard = (
            f"{TEXT} is kept: there are no validation events to judge a model on; a zero-shot run needs a second "
            f"source, which train.selection=auto leaves out. Without the guard, {chosen} would be chosen"
        )
        return Outcome(chosen, validator, scores, left_out, TEXT, guard, arms, None, {})
    everything = {
        domain: {TEXT: ndcg[UNTRAINED]} | {name: one.judged[domain][ANSWER] for name, one in shown.items()}
        for domain, ndcg in judged_on.items()
    }
    sets = {domain: {arm: ndcg[arm] for arm in arms} for domain, ndcg in everything.items()}
    # The best of the candidates was found on the users that the guard reads.
    tried = len(shown) if validator in (LEFT_OUT_SOURCE, TARGET_USERS) else 0
    decision = selection.decide(sets, unguarded=chosen, tried=tried)
    gains = {name: selection.worst_gain(everything, name, TEXT, decision.confidence) for name in shown}
    return Outcome(chosen, validator, scores, left_out, decision.arm, decision.text, arms, decision, gains)


def _of_users(shown: Gathered) -> dict[str, float]:
    """The score by `TARGET_USERS`."""
    (arms,) = shown.judged.values()
    return {TARGET_USERS: float(arms[ANSWER].mean())}

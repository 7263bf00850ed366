"""Runs the candidates of an adaptation, chooses one without labels of the target, and applies the guard.

    DIR/candidates/NAME    a run for each candidate, and `target`: the target alone, if the regime trains on it
    DIR/choice.json        the choice and the guard's decision, written before any test event is ranked
    DIR/bundle             the bundle of the arm that the guard chose

`reveal` ranks the test events of every candidate afterwards, to judge the choice; no choice depends on it.
"""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
from rich.console import Console

from llmrec_jax import selection
from llmrec_jax.blend.answer import ANSWER, MODEL
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.inference import bundle, writing
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import compile_cache
from llmrec_jax.train.candidate import NONE, run_candidate
from llmrec_jax.train.evaluation import Evaluator, selected_params
from llmrec_jax.train.evidence import UNTRAINED, Shown, rank_answer
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.prepared import Data

TARGET = "target"  # the arm, and the name of its run, that is trained on the target alone; no candidate
TEXT = "text"  # the arm of the answer without a trained model
LEFT_OUT_SOURCE = "left_out_source"  # the validator that reads the users that the guard reads in zero-shot runs
FIGURE = "ndcg@10"  # of the models, for the regret and the rank correlation


class Run(NamedTuple):
    """A run and its data, which the candidates share."""

    config: Config
    data: Data


class Outcome(NamedTuple):
    """The choice and the guard's decision."""

    chosen: str  # candidate with the highest score
    validator: str
    scores: dict[str, dict[str, float]]  # candidate -> validator -> score
    left_out: dict[str, dict[str, str]]  # candidate -> validator -> why it has no score
    arm: str  # of `arms`: what the guard chose
    guard: str  # its reasons, for the report
    arms: tuple[str, ...]  # `TEXT`, `NONE`, the chosen candidate and `TARGET`; without repeats and what there is not
    decision: selection.Decision | None  # None: there is no evidence for the guard

    def as_json(self) -> dict[str, Any]:
        """`choice.json`."""
        return {
            "chosen": self.chosen,
            "validator": self.validator,
            "arm": self.arm,
            "guard": self.guard,
            "candidates": [
                {"name": name, "scores": found, "left_out": self.left_out[name]} for name, found in self.scores.items()
            ],
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
    shown = {}
    with compile_cache.kept_in(workdir, console):
        for number, (name, run) in enumerate(runs.items(), 1):
            console.print(f"run {name}, {number} of {len(runs)}", markup=False, highlight=False)
            shown[name] = run_candidate(run.config, folder_of(workdir, name), run.data, console, interrupts)
    outcome = choose(shown, validator)
    if jax.process_index() == 0:
        _write(workdir / "choice.json", outcome.as_json())
        folder = folder_of(workdir, NONE if outcome.arm == TEXT else outcome.arm)
        weights = {MODEL: 0.0} if outcome.arm == TEXT else None
        writing.copy(folder / bundle.NAME, workdir / bundle.NAME, weights)
    return outcome


def folder_of(workdir: Path, name: str) -> Path:
    """The folder of a candidate's run."""
    return workdir / "candidates" / name


def choose(shown: Mapping[str, Shown], validator: str | None = None) -> Outcome:
    """Choose among candidates by what they show, and apply the guard. A pure function; see `adapt`."""
    found = {name: selection.scores(one.evidence) for name, one in shown.items() if name != TARGET}
    scores = {name: one.values for name, one in found.items()}
    left_out = {name: one.left_out for name, one in found.items()}
    candidates = [selection.Candidate(*item) for item in scores.items()]
    validator = validator or selection.default_validator(candidates)
    chosen = selection.choose(candidates, validator).name
    runs = dict.fromkeys([NONE, chosen, *(name for name in shown if name == TARGET)])
    arms, users = (TEXT, *runs), {name: shown[name].arms for name in runs}
    if not all(users.values()):
        guard = (
            f"{TEXT} is kept: no source is left out, so that nothing shows whether a model helps in a new domain; name "
            f"a second source. Without the guard, {chosen} would be chosen"
        )
        return Outcome(chosen, validator, scores, left_out, TEXT, guard, arms, None)
    ndcg = {TEXT: users[NONE][UNTRAINED]} | {name: figures[ANSWER] for name, figures in users.items()}
    # In zero-shot runs the best of the candidates was found on the users that the guard reads.
    tried = len(found) if validator == LEFT_OUT_SOURCE else 0
    decision = selection.decide({shown[NONE].judged_on: ndcg}, unguarded=chosen, tried=tried)
    return Outcome(chosen, validator, scores, left_out, decision.arm, decision.text, arms, decision)


def reveal(runs: Mapping[str, Run], workdir: Path, console: Console) -> dict[str, dict[str, Any]]:
    """Test metrics of each run's model, those of its answer under `answer`, and under `untrained` those of the answer
    without the model. Call it after `adapt`.

    Raises:
      ValueError: the choice is not on disk.
    """
    if not (workdir / "choice.json").is_file():
        raise UserError(f"{workdir} holds no choice.json: the test events are ranked after the choice only")
    revealed = {}
    for name, (config, data) in runs.items():
        console.print(f"test events: {name}", markup=False, highlight=False)
        experiment, mesh = assemble(data, config), make_layout(config.mesh).mesh
        evaluator, params = Evaluator(experiment, mesh), selected_params(folder_of(workdir, name), experiment, mesh)
        case = experiment.corpus.case(experiment.corpus.target, "test")
        model = evaluator.predictor(params, case.domain)
        found: dict[str, Any] = dict(
            metrics(rank_case(model, case, mesh=mesh, batch_size=config.train.eval_batch_size).rank_N)
        )
        blend = evaluator.answer(params).blends["test"]
        for arm, weights in ((ANSWER, blend.weights), (UNTRAINED, {**blend.weights, MODEL: 0.0})):
            ranks = rank_answer(dataclasses.replace(blend, weights=weights), case.histories, case.target_N)
            found[arm] = metrics(ranks.rank_N)
        revealed[name] = found
    return revealed


def judged(outcome: Outcome, revealed: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """What `llmrec adapt --json` prints: the outcome, and how good the choice was if the test figures are revealed."""
    tests = revealed or {}
    facts: dict[str, Any] = {
        "chosen": outcome.chosen,
        "validator": outcome.validator,
        "arm": outcome.arm,
        "guard": outcome.guard,
        "candidates": [{"name": n, "scores": s, "test": tests.get(n)} for n, s in outcome.scores.items()],
        "arms": {arm: _test_of(arm, tests) for arm in outcome.arms},
        "regret": None,
        "spearman": {},
    }
    if revealed:
        test = {name: float(tests[name][FIGURE]) for name in outcome.scores}
        found = selection.judge([selection.Candidate(*item) for item in outcome.scores.items()], test)
        facts["regret"] = selection.regret(outcome.chosen, test)
        facts["spearman"] = {name: numbers["spearman"] for name, numbers in found.items()}
    return facts


def _test_of(arm: str, tests: Mapping[str, Mapping[str, Any]]) -> dict[str, float] | None:
    """Test metrics of an arm's answer; None if they are not revealed."""
    if not tests:
        return None
    return tests[NONE][UNTRAINED] if arm == TEXT else tests[arm][ANSWER]


def _write(path: Path, facts: dict[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n")
    os.replace(temporary, path)

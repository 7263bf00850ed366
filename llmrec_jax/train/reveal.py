"""Judges a choice of `portfolio` once it is on disk, by the test events of every candidate. No choice depends on it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from llmrec_jax import selection
from llmrec_jax.blend.answer import ANSWER, MODEL
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.parallel import make_layout
from llmrec_jax.train.candidate import NONE
from llmrec_jax.train.evaluation import Evaluator, selected_params
from llmrec_jax.train.evidence import UNTRAINED, rank_answer
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.portfolio import TEXT, Outcome, Run, folder_of

FIGURE = "ndcg@10"  # of the models, for the regret and the rank correlation


def reveal(runs: Mapping[str, Run], workdir: Path, console: Console) -> dict[str, dict[str, Any]]:
    """Test metrics of each run's model, those of its answer under `answer`, and under `untrained` those of the answer
    without the model. Call it after `adapt`.

    Raises:
      ValueError: the choice is not on disk.
    """
    if not (workdir / "choice.json").is_file():
        raise UserError(f"{workdir} holds no choice.json: the test events are ranked after the choice only")
    revealed = {}
    for name, (config, data, _) in runs.items():
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

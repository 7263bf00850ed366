"""Evaluates a choice of `portfolio` after it is written, on the test events of all candidates. No choice depends on it.

`DIR/revealed.json`, next to `choice.json`, has the test metrics, see `facts`.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from llmrec_jax import selection
from llmrec_jax.blend.answer import ANSWER
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.evaluate.verdict import ndcg, paired_bootstrap
from llmrec_jax.parallel import make_layout
from llmrec_jax.train.candidate import params_of
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.evidence import UNTRAINED, rank_answer
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.points import NONE
from llmrec_jax.train.portfolio import CHOICE, REVEALED, TEXT, Outcome, Run, folder_of
from llmrec_jax.train.workdir import write_json

FIGURE = "ndcg@10"  # of the models, for the regret and the rank correlation
GAIN = ("gain", "interval_95")  # of an answer's NDCG@10 over that of the answer without a model, in `facts`


def reveal(runs: Mapping[str, Run], workdir: Path, outcome: Outcome, console: Console) -> dict[str, Any]:
    """Rank the test events with every candidate; write and return the `facts`. Call it after `adapt`.

    Raises:
      ValueError: the choice is not on disk.
    """
    if not (workdir / CHOICE).is_file():
        raise UserError(f"{workdir} holds no {CHOICE}: the test events are ranked after the choice only")
    tests: dict[str, dict[str, Any]] = {}
    for name, run in runs.items():
        experiment, mesh = assemble(run.data, run.config), make_layout(run.config.mesh).mesh
        evaluator = Evaluator(experiment, mesh)
        case = experiment.corpus.case(experiment.corpus.target, "test")
        for point in run.points:
            console.print(f"test events: {point.name}", markup=False, highlight=False)
            params = params_of(point, folder_of(workdir, name), experiment, mesh)
            model, size = evaluator.predictor(params, case.domain), experiment.config.train.eval_batch_size
            found: dict[str, Any] = dict(metrics(rank_case(model, case, mesh=mesh, batch_size=size).rank_N))
            answer = evaluator.answer(params)
            blend = answer.blends["test"]
            ranks = {
                arm: rank_answer(dataclasses.replace(blend, weights=weights), case.histories, case.target_N).rank_N
                for arm, weights in ((ANSWER, blend.weights), (UNTRAINED, answer.fit.untrained))
            }
            gain_N = ndcg(ranks[ANSWER]) - ndcg(ranks[UNTRAINED])
            gain = dict(zip(GAIN, (float(gain_N.mean()), list(paired_bootstrap(gain_N))), strict=True))
            tests[point.name] = found | {arm: dict(metrics(rank_N)) for arm, rank_N in ranks.items()}
            tests[point.name][ANSWER] |= gain
    revealed = facts(outcome, tests)
    if jax.process_index() == 0:
        write_json(workdir / REVEALED, revealed)
    return revealed


def facts(outcome: Outcome, tests: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """What `llmrec adapt --json` prints: the outcome, and how good the choice was if the test figures are revealed.

    `tests` are, by candidate and for the target alone, the test metrics of the model; under `answer` those of the
    answer, with its gain over the answer without the model and the interval of this gain (paired bootstrap, 95 %); and
    under `untrained` those of the answer without the model.
    """
    tests = tests or {}
    found: dict[str, Any] = {
        "chosen": outcome.chosen,
        "validator": outcome.validator,
        "arm": outcome.arm,
        "guard": outcome.guard,
        "candidates": [{"name": n, "scores": s, "test": tests.get(n)} for n, s in outcome.scores.items()],
        "arms": {arm: _test_of(arm, tests) for arm in outcome.arms},
        "regret": None,
        "spearman": {},
    }
    if tests:
        test = {name: float(tests[name][FIGURE]) for name in outcome.scores}
        judged = selection.judge([selection.Candidate(*item) for item in outcome.scores.items()], test)
        found["regret"] = selection.regret(outcome.chosen, test)
        found["spearman"] = {name: numbers["spearman"] for name, numbers in judged.items()}
    return found


def _test_of(arm: str, tests: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Test metrics of an arm's answer; None if they are not revealed."""
    if not tests:
        return None
    return tests[NONE][UNTRAINED] if arm == TEXT else tests[arm][ANSWER]

"""How good choices without target labels are: `python benchmarks/validators.py RESULT.json ...` prints Markdown tables.

A result is what `llmrec adapt --json --reveal` prints or its `revealed.json`, one file for each pair of shops and seed:
the name of a file, without `.json` and a seed at its end (`films_to_books-seed0`, `films_to_books.s0`), is the name of
the pair. Several seeds of a pair are averaged first, so that every pair counts once.

A candidate can recommend in two ways: by its trained model alone (`--figure model`) or by the answer, the weighted sum
of text, structure and the model (`--figure answer`). `text` is the answer without a model in both. Nothing is trained
or ranked here.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a file, Python looks for modules beside it only

import numpy as np

from llmrec_jax.selection import Candidate, choose, judge

METRIC = "ndcg@10"
TEXT, NONE, TARGET = "text", "none", "target"
SEED = re.compile(r"[-_.]s(eed)?[-_]?[0-9]+$")
NAME = re.compile(
    r"(?P<method>[a-z_]+)[-:](?P<weight>[0-9.]+)(?P<balance>:[a-z_]+)?(@(?P<step>[0-9]+))?(?P<other>@.*)?"
)

Rule = Callable[["Result"], str | None]  # gives the name of an arm; None: the rule does not apply


class Result(NamedTuple):
    """One run of `llmrec adapt`, revealed."""

    pair: str
    chosen: str
    arm: str  # that the guard chose
    candidates: list[Candidate]
    model: dict[str, float]  # candidate -> NDCG@10 of its model alone
    answer: dict[str, float]  # candidate, and `target` if there is one, -> NDCG@10 of its answer
    text: float

    def figures(self, figure: str) -> dict[str, float]:
        """NDCG@10 of every arm; the target alone is known by its answer only."""
        found = self.model | {TARGET: self.answer[TARGET]} if TARGET in self.answer else self.model
        return {TEXT: self.text} | (self.answer if figure == "answer" else found)


def read(path: Path) -> Result:
    """Raises SystemExit if the file is no revealed result."""
    try:
        facts = json.loads(path.read_text())
        tests = {found["name"]: found["test"] for found in facts["candidates"]}
        answers = {name: test["answer"][METRIC] for name, test in tests.items()}
        if TARGET in facts["arms"]:
            answers[TARGET] = facts["arms"][TARGET][METRIC]
        return Result(
            pair=SEED.sub("", path.stem),
            chosen=facts["chosen"],
            arm=facts["arm"],
            candidates=[Candidate(found["name"], found["scores"]) for found in facts["candidates"]],
            model={name: test[METRIC] for name, test in tests.items()},
            answer=answers,
            text=facts["arms"][TEXT][METRIC],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path}: not what `llmrec adapt --json --reveal` prints: {error!r}") from error


def rules(dann: str | None = None, coral: str | None = None) -> dict[str, Rule]:
    """Ways to choose an arm, by name. `dann` and `coral` name the candidates of the fixed rules, see `fixed`."""
    return {
        "automatic choice with the guard": lambda result: result.arm,
        "automatic choice without the guard": lambda result: result.chosen,
        "last checkpoint of DANN": lambda result: dann or fixed(result, "dann"),
        "best source validation": lambda result: by_validator(result, "source_risk"),
        "always CORAL": lambda result: coral or fixed(result, "coral"),
        "source only (`none`)": lambda _: NONE,
        "text k-NN and structure (`text`)": lambda _: TEXT,
        "target alone (`target`)": lambda result: TARGET if TARGET in result.answer else None,
    }


def fixed(result: Result, method: str) -> str | None:
    """The candidate of a method whose weight is nearest to 1; of its checkpoints the last, of no interpolation."""
    matches = {candidate.name: NAME.fullmatch(candidate.name) for candidate in result.candidates}
    found = {name: m for name, m in matches.items() if m and m["method"] == method and not m["other"]}

    def order(name: str) -> tuple[float, bool, int]:
        step = found[name]["step"] or ""
        distance = abs(np.log(float(found[name]["weight"]) or 1e-9))
        return -distance, not found[name]["balance"], int(step or -1)

    return max(found, key=order, default=None)


def by_validator(result: Result, validator: str) -> str | None:
    """The candidate with the highest score; None if none has a score."""
    if not any(validator in candidate.scores for candidate in result.candidates):
        return None
    return choose(result.candidates, validator).name


def validator_table(results: Sequence[Result], figure: str) -> list[list[str]]:
    """A row for each validator; shares are over all runs."""
    rows = [["validator", "runs", "mean regret", "mean Spearman", "worse than `none`", "worse than `text`"]]
    found: dict[str, list[tuple[Result, dict[str, Any]]]] = {}
    for result in results:
        figures = result.figures(figure)
        for name, numbers in judge(result.candidates, {c.name: figures[c.name] for c in result.candidates}).items():
            found.setdefault(name, []).append((result, numbers))
    for name, pairs in found.items():
        regret = over_pairs((result, numbers["regret"]) for result, numbers in pairs)
        defined = [(result, n["spearman"]) for result, n in pairs if n["spearman"] is not None]
        below_text = sum(result.figures(figure)[n["chosen"]] < result.text for result, n in pairs)
        below_none = sum(n["worse_than_first"] for _, n in pairs)
        rows.append(
            [f"`{name}`", str(len(pairs)), f"{regret:.4f}", f"{over_pairs(defined):+.2f}" if defined else "-",
             f"{below_none} of {len(pairs)}", f"{below_text} of {len(pairs)}"]
        )  # fmt: skip
    return rows


def rule_table(results: Sequence[Result], figure: str, ways: Mapping[str, Rule]) -> list[list[str]]:
    """A row for each rule. Regret is over all arms including `text`, and over the candidates' models alone."""
    rows = [
        ["rule", "runs", "mean regret, all arms", "mean regret, models alone", f"mean {METRIC}",
         "mean ratio to `none`", "worst pair's ratio to `text`", "runs below `none`", "runs below `text`"]
    ]  # fmt: skip
    for name, rule in ways.items():
        chosen = [(result, arm) for result in results if (arm := rule(result)) in result.figures(figure)]
        if not chosen:
            rows.append([name, "0", *["-"] * 7])
            continue
        # One row a run: chosen, best arm, `none`, `text`.
        columns = [(result, (f := result.figures(figure))[arm], max(f.values()), f[NONE]) for result, arm in chosen]
        are_models = all(arm in result.model for result, arm in chosen)
        models = [(result, max(result.model.values()) - result.model[arm]) for result, arm in chosen if are_models]
        by_pair = {
            pair: np.mean([[value, none, result.text] for result, value, _, none in columns if result.pair == pair], 0)
            for pair in dict.fromkeys(result.pair for result, _ in chosen)
        }
        rows.append(
            [name, str(len(chosen)), f"{over_pairs((r, best - value) for r, value, best, _ in columns):.4f}",
             f"{over_pairs(models):.4f}" if are_models else "-",
             f"{np.mean([value for value, _, _ in by_pair.values()]):.4f}",
             mean_ratio([(value, none) for value, none, _ in by_pair.values()]),
             f"{min(value / text for value, _, text in by_pair.values()):.3f}",
             str(sum(value < none for _, value, _, none in columns)),
             str(sum(value < result.text for result, value, _, _ in columns))]
        )  # fmt: skip
    return rows


def mean_ratio(fractions: Sequence[tuple[float, float]]) -> str:
    """A cell; "-" if a denominator is 0."""
    if any(denominator == 0 for _, denominator in fractions):
        return "-"
    return f"{np.mean([numerator / denominator for numerator, denominator in fractions]):.3f}"


def arm_table(results: Sequence[Result], figure: str) -> list[list[str]]:
    """A row for each arm and for the automatic choice, a column for each pair: the mean over its seeds."""
    pairs = list(dict.fromkeys(result.pair for result in results))
    arms = list(dict.fromkeys(arm for result in results for arm in result.figures(figure)))
    choices = {f"`{arm}`": [arm] * len(results) for arm in arms}
    choices["automatic choice with the guard"] = [result.arm for result in results]
    rows = [["arm", *(f"{pair} ({sum(result.pair == pair for result in results)})" for pair in pairs)]]
    for name, chosen in choices.items():
        cells = []
        for pair in pairs:
            found = [result.figures(figure).get(arm) for result, arm in zip(results, chosen, strict=True)
                     if result.pair == pair]  # fmt: skip
            values = [value for value in found if value is not None]
            cells.append(f"{np.mean(values):.4f}" if values else "-")
        rows.append([name, *cells])
    return rows


def over_pairs(values: Iterable[tuple[Result, float]]) -> float:
    """The mean over pairs of the mean over the runs of a pair."""
    by_pair: dict[str, list[float]] = {}
    for result, value in values:
        by_pair.setdefault(result.pair, []).append(value)
    return float(np.mean([np.mean(found) for found in by_pair.values()]))


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("results", nargs="+", type=Path, help="what `llmrec adapt --json --reveal` printed")
    parser.add_argument("--figure", choices=("answer", "model"), help="by default both, one after the other")
    parser.add_argument("--dann", help="candidate of `last checkpoint of DANN`; by default that of weight nearest to 1")
    parser.add_argument("--coral", help="candidate of `always CORAL`; by default that of weight nearest to 1")
    args = parser.parse_args(arguments)
    results = [read(path) for path in args.results]
    num_pairs = len({result.pair for result in results})
    for figure in (args.figure,) if args.figure else ("answer", "model"):
        what = {"answer": "answers (text, structure and model)", "model": "models alone"}[figure]
        print(f"### Test {METRIC.upper()} of the {what}: {len(results)} runs of {num_pairs} pairs\n")
        for rows in (
            rule_table(results, figure, rules(args.dann, args.coral)),
            validator_table(results, figure),
            arm_table(results, figure),
        ):
            print(markdown(rows), end="\n\n")


if __name__ == "__main__":
    main()

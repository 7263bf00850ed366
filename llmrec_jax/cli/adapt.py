"""The command `adapt`: trains with several adaptation methods, chooses one without target labels, applies the guard."""

import contextlib
import json as json_lib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from llmrec_jax.cli.training import parsed, stops_at_once
from llmrec_jax.config import Config
from llmrec_jax.errors import UserError, one_line_errors
from llmrec_jax.train.interrupts import Interrupts

# Weights that helped on the built-in shops, and steps back to the start, which helped on real ones; docs/adaptation.md.
DEFAULTS = ("coral:0.3", "mmd:0.1", "mmd:1", "dann:0.03", "none@wise:0.25", "@wise:0.5")

Flag = tyro.conf.FlagCreatePairsOff


class Arguments(NamedTuple):
    """Of the command."""

    config: Config
    workdir: Path
    candidates: tuple[str, ...]
    left_out: tuple[str, ...]
    validator: str | None
    reveal: bool
    json: bool


def adapt(arguments: Sequence[str], prog: str = "llmrec adapt") -> int:
    """`llmrec adapt NAME|CONFIG.py [--workdir DIR] [--candidates ...] [--reveal] [--json] [--SECTION.FIELD VALUE ...]`;
    return the exit code.
    """
    with one_line_errors() as status:
        given = parsed(arguments, prog, parser, "[--candidates coral:1 dann:0.1] [--reveal] [--json]")
        # With --json, standard output has the object alone.
        progress = contextlib.redirect_stdout(sys.stderr) if given.json else contextlib.nullcontext()
        with Interrupts() as interrupts:
            with progress:
                facts = _run(given, interrupts)
            if facts is not None:
                print(json_lib.dumps(facts, allow_nan=False))
    return status.code


def parser(defaults: Config, name: str) -> Callable[..., Arguments]:
    """The arguments of `adapt` for tyro; `defaults` is the configuration of the experiment `name`."""

    def parse(
        experiment: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NAME|CONFIG.py")],
        workdir: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs") / f"{name}-adapt",
        candidates: tuple[str, ...] = DEFAULTS,
        left_out: tuple[str, ...] = (),
        validator: str | None = None,
        reveal: Annotated[bool, Flag] = False,
        json: Annotated[bool, Flag] = False,
        config: Annotated[Config, tyro.conf.arg(name="")] = defaults,
    ) -> Arguments:
        """Train with several adaptation methods and weights and choose one by validators, which read no target labels
        except those that are trained on. A simpler way to recommend is kept unless the choice is significantly better.
        The same command again resumes.

        Example: llmrec adapt CONFIG.py --candidates coral:1 dann:0.1

        Args:
          experiment: A recipe or a configuration file, *.py; its adapt.method and adapt.weight are not used.
          workdir: Folder for candidates/, choice.json, report.html and bundle/.
          candidates: METHOD:WEIGHT or METHOD:WEIGHT:BALANCE of each run, such as coral:1 or mmd:0.3:gradient.
            A run without adaptation is always added.
            @STEP, @all or @average after a run: candidates from its checkpoints; alone: from those of all runs.
            @wise:SHARE: interpolates between the parameters before (SHARE 0) and after the training.
            merge: combines models that are trained on one source each.
            texts:STEPS: first trains the encoder as a language model on all texts.
          left_out: Sources to leave out in turn; each takes one run of every candidate.
            A candidate's score is the mean over them, and the guard decides by the worst one.
            The run without the first one is exported. By default one source is left out, see train.selection.
          validator: The validator that chooses among the candidates.
            By default target_users with users of the target, else left_out_source, or bnm if no source is left out.
          reveal: After the choice, rank the test events of all candidates and print how good the choice was.
          json: Print one JSON object; the progress goes to standard error.
          config: The fields of the configuration.
        """
        return Arguments(config, workdir, candidates, left_out, validator, reveal, json)

    return parse


def _run(given: Arguments, interrupts: Interrupts) -> dict[str, Any] | None:
    """Run the portfolio and print its tables; with `json` return the object instead, on the first process."""
    from llmrec_jax import cluster
    from llmrec_jax.train import candidate
    from llmrec_jax.train.points import candidates

    config, workdir = given.config, given.workdir
    # All checks before waiting for other hosts or creating a folder.
    left_out = candidate.leaving_out(config, given.left_out)
    configs, points = candidates(next(iter(left_out.values()), config), given.candidates)
    _check(given)
    cluster.join()
    import jax

    from llmrec_jax.html import write_adaptation
    from llmrec_jax.inference.writing import check_replaceable
    from llmrec_jax.models.fetch import ensure
    from llmrec_jax.progress import shown
    from llmrec_jax.train import portfolio, reveal

    console = Console(quiet=jax.process_index() != 0, soft_wrap=True)
    check_replaceable(workdir / "bundle")
    if config.encoder.pretrained is not None:
        ensure(config.encoder.pretrained)
    with stops_at_once():
        runs = _runs(given, configs, points, console, interrupts)
        outcome = portfolio.adapt(runs, workdir, console, interrupts, given.validator)
        facts = reveal.reveal(runs, workdir, outcome, console) if given.reveal else reveal.facts(outcome)
    if jax.process_index() == 0:
        with shown("writing report.html"):
            write_adaptation(workdir)
    if given.json:
        return facts if jax.process_index() == 0 else None
    _print(facts, outcome.gains, workdir, console)
    return None


def _runs(
    given: Arguments, configs: dict[str, Config], points: list[Any], console: Console, interrupts: Interrupts
) -> dict[str, Any]:
    """The runs of the portfolio on their data, which all share but the target alone and those that start from texts."""
    from llmrec_jax.train import candidate, merge, portfolio, texts
    from llmrec_jax.train import points as points_lib
    from llmrec_jax.train.loop import reading

    shared = reading(configs[points_lib.NONE], console)
    if points_lib.MERGE in configs:
        merge.check(shared.corpus)
    runs = {}
    for name, config in configs.items():
        data = shared
        if found := points_lib.TEXTS.fullmatch(name):
            folder = portfolio.folder_of(given.workdir, name)
            config = texts.started_from_texts(config, int(found[1]), folder, console, interrupts)
            data = reading(config, console)
        also = candidate.leaving_out(config, given.left_out[1:])
        runs[name] = portfolio.Run(config, data, also, [point for point in points if point.run == name])
    if (alone := candidate.target_alone(given.config)) is not None:
        point = points_lib.Point(portfolio.TARGET, portfolio.TARGET)
        runs[portfolio.TARGET] = portfolio.Run(alone, reading(alone, console), {}, [point])
    return runs


def _check(given: Arguments) -> None:
    """Raises ValueError for what `adapt` cannot do."""
    from llmrec_jax.selection import VALIDATORS
    from llmrec_jax.train.portfolio import TARGET_USERS

    if given.validator not in (None, TARGET_USERS, *VALIDATORS):
        raise UserError(f"--validator {given.validator}: must be one of {', '.join((TARGET_USERS, *VALIDATORS))}")
    if given.config.stages or given.config.train.objective == "language_model":
        raise UserError(
            "adapt trains recommenders in one stage: take stages out of the configuration, run the earlier ones with "
            "llmrec train, and name their work folder with --train.init_from"
        )
    if (given.workdir / "config.json").exists():
        raise UserError(f"{given.workdir} holds a run of llmrec train; choose another --workdir")


def _print(facts: dict[str, Any], gains: dict[str, Any], workdir: Path, console: Console) -> None:
    """A table of the candidates and one of the validators, the best in bold; the choice; the guard's reasons.

    `gains` are those of `Outcome`.
    """
    from llmrec_jax.selection import Candidate, choose

    found, validator, is_revealed = facts["candidates"], facts["validator"], facts["regret"] is not None
    columns = {validator: [candidate["scores"].get(validator) for candidate in found]}
    if gains:
        columns["answer less text"] = [gains[candidate["name"]].difference for candidate in found]
    if is_revealed:
        columns["test, model"] = [candidate["test"]["ndcg@10"] for candidate in found]
        columns["test, answer"] = [candidate["test"]["answer"]["ndcg@10"] for candidate in found]
    table = Table("candidate", title="candidates, higher is better", title_justify="left")
    for name in columns:
        table.add_column(name, justify="right")
    best = [max(value for value in values if value is not None) for values in columns.values()]
    for candidate, *values in zip(found, *columns.values(), strict=True):
        cells = ["-" if value is None else Text(f"{value:.4f}", "bold" if value == top else "")
                 for value, top in zip(values, best, strict=True)]  # fmt: skip
        table.add_row(Text(candidate["name"]), *cells)
    console.print(table)
    choices = Table("validator", "its choice", title="all scores are in choice.json", title_justify="left")
    if is_revealed:
        choices.add_column("rank correlation with the test", justify="right")
    for name in dict.fromkeys(name for candidate in found for name in candidate["scores"]):
        correlation = facts["spearman"].get(name)
        cells = [Text(choose([Candidate(c["name"], c["scores"]) for c in found], name).name)]
        choices.add_row(name, *cells, *(["-" if correlation is None else f"{correlation:+.2f}"] * is_revealed))
    console.print(choices)
    lines = [f"chosen: {facts['chosen']}, by {validator}", f"guard: {facts['guard']}"]
    if is_revealed:
        arms = ", ".join(f"{name} {metrics['ndcg@10']:.4f}" for name, metrics in facts["arms"].items())
        lines.append(f"test NDCG@10 of the arms: {arms}; regret of the choice among the models: {facts['regret']:.4f}")
    lines.append(f"choice {workdir / 'choice.json'}, page {workdir / 'report.html'}, bundle {workdir / 'bundle'}")
    for line in lines:
        console.print(line, markup=False, highlight=False)

"""The commands: `train` serves train.py, the verbs are `python -m llmrec_jax VERB`. Only arguments in, only text out.

A command imports what it needs when it runs, so that help and wrong arguments are answered at once.

Exit codes: 0 done; 2 wrong usage, configuration or input, said in one message without a traceback.
"""

import json as json_lib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config, DataConfig
from llmrec_jax.errors import UserError, one_line_errors

USAGE = "usage: train.py CONFIG.py [--workdir DIR] [--SECTION.FIELD VALUE ...]  (train.py CONFIG.py --help: all fields)"
Folder = tyro.conf.Positional[Path]


def train(arguments: Sequence[str]) -> int:
    """`train.py CONFIG.py [--workdir DIR] [--SECTION.FIELD VALUE ...]`; return the exit code."""
    with one_line_errors() as status:
        if arguments and arguments[0] in ("-h", "--help"):
            print(USAGE)
            return 0
        if not arguments or arguments[0].startswith("-"):
            raise UserError(USAGE)
        config_path = Path(arguments[0])
        defaults = config_lib.load(config_path)

        def parse(
            config: Annotated[Config, tyro.conf.arg(name="")] = defaults,
            workdir: Path = Path("runs") / config_path.stem,
        ) -> tuple[Config, Path]:
            return config, workdir

        config, workdir = tyro.cli(parse, args=list(arguments[1:]), prog=f"train.py {config_path}")
        _train(config, workdir)
    return status.code


def _train(config: Config, workdir: Path) -> None:
    config_lib.validate(config)  # before it waits for other hosts, and before it makes a folder
    from llmrec_jax import cluster

    cluster.join()
    import jax

    from llmrec_jax.inference import bundle
    from llmrec_jax.train.loop import train_and_evaluate

    console = Console(quiet=jax.process_index() != 0, soft_wrap=True)
    trained = train_and_evaluate(config, workdir, console)
    if jax.process_index() == 0:
        bundle.save(trained, workdir / "bundle")
        console.print(f"report {workdir / 'report.json'}, bundle {workdir / 'bundle'}")


def main(arguments: Sequence[str]) -> int:
    """Run one verb; return the exit code."""
    verbs = {verb.__name__: verb for verb in (validate, prepare, evaluate, recommend)}
    with one_line_errors() as status:
        status.code = tyro.extras.subcommand_cli_from_dict(
            verbs, args=list(arguments), prog="python -m llmrec_jax", config=(tyro.conf.FlagCreatePairsOff,)
        )
    return status.code


def validate(folder: Folder, json: bool = False) -> int:
    """Check the records of a domain folder: a line `file:line: reason` for each that is bad.

    Args:
      folder: Holds items.jsonl and interactions.csv, plain or gzipped.
      json: Print one JSON object.
    """
    from llmrec_jax.data.domains import schema

    try:
        raw, _ = schema.read(folder, "fail")
    except schema.DataError as error:
        bad = [{"file": record.file, "line": record.line, "reason": record.reason} for record in error.records]
        _print(json, {"sound": False, "bad": bad}, "\n".join(map(str, error.records)))
        return 2
    counts = {"users": len(raw.user_ids), "items": len(raw.items), "interactions": len(raw.items_E)}
    _print(json, {"sound": True, "bad": [], **counts}, f"{folder}: sound: {_listed(counts)}")
    return 0


def prepare(
    domain: tyro.conf.Positional[str],
    root: Annotated[str, tyro.conf.arg(name="data.root")] = DataConfig.root,
    cache_dir: Annotated[str, tyro.conf.arg(name="data.cache-dir")] = DataConfig.cache_dir,
    on_bad_record: Annotated[
        Literal["fail", "skip"], tyro.conf.arg(name="data.on-bad-record")
    ] = DataConfig.on_bad_record,
    json: bool = False,
) -> int:
    """Prepare a domain into the cache, as the first run on it would, and print its counts.

    Args:
      domain: A name under the data root, a path, or demo:NAME.
      root: The folder that holds the domain folders.
      cache_dir: Where prepared domains lie.
      on_bad_record: Stop at bad records, or leave them out and count them.
      json: Print one JSON object.
    """
    from llmrec_jax.data.domains.domain import load_domain

    loaded = load_domain(domain, DataConfig(root=root, cache_dir=cache_dir, on_bad_record=on_bad_record))
    facts = {"name": loaded.name, "folder": str(loaded.folder), "hash": loaded.hash, **loaded.report}
    skipped = "".join(f"\n  skipped {count} x {reason}" for reason, count in loaded.report["skipped"].items())
    counts = {name: count for name, count in loaded.report.items() if name != "skipped"}
    _print(json, facts, f"{loaded.name} in {loaded.folder}: {_listed(counts)}{skipped}")
    return 0


def evaluate(workdir: Folder, batch_size: int | None = None, data_root: str | None = None, json: bool = False) -> int:
    """Evaluate a run again: every predictor on the target's validation and test events, the model as selected.

    Args:
      workdir: The work folder of the run.
      batch_size: Users on the devices at a time; changes speed and memory, no number.
      data_root: Where the domain folders lie now, if not where they lay.
      json: Print one JSON object.
    """
    from llmrec_jax.evaluate.report import print_table
    from llmrec_jax.train.evaluation import evaluate_run

    rows = evaluate_run(workdir, data_root=data_root, batch_size=batch_size)
    if json:
        print(json_lib.dumps({"results": rows}))
    else:
        print_table(rows, Console())
    return 0


def recommend(bundle: Folder, history: tuple[str, ...] = (), k: int = 10, json: bool = False) -> int:
    """Recommend items for a history: a table, or lines of id, score and title between tabs where no terminal reads.

    Args:
      bundle: The folder that a run left.
      history: Ids of items, oldest first; none: the most popular items.
      k: How many items.
      json: Print one JSON object.
    """
    from llmrec_jax.inference.recommender import Recommender

    recommender = Recommender.load(bundle)
    unknown = recommender.unknown(history)
    found = recommender.recommend([item_id for item_id in history if item_id not in unknown], k)
    if json:
        rows = [{"item_id": item_id, "score": score, "title": title} for item_id, score, title in found]
        print(json_lib.dumps({"unknown": unknown, "recommendations": rows}))
        return 0
    if unknown:
        print(f"unknown and left out: {', '.join(unknown)}", file=sys.stderr)
    if not sys.stdout.isatty():
        for item_id, score, title in found:
            print(item_id, f"{score:.4f}", title, sep="\t")
        return 0
    table = Table("item", "score", "title", box=None)
    for item_id, score, title in found:
        table.add_row(item_id, f"{score:.4f}", title)
    Console(markup=False).print(table)
    return 0


def _print(json: bool, facts: dict[str, Any], text: str) -> None:
    print(json_lib.dumps(facts) if json else text)


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items())

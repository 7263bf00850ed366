"""Verbs about domain folders: `validate` and `prepare`."""

from typing import Annotated, Literal

import tyro

from llmrec_jax.cli.printing import Folder, listed, print_facts
from llmrec_jax.config import DataConfig


def validate(folder: Folder, json: bool = False) -> int:
    """Check a domain folder: prints `file:line: reason` for each bad record.

    Example: llmrec validate data/my_shop

    Args:
      folder: Folder with items.jsonl and interactions.csv, plain or gzipped.
      json: Print one JSON object.
    """
    from llmrec_jax.data.domains import schema

    try:
        raw, _ = schema.read(folder, "fail")
    except schema.DataError as error:
        bad = [{"file": record.file, "line": record.line, "reason": record.reason} for record in error.records]
        print_facts(json, {"sound": False, "bad": bad}, "\n".join(map(str, error.records)))
        return 2
    counts = {"users": len(raw.user_ids), "items": len(raw.items), "interactions": len(raw.items_E)}
    print_facts(json, {"sound": True, "bad": [], **counts}, f"{folder}: sound: {listed(counts)}")
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
    """Prepare a domain ahead of the first run on it, and print its counts.

    Example: llmrec prepare data/my_shop

    Args:
      domain: A name under the data root, a path, or demo:NAME.
      root: Folder that holds the domain folders.
      cache_dir: Folder for prepared domains.
      on_bad_record: Stop at bad records, or skip and count them.
      json: Print one JSON object.
    """
    from llmrec_jax.data.domains.domain import load_domain

    loaded = load_domain(domain, DataConfig(root=root, cache_dir=cache_dir, on_bad_record=on_bad_record))
    facts = {"name": loaded.name, "folder": str(loaded.folder), "hash": loaded.hash, **loaded.report}
    skipped = "".join(f"\n  skipped {count} x {reason}" for reason, count in loaded.report["skipped"].items())
    counts = {name: count for name, count in loaded.report.items() if name != "skipped"}
    print_facts(json, facts, f"{loaded.name} in {loaded.folder}: {listed(counts)}{skipped}")
    return 0

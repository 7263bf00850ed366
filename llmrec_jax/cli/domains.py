"""Commands for domain folders: `validate`, `prepare` and `export-tfds`."""

from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from llmrec_jax.cli.printing import Folder, listed, print_facts
from llmrec_jax.config import DataConfig

COUNTS = ("users", "items", "interactions", "triples", "repeats_dropped", "items_without_interactions")
Root = Annotated[str, tyro.conf.arg(name="data.root")]
CacheDir = Annotated[str, tyro.conf.arg(name="data.cache-dir")]
OnBadRecord = Annotated[Literal["fail", "skip"], tyro.conf.arg(name="data.on-bad-record")]
Options = Annotated[tuple[str, ...], tyro.conf.UseAppendAction, tyro.conf.arg(metavar="OPTION=VALUE")]
MinRating = Annotated[float | None, tyro.conf.arg(name="data.min-rating")]


def validate(folder: Folder, json: bool = False) -> int:
    """Check a domain folder: prints how it was read, or each cause of bad records as `file:line: reason`.

    Example: llmrec validate data/my_shop

    Args:
      folder: Folder with items.jsonl and interactions.csv, plain or gzipped; see docs/data.md.
        Optional: kg.tsv, a knowledge graph (head_item_id<TAB>relation<TAB>tail),
        and domain.json, which declares what cannot be recognised: {"order": "timestamp|sequence|none",
        "encoding": "cp1252", "separator": ";", "time_unit": "s|ms|us|ns",
        "columns": {"user_id": "customer"}, "fields": {"brand": "author"}}.
      json: Print one JSON object with every bad record.
    """
    from llmrec_jax.data.domains import folders, prepare, problems
    from llmrec_jax.data.progress import reading_shown

    folder = folders.check_domain(folder)
    try:
        with reading_shown():
            report = prepare.build(folder, "fail", min_rating=None).report
    except problems.DataError as error:
        bad = [{"file": record.file, "line": record.line, "reason": record.reason} for record in error.records]
        facts = {"sound": False, "bad": bad, "notes": error.findings.notes, "remedies": error.findings.remedies}
        print_facts(json, facts, *problems.causes(error.findings), *_notes(error.findings.notes))
        return 2
    counts = {name: report[name] for name in COUNTS[:4] if name in report}
    print_facts(json, {"sound": True, "bad": [], **report}, f"{folder}: sound: {listed(counts)}", *_lines(report))
    return 0


def prepare(
    domain: tyro.conf.Positional[str],
    root: Root = DataConfig.root,
    cache_dir: CacheDir = DataConfig.cache_dir,
    on_bad_record: OnBadRecord = DataConfig.on_bad_record,
    min_rating: MinRating = DataConfig.min_rating,
    beam: Options = (),
    json: bool = False,
) -> int:
    """Prepare a domain ahead of the first run on it, and print its counts.

    Example: llmrec prepare data/my_shop

    Args:
      domain: A name under the data root, a path, or demo:NAME; with --beam also the URL of a folder, gs://bucket/shop.
      root: Folder that holds the domain folders.
      cache_dir: Folder for prepared domains.
      on_bad_record: Stop at bad records, or skip and count them.
      min_rating: Leave out interactions with a lower rating.
      beam: Prepare with Apache Beam, for a log that outgrows the memory of one machine. An option of the pipeline,
        runner=DirectRunner for this machine alone. May be repeated.
      json: Print one JSON object.
    """
    from llmrec_jax.data.distributed import pipeline
    from llmrec_jax.data.domains.domain import load_domain
    from llmrec_jax.data.progress import reading_shown

    config = DataConfig(root=root, cache_dir=cache_dir, on_bad_record=on_bad_record, min_rating=min_rating)
    with reading_shown():
        loaded = pipeline.load_domain(domain, config, beam) if beam else load_domain(domain, config)
    report = loaded.report
    facts = {"name": loaded.name, "folder": str(loaded.folder), "hash": loaded.hash, **report}
    counts = listed({name: report[name] for name in COUNTS if name in report})
    print_facts(json, facts, f"{loaded.name} in {loaded.folder}: {counts}", *_lines(report))
    return 0


def export_tfds(
    domain: tyro.conf.Positional[str],
    to: Path,
    root: Root = DataConfig.root,
    cache_dir: CacheDir = DataConfig.cache_dir,
    on_bad_record: OnBadRecord = DataConfig.on_bad_record,
    min_rating: MinRating = DataConfig.min_rating,
    json: bool = False,
) -> int:
    """Write a domain as a TFDS data set (array_record files) for other programs.

    Example: llmrec export-tfds data/my_shop --to my_shop_tfds

    Args:
      domain: A name under the data root, a path, or demo:NAME.
      to: The folder to write; must be new or empty.
      root: Folder that holds the domain folders.
      cache_dir: Folder for prepared domains.
      on_bad_record: Stop at bad records, or skip and count them.
      min_rating: Leave out interactions with a lower rating.
      json: Print one JSON object.
    """
    from llmrec_jax.data.domains import tfds_export
    from llmrec_jax.data.domains.domain import load_domain

    config = DataConfig(root=root, cache_dir=cache_dir, on_bad_record=on_bad_record, min_rating=min_rating)
    written = tfds_export.export(load_domain(domain, config), to)
    print_facts(json, {"folder": str(written)}, f"{written}: open it with tfds.builder_from_directory")
    return 0


def _lines(report: dict[str, Any]) -> list[str]:
    """Event order, notes and skipped records of a domain's report, one line each."""
    skipped = [f"skipped {count:,} x {reason}" for reason, count in report["skipped"].items()]
    return _notes([f"order: {report['order']} ({report['order_reason']})", *report["notes"], *skipped])


def _notes(notes: list[str]) -> list[str]:
    return [f"  {note}" for note in notes]

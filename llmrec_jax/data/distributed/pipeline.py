"""Prepares a domain with Apache Beam: the same files and the same hash as without it. Defines the pipeline.

The workers read the files of the log in parallel, then prepare the users in parallel. This machine reads the items and
the knowledge graph, and writes the prepared folder, one file of users at a time.
"""

import functools
import importlib.util
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from llmrec_jax.config import DataConfig
from llmrec_jax.data.distributed import assembly, storage, workers
from llmrec_jax.data.distributed.workers import Catalogue, Job
from llmrec_jax.data.domains import domain as domain_lib
from llmrec_jax.data.domains import prepare, schema
from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.event_rows import read_first_line
from llmrec_jax.data.domains.events import Census
from llmrec_jax.data.domains.folders import GRAPH, ITEMS, log_among
from llmrec_jax.data.domains.problems import Findings
from llmrec_jax.data.domains.settings import Settings
from llmrec_jax.errors import UserError

BUCKET_BYTES = 2**24  # of the stored log for each bucket of users
HEAD_BYTES = 2**20  # of a file of the log, to read its header
SMALL = (ITEMS, f"{ITEMS}.gz", GRAPH, f"{GRAPH}.gz", "domain.json")


def load_domain(spec: str, data: DataConfig, options: Sequence[str]) -> Domain:
    """As `domain.load_domain`, but prepares the domain with a pipeline.

    Args:
      spec: As there, or the URL of a folder that Beam can read, e.g. gs://bucket/shop.
      data: As there. The prepared domain is written to the cache folder of this machine.
      options: Of the pipeline, e.g. "runner=DataflowRunner", "project=shop", "temp_location=gs://bucket/tmp".

    Raises:
      UserError: as there; also if Apache Beam is not installed or an option is missing.
      DataError: as there; each cause of bad rows of the log lists its first three rows.
    """
    _check(options)
    with tempfile.TemporaryDirectory() as scratch:
        folder = _fetched(spec, Path(scratch)) if storage.is_remote(spec) else domain_lib.locate(spec, data)
        source = spec if storage.is_remote(spec) else str(folder)
        work = _work_folder(options, source, scratch)
        storage.make_folder(work)
        try:
            read_log = functools.partial(_read_log, source, work, data.min_rating, options)
            raw = schema.read_with(read_log, folder, data.on_bad_record)
            with storage.on_disk(raw.events.job.paths[0], HEAD_BYTES) as head:
                log = head, raw.events.hash
                digest = prepare.content_hash(folder, data.on_bad_record, data.min_rating, log)
            make = functools.partial(assembly.write, raw, folder, data.min_rating, digest)
            return domain_lib.load_prepared(folder.name, digest, make, data)
        finally:
            storage.remove(work)


def is_installed() -> bool:
    """Whether Apache Beam can be imported."""
    return importlib.util.find_spec("apache_beam") is not None


def _check(options: Sequence[str]) -> None:
    """Raises `UserError` if Beam is not installed or does not know an option or the runner."""
    if not is_installed():
        raise UserError("--beam needs Apache Beam: pip install 'llmrec_jax[beam]'")
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.runners.runner import create_runner

    parsed = PipelineOptions([f"--{option}" for option in options])
    given = parsed.get_all_options(drop_default=True, retain_unknown_options=True)
    known = parsed.get_all_options(drop_default=True)  # Beam logs a warning with the others
    if unknown := sorted(given.keys() - known.keys()):
        raise UserError(f"--beam {unknown[0]}: Apache Beam has no such option of a pipeline")
    try:
        create_runner(parsed.view_as(StandardOptions).runner or "DirectRunner")
    except (ValueError, ImportError) as error:
        raise UserError(f"--beam runner: {error}") from None


def _work_folder(options: Sequence[str], source: str, scratch: str) -> str:
    """A new folder for intermediate files, which all workers can reach."""
    given = dict(option.split("=", 1) for option in options if "=" in option)
    if "temp_location" in given:
        return f"{given['temp_location'].rstrip('/')}/llmrec-{uuid.uuid4().hex}"
    if storage.is_remote(source) or given.get("runner") != "DirectRunner":
        raise UserError("name a folder that all workers can reach: --beam temp_location=gs://bucket/tmp")
    return f"{scratch}/work"


def _fetched(url: str, scratch: Path) -> Path:
    """A folder on this machine with the small files of a domain."""
    folder = scratch / url.rstrip("/").rsplit("/", 1)[-1]
    folder.mkdir()
    storage.check(url)
    for name in {*storage.names(url)}.intersection(SMALL):
        (folder / name).write_bytes(storage.read(f"{url.rstrip('/')}/{name}"))
    return folder


def _read_log(
    source: str,
    work: str,
    min_rating: float | None,
    options: Sequence[str],
    folder: Path,
    numbers: Mapping[str, int],
    bad_ids: set[str],
    settings: Settings,
    findings: Findings,
) -> assembly.Log:
    """Run the pipeline. The last arguments and the errors are those of `events.read_events`."""
    files = storage.names(source) if storage.is_remote(source) else [child.name for child in folder.iterdir()]
    paths = [f"{source.rstrip('/')}/{name}" for name in log_among(folder, files)]
    with storage.on_disk(paths[0], HEAD_BYTES) as head:
        header = read_first_line(head, settings)
    buckets = 1 + sum(map(storage.size, paths)) // BUCKET_BYTES
    job = Job(paths, header, settings, min_rating, buckets, work)
    storage.write(f"{work}/catalogue", msgspec.msgpack.encode(Catalogue([*numbers], bad_ids)))
    run(job, options)
    return assembly.gathered(job, folder, numbers, findings)


def run(job: Job, options: Sequence[str]) -> None:
    """Run the pipeline; its results are in the work folder."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    with beam.Pipeline(options=PipelineOptions([f"--{option}" for option in options])) as pipeline:
        read = (
            pipeline
            | "files" >> beam.Create(range(len(job.paths)))
            | "spread" >> beam.Reshuffle()
            | "read" >> beam.FlatMap(workers.read_file, job)
            | "kinds read" >> beam.Partition(_kind, workers.NUM_KINDS)
        )
        census = read[workers.RESULTS] | "censuses" >> beam.Map(_census) | "census" >> beam.CombineGlobally(_total)
        prepared = (
            read[workers.ROWS]
            | "rows" >> beam.Map(_key_and_value)
            | "by bucket" >> beam.GroupByKey()
            | "prepare" >> beam.FlatMap(workers.prepare_users, beam.pvalue.AsSingleton(census), job)
            | "kinds prepared" >> beam.Partition(_kind, workers.NUM_KINDS)
        )
        users = (
            prepared[workers.USERS]
            | "users" >> beam.Map(_key_and_value)
            | "by first row" >> beam.GroupByKey()
            | "write users" >> beam.FlatMap(workers.write_users, job)
        )
        bad = (
            (read[workers.BAD], prepared[workers.BAD])
            | "bad" >> beam.Flatten()
            | "bad rows" >> beam.Map(_key_and_value)
            | "by row" >> beam.GroupByKey()
            | "write bad" >> beam.FlatMap(workers.write_bad, job)
        )
        shared = (
            prepared[workers.LISTS]
            | "lists" >> beam.Map(_key_and_value)
            | "by list" >> beam.combiners.Count.PerKey()
            | "with several users" >> beam.FlatMap(workers.check_list)
            | "once" >> beam.Distinct()
        )
        hashed = pipeline | "log" >> beam.Create([job]) | "hash" >> beam.FlatMap(workers.hash_log)
        _ = (
            (read[workers.RESULTS], prepared[workers.RESULTS], users, bad, shared, hashed)
            | "results" >> beam.Flatten()
            | "to one" >> beam.Map(_to_one)
            | "together" >> beam.GroupByKey()
            | "write results" >> beam.Map(workers.write_results, job)
        )


def _kind(element: tuple[int, str, bytes], _: int) -> int:
    return element[0]


def _key_and_value(element: tuple[int, str, bytes]) -> tuple[str, bytes]:
    return element[1:]


def _to_one(element: tuple[int, str, bytes]) -> tuple[int, tuple[str, bytes]]:
    return 0, element[1:]


def _census(element: tuple[int, str, bytes]) -> Any:
    return msgspec.msgpack.decode(element[2], type=workers.FileReport).census


def _total(parts: Iterable[Any]) -> Any:
    return functools.reduce(Census.add, parts, Census.none())

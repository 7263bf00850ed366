"""A pipeline of Apache Beam prepares the same files as this process alone. `make test-beam` runs this file."""

import functools
import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from llmrec_jax import cli
from llmrec_jax.config import DataConfig
from llmrec_jax.data.distributed import pipeline, storage, workers
from llmrec_jax.data.domains.domain import load_domain
from llmrec_jax.data.domains.events import Census
from llmrec_jax.data.domains.problems import DataError
from llmrec_jax.errors import UserError
from tests.data import logs
from tests.docs.pages import REPO, commands

needs_beam = pytest.mark.skipif(not pipeline.is_installed(), reason="Apache Beam is not installed: make test-beam")
LOCAL = ["runner=DirectRunner"]
IDS = ("user_id", "item_id")
SHOPS: dict[str, tuple[tuple[str, ...], int, dict[str, str]]] = {  # columns, shards, settings
    "ties": ((*IDS, "rating", "timestamp"), 3, {}),
    "weights": ((*IDS, "timestamp", "weight"), 1, {}),
    "sequence": ((*IDS, "rating"), 3, {}),
    "lists": ((*IDS, "rating", "timestamp", "action", "impression_id"), 3, {}),
    "lists in sequence": ((*IDS, "weight", "action", "impression_id"), 3, {}),
    "no order": ((*IDS, "timestamp", "action", "impression_id"), 1, {"order": "none"}),
}


@pytest.fixture(autouse=True)
def many_small_parts(monkeypatch):
    monkeypatch.setattr(pipeline, "BUCKET_BYTES", 2_000)
    monkeypatch.setattr(workers, "BLOCK_ROWS", 50)
    monkeypatch.setattr(workers, "SPAN", 30)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def without_beam(job: workers.Job, _: object) -> None:
    """What `pipeline.run` does, one step after another; each group arrives in another order than it was sent in."""
    by_kind: dict[int, dict[str, list[bytes]]] = {kind: {} for kind in range(workers.NUM_KINDS)}

    def add(yielded: Iterable[tuple[int, str, bytes]]) -> None:
        for kind, key, value in yielded:
            by_kind[kind].setdefault(key, []).insert(0, value)

    for shard in reversed(range(len(job.paths))):
        add(workers.read_file(shard, job))
    reports = [msgspec.msgpack.decode(own[0], type=workers.FileReport) for own in by_kind[workers.RESULTS].values()]
    census = functools.reduce(Census.add, (report.census for report in reports), Census.none())
    for bucket in by_kind[workers.ROWS].items():
        add(workers.prepare_users(bucket, census, job))
    for list_id, users in by_kind[workers.LISTS].items():
        add(workers.check_list((list_id, len(users))))
    for kind, write in ((workers.USERS, workers.write_users), (workers.BAD, workers.write_bad)):
        for near in by_kind[kind].items():
            add(write(near, job))
    add(workers.hash_log(job))
    results = [(key, value) for key, values in by_kind[workers.RESULTS].items() for value in values]
    workers.write_results((0, results), job)


def check_files(tmp_path: Path, name: str, min_rating: float | None) -> None:
    columns, shards, settings = SHOPS[name]
    folder = str(logs.write(tmp_path / "shop", columns, logs.rows_of(columns, 500), shards, **settings))
    data = [DataConfig(cache_dir=str(tmp_path / cache), on_bad_record="skip", min_rating=min_rating) for cache in "ab"]
    one, other = load_domain(folder, data[0]), pipeline.load_domain(folder, data[1], LOCAL)
    assert one.folder != other.folder
    assert one.hash == other.hash
    assert files_of(one.folder) == files_of(other.folder)
    assert {"quarantine.jsonl", "items_E.npy"} <= files_of(other.folder).keys()
    assert other.report["skipped"]["items.jsonl: no title"] == 1
    assert (other.report.get("impressions", 0) > 100) == ("action" in columns)


@pytest.fixture
def steps_only(monkeypatch):
    monkeypatch.setattr(pipeline, "_check", lambda options: None)
    monkeypatch.setattr(pipeline, "run", without_beam)


@pytest.mark.parametrize("min_rating", [None, 3.0])
@pytest.mark.parametrize("name", SHOPS)
def test_the_steps_give_identical_files(tmp_path, steps_only, name, min_rating):
    check_files(tmp_path, name, min_rating)


@needs_beam
@pytest.mark.parametrize(("name", "min_rating"), [("ties", 3.0), ("lists", None)])
def test_the_pipeline_gives_identical_files(tmp_path, name, min_rating):
    check_files(tmp_path, name, min_rating)


@needs_beam
def test_a_domain_elsewhere_and_bad_rows(tmp_path, monkeypatch):
    """A path is taken for a URL, and read as one."""
    columns = SHOPS["ties"][0]
    folder = str(logs.write(tmp_path / "shop", columns, logs.rows_of(columns, 200), 3))
    work = f"temp_location={tmp_path / 'work'}"
    with pytest.raises(DataError) as expected:
        load_domain(folder, DataConfig(cache_dir=str(tmp_path / "cache")))
    monkeypatch.setattr(storage, "is_remote", lambda path: path.startswith(folder))
    with pytest.raises(UserError, match="name a folder that all workers can reach: --beam temp_location"):
        pipeline.load_domain(folder, DataConfig(), LOCAL)
    with pytest.raises(DataError) as found:
        pipeline.load_domain(folder, DataConfig(cache_dir=str(tmp_path / "cache")), [*LOCAL, work])
    assert str(found.value).splitlines()[1:] == str(expected.value).splitlines()[1:]
    assert list((tmp_path / "work").iterdir()) == []


@needs_beam
def test_the_command(tmp_path, capfd):
    hashes = []
    for cache, options in (("a", []), ("b", ["--beam", *LOCAL])):
        assert cli.main(["prepare", "demo:books", "--data.cache-dir", str(tmp_path / cache), "--json", *options]) == 0
        hashes.append(json.loads(capfd.readouterr().out)["hash"])
    assert hashes[0] == hashes[1]


def test_what_a_pipeline_cannot_prepare(tmp_path, steps_only):
    rows = ["u,i1,click,one", "v,i2,view,one"]
    folder = logs.write(tmp_path / "shop", (*IDS, "action", "impression_id"), rows)
    data = DataConfig(cache_dir=str(tmp_path / "cache"), on_bad_record="skip")
    with pytest.raises(UserError, match="has rows of several users"):
        pipeline.load_domain(str(folder), data, LOCAL)
    (folder / "interactions.csv").write_text("user_id,item_id,rating\nu,i1,1\n")
    with pytest.raises(
        UserError, match=r"data\.min_rating=6 leaves no interaction: all ratings are lower, from 1 to 1"
    ):
        pipeline.load_domain(
            str(folder), DataConfig(cache_dir=data.cache_dir, on_bad_record="skip", min_rating=6), LOCAL
        )


@needs_beam
@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("runner=Spork", r"--beam runner: Unexpected pipeline runner: Spork\."),
        ("projekt=x", "--beam projekt: Apache Beam has no such option"),
        ("project=x", "name a folder that all workers can reach"),
    ],
)
def test_options(option, message):
    with pytest.raises(UserError, match=message):
        pipeline.load_domain("demo:books", DataConfig(), [option])


@needs_beam
def test_a_place_that_cannot_be_read():
    with pytest.raises(UserError, match="nowhere://shop: Unable to get filesystem"):
        pipeline.load_domain("nowhere://shop", DataConfig(), [*LOCAL, "temp_location=nowhere://work"])


def test_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(pipeline, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r"pip install 'llmrec_jax\[beam\]'"):
        pipeline.load_domain("demo:books", DataConfig(), LOCAL)


@needs_beam
@pytest.mark.parametrize("runner", ["DirectRunner", "DataflowRunner", "FlinkRunner", "SparkRunner"])
def test_beam_knows_the_options_of_the_docs(runner):
    (command,) = (command for command in commands(REPO / "docs" / "scale.md") if f"runner={runner}" in command)
    options = [option for flag, option in itertools.pairwise(command) if flag == "--beam"]
    assert options
    pipeline._check(options)

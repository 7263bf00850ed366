"""A log in several files is read as if it were one."""

import json

import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import Domain, load_domain
from llmrec_jax.data.domains.problems import DataError
from tests.data import logs

COLUMNS = ("user_id", "item_id", "rating", "timestamp")
ROWS = logs.rows_of(COLUMNS, 400)


def load(root, shards, rows=ROWS, **fields) -> Domain:
    folder = logs.write(root / str(shards) / "shop", COLUMNS, rows, shards)
    return load_domain(str(folder), DataConfig(cache_dir=str(root / f"cache{shards}"), on_bad_record="skip", **fields))


@pytest.mark.parametrize("min_rating", [None, 3.0])
def test_shards_are_prepared_like_one_file(tmp_path, min_rating):
    whole, parts = load(tmp_path, 1, min_rating=min_rating), load(tmp_path, 3, min_rating=min_rating)
    assert whole.hash == parts.hash
    assert whole.folder != parts.folder
    arrays = [path.name for path in whole.folder.iterdir() if path.name not in ("facts.json", "quarantine.jsonl")]
    assert len(arrays) >= 6
    for name in arrays:
        assert (whole.folder / name).read_bytes() == (parts.folder / name).read_bytes()
    same = whole.report | {"notes": 0, "skipped": 0}
    assert parts.report | {"notes": 0, "skipped": 0} == same
    assert parts.report["notes"] == [
        note.replace("interactions.csv", "interactions-*.csv") for note in whole.report["notes"]
    ]
    assert sum(parts.report["skipped"].values()) == sum(whole.report["skipped"].values()) > 30
    rows = [json.loads(line) for line in (parts.folder / "quarantine.jsonl").read_text().splitlines()]
    lines = (parts.folder.parents[2] / "3" / "shop" / logs.NAMES[3][2]).read_text().splitlines()
    last = [row for row in rows if row["file"] == logs.NAMES[3][2] and row["raw"]]
    assert len(last) > 5
    assert all(lines[row["line"] - 1] == row["raw"] for row in last)


def test_each_shard_may_have_the_header(tmp_path):
    folder = logs.write(tmp_path / "shop", COLUMNS, ROWS[:9], 3)
    name = folder / logs.NAMES[3][2]
    name.write_text(",".join(COLUMNS) + "\n" + name.read_text())
    domain = load_domain(str(folder), DataConfig(cache_dir=str(tmp_path / "cache"), on_bad_record="skip"))
    assert domain.report["interactions"] == load(tmp_path, 1, ROWS[:9]).report["interactions"]
    assert "interactions-*.csv: 1 repeated header lines skipped" in domain.report["notes"]


def test_the_causes_of_bad_rows_are_those_of_all_shards(tmp_path):
    folder = logs.write(tmp_path / "shop", COLUMNS, ROWS, 3)
    with pytest.raises(DataError) as caught:
        load_domain(str(folder), DataConfig(cache_dir=str(tmp_path / "cache")))
    causes = str(caught.value).splitlines()[1:]
    unknown = [cause for cause in causes if "item_id is not among the items" in cause]
    assert len(unknown) == 1
    assert unknown[0].startswith(
        "  interactions-00000-of-00003.csv:38: item_id is not among the items (10 times; also "
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: (folder / logs.NAMES[3][1]).unlink(), "interactions-*.csv: the shards are not complete"),
        (lambda folder: (folder / logs.NAMES[3][1][:-3]).touch(), "interactions-*.csv: the shards are not complete"),
        (lambda folder: (folder / "interactions.csv").touch(), "both interactions.csv and shards of it are there"),
    ],
)
def test_shards_that_do_not_fit(tmp_path, change, reason):
    folder = logs.write(tmp_path / "shop", COLUMNS, ROWS[:9], 3)
    change(folder)
    with pytest.raises(DataError) as caught:
        load_domain(str(folder), DataConfig(cache_dir=str(tmp_path / "cache")))
    assert reason in str(caught.value)

"""`llmrec import`: what it prints, asks and writes; its folder is sound; the docs' commands work."""

import json
import re
import shlex
import sys

import pytest

from llmrec_jax import cli
from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import Domain, load_domain
from tests.conftest import REPO
from tests.importers import samples
from tests.importers.samples import ITEMS, LOG, SAMPLES, table

PAGE = (REPO / "docs" / "import.md").read_text()


@pytest.fixture
def shop(tmp_path):
    return samples.write(tmp_path / "raw", SAMPLES["movielens_csv"]())


def test_the_mapping_the_first_rows_and_the_counts_are_printed(shop, tmp_path, capsys):
    (shop / "ratings.csv").write_text((shop / "ratings.csv").read_text() + "7,99,1,1\n")
    assert cli.main(["import", str(shop), "--to", str(tmp_path / "to")]) == 0
    out = capsys.readouterr().out
    for line in (
        "recognised: MovieLens",
        "items: movies.csv (separator ',', utf-8): item_id = movieId, title, category = genres",
        "interactions: ratings.csv (separator ',', utf-8): user_id = userId, item_id = movieId, rating, timestamp",
        "not read: tags.csv: not needed",
        "items: item_id '1', title 'Café of Stone (1994)', category 'Drama, War'",
        "user_id '1', item_id '4', rating '2', timestamp '2020-09-14 12:26:40'",
        "8 items, 30 interactions",
        f"left out: 1 row, listed in {tmp_path / 'to' / 'left_out.csv'}",
        "1 x ratings.csv: item_id is not among the items",
    ):
        assert line in out
    assert cli.main(["validate", str(tmp_path / "to")]) == 0
    assert cli.main(["prepare", str(tmp_path / "to"), "--data.cache-dir", str(tmp_path / "cache")]) == 0


def test_json(shop, tmp_path, capsys):
    assert cli.main(["import", str(shop), "--to", str(tmp_path / "to"), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["items"], facts["interactions"], facts["left_out"]) == ("MovieLens", 8, 30, {})
    assert facts["mapping"]["ratings.csv"]["user_id"] == "userId"


def test_a_mistake_is_one_message(shop, tmp_path, capsys):
    for arguments, message in (
        ([str(shop), "--to", str(shop)], "is not an empty folder"),
        (["nowhere", "--to", str(tmp_path / "to")], "nowhere: no such file or folder"),
        ([str(shop), "--map", "user=x", "--to", str(tmp_path / "to")], "no file has this column"),
    ):
        assert cli.main(["import", *arguments]) == 2
        assert message in capsys.readouterr().err


def test_questions_are_asked_on_a_terminal_only(tmp_path, monkeypatch, capsys):
    folder = samples.write(tmp_path / "raw", {"o.csv": table([["aa", "bb", "cc"], *([u, i, t] for u, i, _, t in LOG)])})
    arguments = ["import", str(folder), "--map", "time=cc", "--to", str(tmp_path / "to")]
    assert cli.main(arguments) == 2
    answers = iter(["nothing", "1", "bb"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin.readline", lambda: next(answers) + "\n", raising=False)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert cli.main(arguments) == 0
    streams = capsys.readouterr()
    assert "user_id = aa, item_id = bb, timestamp = cc" in streams.out
    assert "o.csv: which column holds the user?\n  1: aa" in streams.err


def test_markup_and_escape_codes_in_the_data_are_not_printed(tmp_path, capsys):
    rows = [["item", "title"], *([item, f"\x1b[31m{title}\u202e"] for item, title, _ in ITEMS)]
    log = table([["user", "item"], *([user, item] for user, item, *_ in LOG)])
    folder = samples.write(tmp_path / "raw", {"o.csv": log, "p.csv": table(rows)})
    assert cli.main(["import", str(folder), "--to", str(tmp_path / "to")]) == 0
    assert not set(capsys.readouterr().out) & set("\x1b\u202e")


def test_frames_and_files_of_the_same_data_have_the_same_hash(tmp_path):
    log = [["user_id", "item_id", "rating", "timestamp"], *(list(row) for row in LOG)]
    catalogue = [["item_id", "title", "category", "stock"], *([*row, 4] for row in ITEMS)]
    folder = samples.write(tmp_path / "raw", {"log.csv": table(log), "items.csv": table(catalogue)})
    assert cli.main(["import", str(folder), "--to", str(tmp_path / "to")]) == 0
    config = DataConfig(cache_dir=str(tmp_path / "cache"))
    frames = [dict(zip(rows[0], zip(*rows[1:], strict=True), strict=True)) for rows in (catalogue, log)]
    assert Domain.from_frames(*frames, data=config).hash == load_domain(str(tmp_path / "to"), config).hash


def commands():
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("llmrec import")]
    return [line for line in lines if "://" not in line and "tfds:" not in line]  # those: test_sources.py


SHOP = {"orders.csv": table([["customer", "product", "date"], *([u, i, t] for u, i, _, t in LOG)]),
        "products.csv": table([["product", "name", "price"], *([i, t, 2] for i, t, _ in ITEMS)]),
        "log.csv": table([["wer", "was", "wann"], *([u, i, t] for u, i, _, t in LOG)])}  # fmt: skip
FOLDERS = {
    "ml-1m": "movielens_dat",
    "ml-100k": "movielens_100k",
    "ml-32m": "movielens_csv",
    "amazon": "amazon_2023",
    "recbole": "recbole",
    "MINDsmall_train": "mind",
    "goodreads": "goodreads",
    "lastfm-dataset-360K": "lastfm_360k",
    "hetrec2011-lastfm-2k": "hetrec",
}


@pytest.mark.parametrize("command", commands())
def test_the_commands_of_the_docs_work(command, tmp_path, monkeypatch):
    samples.write(tmp_path, SHOP)
    for folder, name in FOLDERS.items():
        samples.write(tmp_path / folder, SAMPLES[name]())
    monkeypatch.chdir(tmp_path)
    assert cli.main(shlex.split(command)[1:]) == 0


def test_the_python_of_the_docs_runs(tmp_path, monkeypatch):
    for name in ("pandas", "polars"):
        pytest.importorskip(name)
    monkeypatch.chdir(tmp_path)
    samples.write(tmp_path, SHOP)
    blocks = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    assert blocks
    for block in blocks:
        names: dict = {}
        exec(compile(block, "import.md", "exec"), names)
        assert names["domain"].report["interactions"] == len(LOG)

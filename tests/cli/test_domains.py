"""`llmrec validate` and `prepare`."""

import json
import subprocess
import sys

import pytest

from llmrec_jax import cli
from llmrec_jax.data.domains import demo
from tests.cli.conftest import python
from tests.conftest import REPO


def test_validate_sound(call, shop):
    code, out, err = call(cli.main, "validate", shop)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{shop}: sound: 1 users, 1 items, 1 interactions",
        "  order: sequence (no row has a time, so the rows are taken to be in order of time)",
    ]
    code, out, _ = call(cli.main, "validate", shop, "--json")
    facts = json.loads(out)
    assert (code, facts["sound"], facts["interactions"], facts["order"]) == (0, True, 1, "sequence")
    (shop / "interactions.csv").write_bytes(b"user_id;item_id;price\ru ;a;1\ru;a;2\r")
    assert call(cli.main, "validate", shop)[1].splitlines()[2:] == [
        "  interactions.csv: carriage returns (CR) end lines: read as line ends",
        "  interactions.csv: separator ';' recognised",
        "  interactions.csv: 1 ids had surrounding blanks, which were removed",
        "  interactions.csv: columns that are not read: price",
        "  1 repeats of an item by the same user dropped: the first is kept",
    ]
    assert len(json.loads(call(cli.main, "validate", shop, "--json")[1])["notes"]) == 5


def test_validate_names_every_cause(call, bad_shop):
    with (bad_shop / "interactions.csv").open("a") as file:
        file.write("u,nothing\n" * 400)
    code, out, _ = call(cli.main, "validate", bad_shop)
    assert code == 2
    assert out.splitlines() == [
        "items.jsonl:2: no title",
        "interactions.csv:3: item_id is not among the items (401 times; also interactions.csv:4, interactions.csv:5, "
        "...); add the items, or leave these rows out with data.on_bad_record=skip",
    ]
    code, out, _ = call(cli.main, "validate", bad_shop, "--json")
    assert code == 2
    assert [(bad["file"], bad["line"]) for bad in json.loads(out)["bad"]] == [
        ("items.jsonl", 2),
        *[("interactions.csv", line) for line in range(3, 404)],
    ]


def test_validate_says_what_is_no_domain(call, shop, tmp_path):
    assert "is a file, not a folder" in call(cli.main, "validate", shop / "items.jsonl")[2]
    assert "holds domain folders: shop" in call(cli.main, "validate", tmp_path)[2]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_from_the_data_cannot_disturb_the_terminal(shop, encoding):
    (shop / "items.jsonl").write_text('{"item_id": "a", "title": "One", "[b]\\u001b[31m\\t\\n红\\u202e": []}\n')
    result = python("-m", "llmrec_jax", "validate", shop, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, "")
    assert r"items.jsonl: fields that are not read: '[b]\x1b[31m\t\n\u7ea2\u202e (1)'" in result.stdout
    assert not {"\x1b", "\t", "\u202e"} & set(result.stdout)


def test_a_closed_pipe_ends_a_verb_quietly(shop):
    (shop / "interactions.csv").write_text("user_id,item_id\nu,a\n" + "u,nothing\n" * 2000)  # more than a pipe holds
    command = f"{sys.executable} -m llmrec_jax validate {shop} --json | head -c 10"
    result = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], cwd=REPO, capture_output=True)
    assert (result.returncode, result.stderr, len(result.stdout)) == (141, b"", 10)


def test_prepare(call, tmp_path, bad_shop):
    cache = ("--data.root", tmp_path, "--data.cache_dir", tmp_path / "cache")
    code, out, _ = call(cli.main, "prepare", "demo:books", *cache, "--json")
    assert code == 0
    assert (json.loads(out)["items"], json.loads(out)["users"]) == demo.SIZES["books"][:2]
    code, _, err = call(cli.main, "prepare", "shop", *cache)
    assert code == 2
    assert "items.jsonl:2: " in err
    code, out, _ = call(cli.main, "prepare", "shop", *cache, "--data.on_bad_record", "skip")
    assert code == 0
    assert "1 users, 1 items, 1 interactions" in out
    assert "  order: sequence (" in out
    assert "skipped 1 x interactions.csv: item_id is not among the items" in out
    code, out, _ = call(
        cli.main, "export-tfds", "shop", "--to", tmp_path / "out", *cache, "--data.on_bad_record", "skip"
    )
    assert (code, out.split(":")[0]) == (0, str(tmp_path / "out" / "domain_records" / "1.0.0"))
    code, out, _ = call(cli.main, "prepare", "demo:books", *cache, "--data.min_rating", 3)
    assert "276 interactions rated below data.min_rating=3 left out" in out
    code, _, err = call(cli.main, "prepare", "nowhere", *cache)
    assert code == 2
    assert err.startswith("error: no domain 'nowhere'")

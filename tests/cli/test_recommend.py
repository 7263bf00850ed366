"""`llmrec recommend`, and what the verbs that take a run or a bundle say of others."""

import io
import json
import shutil

import pytest

from llmrec_jax import cli
from tests.inference.untrained import run_and_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("bundle"), "id")[1]


def test_recommend(call, bundle, monkeypatch):
    history = ("--history", "book-0001", "nowhere", "film-0002")
    code, out, _ = call(cli.main, "recommend", bundle, *history, "--k", 3, "--json")
    answer = json.loads(out)
    assert (code, answer["unknown"], len(answer["recommendations"])) == (0, ["nowhere"], 3)
    assert answer["recommendations"][0].keys() == {"item_id", "score", "title"}
    code, out, err = call(cli.main, "recommend", bundle, *history, "--k", 3)
    assert code == 0
    assert "nowhere" in err
    assert out.splitlines() == [
        f"{row['item_id']}\t{row['score']:.4f}\t{row['title']}" for row in answer["recommendations"]
    ]
    code, out, _ = call(cli.main, "recommend", bundle, *history, "--k", 3, "--probabilities", "--json")
    shares = [row["probability"] for row in json.loads(out)["recommendations"]]
    assert (code, len(shares)) == (0, 3)
    lines = call(cli.main, "recommend", bundle, *history, "--k", 3, "--probabilities")[1].splitlines()
    assert [line.split("\t")[3] for line in lines] == [f"{share:.2g}" for share in shares]
    assert call(cli.main, "recommend", bundle, "--k", 1, "--probabilities")[1].split("\t")[3] == "-\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = call(cli.main, "recommend", bundle, *history, "--k", 3)[1]
    monkeypatch.undo()
    assert "score" in out.splitlines()[0]
    assert all(row["item_id"] in out for row in answer["recommendations"])
    assert len(json.loads(call(cli.main, "recommend", bundle, "--json")[1])["recommendations"]) == 10


def with_items(bundle, folder, **fields):
    """A copy of a bundle whose first target item has these fields, and every other item the same title."""
    shutil.copytree(bundle, folder)
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    title = {name: value for name, value in fields.items() if name == "title"}
    items = [item | (fields if item["item_id"] == "book-0001" else title) for item in items]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def test_recommend_says_that_these_are_the_most_popular(call, bundle):
    code, out, err = call(cli.main, "recommend", bundle, "--history", "nowhere", "--k", 3)
    assert (code, len(out.splitlines())) == (0, 3)
    assert "nothing in the history is known: these are the most popular items" in err
    assert "no history is given: these are the most popular" in call(cli.main, "recommend", bundle)[2]
    assert "popular" not in call(cli.main, "recommend", bundle, "--history", "book-0001")[2]
    for history, fallback in ((["nowhere"], True), (["book-0001"], False)):
        answer = json.loads(call(cli.main, "recommend", bundle, "--json", "--history", *history)[1])
        assert answer["fallback"] is fallback


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_recommend_prints_any_title(call, bundle, tmp_path, monkeypatch, terminal, encoding):
    title = "The\tend\nof [red]the[/] \x1b[31mline\x1b[0m \u202e\x85:smile: 🦄 \u2028é"
    odd = with_items(bundle, tmp_path / "odd", title=title)
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["recommend", str(odd), "--history", "book-0002", "--k", "3"]) == 0
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()[terminal:]
    assert len(lines) == 3
    expected = "The end of [red]the[/] line  :smile: 🦄  é".encode(encoding, "replace").decode(encoding)
    assert all(line.rstrip().endswith(expected) for line in lines)
    assert terminal or all(line.count("\t") == 2 for line in lines)


def test_ids_that_begin_with_a_dash(call, bundle, tmp_path):
    odd = with_items(bundle, tmp_path / "odd", item_id="-1x")
    for history in (["--history=-1x"], ["--history", "-1x"], ["--history", "-1x", "book-0002"]):
        code, out, err = call(cli.main, "recommend", odd, *history, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["unknown"] == []


def test_a_run_and_its_bundle_are_taken_for_each_other(call, bundle, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(bundle, run / "bundle")
    history = ("--history", "book-0001", "--json")
    code, out, err = call(cli.main, "recommend", run, *history)
    assert (code, out) == call(cli.main, "recommend", bundle, *history)[:2]
    assert err == f"{run} is a work folder; recommending from {run / 'bundle'}\n"
    code, _, err = call(cli.main, "evaluate", run / "bundle")
    assert code == 2
    assert f"{run} is not the work folder of a run" in err


def test_a_bundle_that_is_not_ours_is_refused_before_the_training(call, config, tmp_path):
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    (tmp_path / "run" / "bundle" / "thesis.txt").write_text("precious")
    code, _, err = call(cli.train, config, "--workdir", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "is not replaced; move it away or choose another --workdir" in err
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["bundle", "thesis.txt"]


def test_wrong_input_of_the_verbs(call, bundle, tmp_path):
    assert call(cli.main, "recommend", bundle, "--k", 0) == (2, "", "error: k=0: ask for at least one item\n")
    code, _, err = call(cli.main, "recommend", tmp_path)
    assert code == 2
    assert "config.json" in err
    code, _, err = call(cli.main, "evaluate", tmp_path)
    assert code == 2
    assert f"{tmp_path} is not the work folder of a run" in err
    assert call(cli.main, "validate", tmp_path / "nowhere")[0] == 2
    assert call(cli.main, "walk")[0] == 2
    assert call(cli.main, "recommend", bundle, "--kk", 3)[0] == 2
    assert call(cli.main, "recommend", bundle, "--k", "many")[0] == 2

"""The benchmark of the validators, on results written by hand."""

import json

import pytest

from benchmarks import validators

SCORES = {
    "none": {"source_risk": -0.5, "bnm": 0.1, "left_out_source": 0.3},
    "coral-1": {"source_risk": -0.3, "bnm": 0.2, "left_out_source": 0.4},
    "dann-0.1": {"source_risk": -0.6, "bnm": 0.3, "left_out_source": 0.1},
    "dann-1": {"source_risk": -0.9, "bnm": 0.4},
}


def write(path, models, text=0.1, arm="coral-1", scores=SCORES, **arms):
    """A result. An answer is half the text and half the model."""
    answers = {name: {"ndcg@10": (text + value) / 2} for name, value in models.items()}
    facts = {
        "chosen": "coral-1",
        "validator": "left_out_source",
        "arm": arm,
        "candidates": [
            {"name": name, "scores": scores[name], "test": {"ndcg@10": value, "answer": answers[name]}}
            for name, value in models.items()
        ],
        "arms": {"text": {"ndcg@10": text}, **{name: {"ndcg@10": value} for name, value in arms.items()}},
    }
    path.write_text(json.dumps(facts))
    return path


@pytest.fixture
def files(tmp_path):
    """Two seeds of one pair and one of another, where the guard keeps the text."""
    return [
        write(tmp_path / "films_to_books-seed0.json", {"none": 0.2, "coral-1": 0.3, "dann-0.1": 0.4, "dann-1": 0.05}),
        write(tmp_path / "films_to_books-seed1.json", {"none": 0.2, "coral-1": 0.1, "dann-0.1": 0.1, "dann-1": 0.05}),
        write(tmp_path / "music.json", {"none": 0.04, "coral-1": 0.02, "dann-0.1": 0.05, "dann-1": 0.06}, arm="text"),
    ]


def table(printed, head):
    """The rows of a table, by their first cell."""
    lines = printed[printed.index(f"| {head} |") :].split("\n\n")[0].splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if not line.startswith("|---")]
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[1:]}


def test_rules(files, capsys):
    validators.main([*map(str, files), "--figure", "model"])
    printed = capsys.readouterr().out
    assert "3 runs of 2 pairs" in printed
    rows = table(printed, "rule")
    guarded, last = rows["automatic choice with the guard"], rows["last checkpoint of DANN"]
    # Books: regret .1 and .1 (none is the best); music: text is the best.
    assert guarded["mean regret, all arms"] == "0.0500"
    assert guarded["mean regret, models alone"] == "-"
    assert guarded["worst pair's ratio to `text`"] == "1.000"
    assert guarded["mean ratio to `none`"] == "1.750"  # (.2 / .2 + .1 / .04) / 2
    assert (guarded["runs below `none`"], guarded["runs below `text`"]) == ("1", "0")
    unguarded = rows["automatic choice without the guard"]
    assert unguarded["mean regret, models alone"] == "0.0700"  # (.1 + .04) / 2
    assert unguarded["worst pair's ratio to `text`"] == "0.200"
    assert last["mean regret, all arms"] == "0.1450"  # ((.35 + .15) / 2 + .04) / 2: weight 1 is that of the paper
    assert rows["best source validation"] == {**unguarded, "rule": "best source validation"}
    assert rows["target alone (`target`)"]["runs"] == "0"
    validators.main([*map(str, files), "--figure", "model", "--dann", "dann-0.1"])
    changed = table(capsys.readouterr().out, "rule")["last checkpoint of DANN"]
    assert changed["mean regret, all arms"] == "0.0500"  # ((0 + .1) / 2 + .05) / 2


def test_a_ratio_to_a_model_without_hits_is_left_out(tmp_path, capsys):
    models = {"none": 0.0, "coral-1": 0.1, "dann-0.1": 0.0, "dann-1": 0.0}
    validators.main([str(write(tmp_path / "books.json", models)), "--figure", "model"])
    row = table(capsys.readouterr().out, "rule")["always CORAL"]
    assert (row["mean ratio to `none`"], row["mean ndcg@10"]) == ("-", "0.1000")


def test_validators_and_arms(files, capsys):
    validators.main([*map(str, files), "--figure", "answer"])
    printed = capsys.readouterr().out
    rows = table(printed, "validator")
    assert rows["`bnm`"] == {
        "validator": "`bnm`",
        "runs": "3",
        "mean regret": "0.0625",  # of the answers: ((.175 + .075) / 2 + 0) / 2
        "mean Spearman": "+0.11",  # ((-.2 - .949) / 2 + .8) / 2
        "worse than `none`": "2 of 3",
        "worse than `text`": "3 of 3",
    }
    arms = table(printed, "arm")
    assert arms["`coral-1`"] == {"arm": "`coral-1`", "films_to_books (2)": "0.1500", "music (1)": "0.0600"}
    assert arms["automatic choice with the guard"]["music (1)"] == "0.1000"


def test_checkpoints_and_the_target_alone(tmp_path, capsys):
    names = ("none", "dann:1@200", "dann:1@400", "dann:1@400@wise:0.5", "dann:1@average", "dann:10", "coral:0.1")
    models = {name: 0.1 * number for number, name in enumerate(names, 1)}
    file = write(tmp_path / "a.s1.json", models, arm="target", scores={name: {} for name in names}, target=0.9)
    result = validators.read(file)
    assert (result.pair, validators.fixed(result, "dann"), validators.fixed(result, "mmd")) == ("a", "dann:1@400", None)
    validators.main([str(file)])
    rows = table(capsys.readouterr().out, "rule")
    assert rows["automatic choice with the guard"]["mean regret, all arms"] == "0.0000"
    assert rows["target alone (`target`)"]["mean ndcg@10"] == "0.9000"
    assert rows["best source validation"]["runs"] == "0"


def test_a_result_that_is_not_revealed_is_refused(tmp_path):
    (tmp_path / "a.json").write_text(
        '{"chosen": "none", "arm": "text", "candidates": [{"name": "none", "test": null}]}'
    )
    with pytest.raises(SystemExit, match=r"a\.json: not what `llmrec adapt --json --reveal` prints"):
        validators.main([str(tmp_path / "a.json")])

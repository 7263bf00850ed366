"""`compare`: pooled seeds, paired intervals, slices; what cannot be compared is refused."""

import json

import numpy as np
import pytest

from llmrec_jax import cli
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.comparison import compare
from llmrec_jax.evaluate.verdict import ndcg, paired_bootstrap

USERS = 400


@pytest.fixture
def run(tmp_path):
    """Writes the files of a finished run; `better` places are taken off each rank of the answer."""

    def write(name, seed=0, better=0, split="s", width=64, **more):
        rng = np.random.default_rng(seed)
        ranks_N = np.maximum(1, rng.integers(1, 30, USERS) - better).astype(float)
        folder = tmp_path / name
        lists = [{"method": "answer", "users": USERS, "coverage@10": 0.5 + seed / 10, "diversity@10": None}]
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"seed": seed, "model": {"width": width}}))
        (folder / "report.json").write_text(json.dumps({"hashes": {"split": split}, "lists": lists}))
        facts = {
            "user_ids": np.array([f"u{user}" for user in range(USERS)]),
            "history_length": np.arange(USERS) % 12 + 1,
            "target_events": np.arange(USERS) % 30,
        }
        np.savez(folder / "ranks.npz", **facts, answer=ranks_N, ease=ranks_N[::-1], **more)
        return folder

    return write


def test_seeds_are_pooled_and_the_difference_is_paired(run):
    a0, a1 = run("a0", seed=0), run("a1", seed=1)
    b0, b1 = run("b0", seed=0, better=3, width=128), run("b1", seed=1, better=3, width=128)
    found = compare([a0, b0, a1, b1], ["answer"])
    rows = found["rows"]
    assert [(row["method"], row["seeds"]) for row in rows] == [("a0: answer", 2), ("b0: answer", 2)]
    per_user = {}
    for name, folders in {"a": (a0, a1), "b": (b0, b1)}.items():
        ranks = [np.load(folder / "ranks.npz")["answer"] for folder in folders]
        per_user[name] = np.mean([ndcg(rank_N) for rank_N in ranks], axis=0)
        means = [ndcg(rank_N).mean() for rank_N in ranks]
        row = rows["ab".index(name)]
        assert row["ndcg@10"] == pytest.approx(np.mean(means))
        assert row["deviation"] == pytest.approx(np.std(means, ddof=1))
        assert row["recall@10"] == pytest.approx(np.mean([(rank_N <= 10).mean() for rank_N in ranks]))
    assert [(row["coverage@10"], row["diversity@10"]) for row in found["lists"]] == [(0.55, None)] * 2
    difference_N = per_user["b"] - per_user["a"]
    assert rows[1]["difference"] == pytest.approx(difference_N.mean())
    assert rows[1]["interval_95"] == list(paired_bootstrap(difference_N))
    assert rows[1]["interval_95"][0] > 0
    assert "difference" not in rows[0]


def test_slices_hold_each_user_once(run):
    folder = run("a")
    found = compare([folder], ["answer", "ease"])
    with np.load(folder / "ranks.npz") as arrays:
        cold_N = arrays["target_events"] == 0
        expected = ndcg(arrays["answer"][cold_N]).mean()
    by_item, by_length = found["slices"]
    assert by_item["rows"][0]["values"] == "0"
    assert by_item["rows"][0]["ndcg@10"]["answer"] == pytest.approx(expected)
    assert [row["values"] for row in by_item["rows"]] == ["0", "1 to 4", "5 to 19", "20 or more"]
    assert [row["values"] for row in by_length["rows"]] == ["1 to 2", "3 to 5", "6 to 10", "11 or more"]
    assert all(sum(row["users"] for row in part["rows"]) == USERS for part in found["slices"])


def test_runs_on_other_test_events_are_refused(run):
    with pytest.raises(UserError, match=r"b and .*a were tested on different events"):
        compare([run("a"), run("b", split="other")], ["answer"])


def test_what_is_not_there_is_named(run, tmp_path):
    folder = run("a")
    with pytest.raises(UserError, match=r"no method 'bert' in its report; it has answer, ease$"):
        compare([folder], ["bert"])
    with pytest.raises(UserError, match=r"nothing holds no finished run: "):
        compare([tmp_path / "nothing"], ["answer"])
    np.savez(folder / "ranks.npz", user_ids=np.array(["u"]), answer=np.ones(1))
    with pytest.raises(UserError, match=r"lacks history_length, target_events: made by an older version"):
        compare([folder], ["answer"])


def test_the_command_prints_tables_or_json(run, capsys):
    folder = run("a")
    assert cli.main(["compare", str(folder), "--methods", "answer", "ease", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"][1]["method"] == "ease"
    assert cli.main(["compare", str(folder), "--methods", "answer", "ease"]) == 0
    printed = capsys.readouterr().out
    assert "95 % interval" in printed
    assert "training events of the test item" in printed
    assert cli.main(["compare"]) == 2
    assert "name at least one work folder" in capsys.readouterr().err


def test_several_seeds_from_one_command(run, tmp_path, capsys, monkeypatch):
    """One run per seed, each in its folder, on data read once; then their mean. What a run does is tested elsewhere."""
    read, used = [], []

    def train_and_evaluate(config, workdir, console, *, data, **_):
        used.append(data)
        run(workdir.relative_to(tmp_path), seed=config.seed, model=np.ones(USERS))

    monkeypatch.setattr("llmrec_jax.train.loop.reading", lambda config, console: read.append(config) or read)
    monkeypatch.setattr("llmrec_jax.train.stages.train_and_evaluate", train_and_evaluate)
    (tmp_path / "runs").mkdir()
    command = ["quickstart", "--workdir", str(tmp_path / "runs"), "--seeds", "3"]
    assert cli.train([*command, "4"]) == 0
    said = capsys.readouterr().out
    seeds = [json.loads((tmp_path / f"runs/seed-{seed}/config.json").read_text())["seed"] for seed in (3, 4)]
    assert seeds == [3, 4]
    assert len(read) == 1
    assert all(data is read for data in used)
    (row,) = [line for line in said.splitlines() if line.startswith("│ answer") and "±" in line]
    assert row.split("│")[2].strip() == "2"
    assert "coverage@10" in said
    assert cli.train([*command, "3"]) == 2
    assert "--seeds 3 3: a seed is given twice" in capsys.readouterr().err

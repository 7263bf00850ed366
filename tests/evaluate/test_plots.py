"""Pictures of finished runs: which ones there are, and that they show the numbers of the reports."""

import json

import numpy as np
import pytest

from llmrec_jax import cli
from llmrec_jax.evaluate.verdict import ndcg

USERS = 60


@pytest.fixture
def run(tmp_path):
    """Writes the files of a finished run."""

    def write(name, share, validates=True):
        folder, rng = tmp_path / name, np.random.default_rng(0)
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps({"seed": 0, "data": {"target_fraction": share}}))
        (folder / "report.json").write_text(json.dumps({"hashes": {"split": "s"}}))
        lines = [{"step": step, "loss": 5 / step} for step in range(1, 9)]
        if validates:
            lines[3]["valid/ndcg@10"] = lines[7]["valid/ndcg@10"] = 0.1 * (1 + share)
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        facts = {"user_ids": np.arange(USERS).astype(str), "history_length": np.arange(USERS) % 9 + 1,
                 "target_events": np.arange(USERS) % 30}  # fmt: skip
        np.savez(folder / "ranks.npz", **facts, answer=rng.integers(1, 20, USERS), ease=rng.integers(1, 30, USERS))
        return folder

    return write


def test_runs_with_different_shares(run, figures, tmp_path, capsys):
    folders = [str(run("few", 0.05)), str(run("full", 1.0))]
    command = ["plot", *folders, "--folder", str(tmp_path / "plots"), "--methods", "answer", "ease", "absent"]
    assert cli.main(command) == 0
    paths = [tmp_path / "plots" / f"{name}.png" for name in ("curves", "slices", "share")]
    assert capsys.readouterr().out.split() == [*map(str, paths)]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)

    curves, slices, share = figures
    loss, valid = curves.axes
    assert [line.get_label() for line in loss.lines] == ["few", "full"]
    expected = [[[4, 0.105], [8, 0.105]], [[4, 0.2], [8, 0.2]]]
    np.testing.assert_allclose([line.get_xydata() for line in valid.lines], expected)
    with np.load(tmp_path / "few" / "ranks.npz") as arrays:
        cold_N, answer_N = arrays["target_events"] == 0, ndcg(arrays["answer"])
    assert slices.axes[0].containers[0][0].get_height() == pytest.approx(answer_N[cold_N].mean())
    assert [text.get_text() for text in share.axes[0].get_legend().texts] == ["answer", "ease"]
    answer = share.axes[0].containers[0].lines[0]
    np.testing.assert_allclose(answer.get_xydata(), [[5, answer_N.mean()], [100, answer_N.mean()]])


def test_one_run_that_did_not_validate(run, figures, tmp_path):
    assert cli.main(["plot", str(run("one", 0.0, validates=False)), "--folder", str(tmp_path), "--format", "svg"]) == 0
    assert sorted(path.name for path in tmp_path.glob("*.svg")) == ["curves.svg", "slices.svg"]
    assert len(figures[0].axes) == 1


def test_methods_that_no_run_has_are_named(run, capsys):
    assert cli.main(["plot", str(run("one", 1.0)), "--methods", "bm25"]) == 2
    assert "no run has a method of bm25" in capsys.readouterr().err


def test_the_adaptation_of_runs(run, figures, tmp_path):
    folder = run("aligned", 1.0)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines = [line | {"loss/adapt/item": 0.1, "loss/domain_accuracy/item": 0.75} for line in lines]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    folders = [str(folder), str(run("plain", 1.0))]
    assert cli.main(["plot", *folders, "--folder", str(tmp_path / "plots"), "--methods", "answer"]) == 0
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == [
        "adaptation.png", "curves.png", "slices.png"
    ]  # fmt: skip
    loss, accuracy = figures[1].axes
    assert loss.lines[0].get_xydata().tolist() == [[step, 0.1] for step in range(1, 9)]
    assert accuracy.lines[0].get_xydata()[:, 1].tolist() == [0.75] * 8
    assert [line.get_label() for line in accuracy.lines] == ["aligned"]

"""Pictures of an adaptation: which ones a folder has, and that they show the numbers in its files."""

import json

import numpy as np
import pytest

from llmrec_jax import cli
from llmrec_jax.evaluate import adaptation_facts

STEPS = 40
NAMES = ("none", "coral:1", "dann:0.1")
TEST = {"none": 0.10, "coral:1": 0.14, "dann:0.1": 0.12}
GAINS = {"none": (0.02, (-0.01, 0.05)), "coral:1": (0.06, (0.03, 0.09)), "dann:0.1": (0.04, (0.01, 0.07))}


def gain(name):
    mean, interval = GAINS[name]
    return {"arm": name, "against": "text", "evidence": "films", "users": 90, "differing": 60, "ndcg": 0.1 + mean,
            "against_ndcg": 0.1, "interval": interval}  # fmt: skip


def scores(number):
    return {"left_out_source": 0.1 + 0.01 * number, "bnm": 5.0 - number, "a_distance_items": -1.6 + 0.5 * number}


def write(path, facts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts))


@pytest.fixture
def adapted(tmp_path):
    """Writes the files of an `llmrec adapt` folder."""

    def make(revealed=True, runs=True, evidence=True):
        folder, rng = tmp_path / "adapt", np.random.default_rng(0)
        candidates = [{"name": name, "scores": scores(number), "left_out": {}, "gain": gain(name) if evidence else None}
                      for number, name in enumerate(NAMES)]  # fmt: skip
        choice = {"chosen": "coral:1", "validator": "left_out_source", "arm": "coral:1", "guard": "", "decision": None,
                  "candidates": candidates, "arms": {"text": None}}  # fmt: skip
        write(folder / "choice.json", choice)
        if revealed:
            tests = {name: {"ndcg@10": figure, "answer": {"gain": figure - 0.1, "interval_95": [figure - 0.12, figure]}}
                     for name, figure in TEST.items()}  # fmt: skip
            found = [one | {"test": tests[one["name"]]} for one in candidates]
            rank = {"left_out_source": 0.5, "bnm": -0.5, "a_distance_items": None}
            write(folder / "revealed.json", choice | {"candidates": found, "spearman": rank, "arms": {"text": None}})
        for number, name in enumerate(NAMES if runs else ()):
            run = folder / "candidates" / name.replace(":", "-")
            run.mkdir(parents=True)
            source_ND, target_ND = rng.standard_normal((2, 80, 6)) * [3, 2, 0.1, 0.1, 0.1, 0.1]
            target_ND[:, 0] += 6 - 3 * number
            np.savez(
                run / "selection.npz", **{"evidence.source_items_JD": source_ND, "evidence.target_items_ID": target_ND}
            )
            lines = []
            for step in range(1, STEPS + 1):
                lines.append({"step": step, "loss/ranking/source": 5.0 / step, "loss/ranking/target": 1.0})
                if number:
                    lines[-1] |= {"loss/adapt/item": 0.5 / step, "a_distance/item": 1.5 if step == 1 else None}
            (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return folder

    return make


def test_a_revealed_adaptation(adapted, figures, tmp_path, capsys):
    assert cli.main(["plot", str(adapted()), "--folder", str(tmp_path / "plots")]) == 0
    paths = [tmp_path / "plots" / f"{name}.png" for name in ("domains", "adaptation", "validators", "portfolio")]
    assert capsys.readouterr().out.split() == [*map(str, paths)]
    assert all(path.stat().st_size > 10_000 for path in paths)

    domains, training, validators, portfolio = figures
    before, after = domains.axes
    assert (before.get_title("left"), after.get_title("left")) == ("none: A-distance 1.60", "coral:1: A-distance 1.10")
    gaps = [np.linalg.norm(np.subtract(*[one.get_offsets().mean(axis=0) for one in axes.collections]))
            for axes in (before, after)]  # fmt: skip
    np.testing.assert_allclose(gaps, [6, 3], atol=1)

    ranking, adaptation, distance = training.axes
    assert [line.get_label() for line in ranking.lines] == [*NAMES]
    assert [line.get_label() for line in adaptation.lines] == [*NAMES[1:]]
    assert adaptation.lines[0].get_xydata()[0].tolist() == [1, 0.5]
    assert ranking.lines[0].get_xydata()[0].tolist() == [1, 6.0]  # both parts
    assert distance.lines[0].get_xydata().tolist() == [[1, 1.5]]

    panels = {axes.get_title("left"): axes for axes in validators.axes}
    assert [*panels] == [
        "left_out_source: Spearman +0.50",
        "bnm: Spearman -0.50",
        "a_distance_items: Spearman undefined",
    ]
    shown = [points.get_offsets()[0].tolist() for points in panels["bnm: Spearman -0.50"].collections]
    np.testing.assert_allclose(shown, [[5 - number, TEST[name]] for number, name in enumerate(NAMES)])

    (axes,) = portfolio.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "coral:1 (chosen)", "dann:0.1"]
    guard, test = (container.lines for container in axes.containers)
    np.testing.assert_allclose(guard[0].get_xdata(), [mean for mean, _ in GAINS.values()])
    intervals = [segment[:, 0].tolist() for segment in guard[2][0].get_segments()]
    np.testing.assert_allclose(intervals, [interval for _, interval in GAINS.values()])
    np.testing.assert_allclose(test[0].get_xdata(), [figure - 0.1 for figure in TEST.values()])


def test_what_is_not_revealed_is_not_drawn(adapted, figures, tmp_path):
    folder = str(adapted(revealed=False))
    assert cli.main(["plot", folder, "--folder", str(tmp_path / "plots"), "--candidate", "dann:0.1"]) == 0
    names = ["adaptation.png", "domains.png", "portfolio.png"]
    assert sorted(path.name for path in (tmp_path / "plots").iterdir()) == names
    assert figures[0].axes[1].get_title("left") == "dann:0.1: A-distance 0.60"


def test_a_folder_with_nothing_to_draw_is_refused_by_name(adapted, tmp_path, capsys):
    folder = adapted(revealed=False, runs=False, evidence=False)
    for arguments, message in (
        ([folder], f"{folder} has nothing to draw"),
        ([folder, folder], f"{folder} is a folder of llmrec adapt: draw it alone"),
        ([folder, "--candidate", "corl:1"], f"{folder} has no candidate 'corl:1'; it has none, coral:1, dann:0.1"),
        ([tmp_path], f"{tmp_path}"),
        ([tmp_path, "--candidate", "none"], f"--candidate none: {tmp_path} holds no choice.json of llmrec adapt"),
    ):
        assert cli.main(["plot", *map(str, arguments), "--folder", str(tmp_path / "plots")]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "plots").exists()


def test_principal_components():
    rng = np.random.default_rng(0)
    plane_2N = rng.standard_normal((2, 200)) * [[5], [2]]
    axes_DD = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    both_ND = plane_2N.T @ axes_DD[:2] + 4
    source_N2, target_N2, variance = adaptation_facts.principal(both_ND[:120], both_ND[120:])
    assert (len(source_N2), len(target_N2)) == (120, 80)
    assert sum(variance) == pytest.approx(1)
    assert variance[0] > variance[1]
    both_N2 = np.concatenate([source_N2, target_N2])
    distances = [np.linalg.norm(rows[0] - rows[1:], axis=1) for rows in (both_ND, both_N2)]
    np.testing.assert_allclose(*distances)  # a plane keeps its distances

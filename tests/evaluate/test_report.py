"""The report: strict JSON with the verdict, the file of ranks, and baselines that fail without ending the run."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from llmrec_jax.baselines.counting import popularity
from llmrec_jax.config import MeshConfig
from llmrec_jax.data.corpus import Case
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate import verdict as verdict_lib
from llmrec_jax.evaluate.report import evaluate_target, write_report
from llmrec_jax.evaluate.tables import print_evaluation, print_table
from llmrec_jax.evaluate.verdict import FEWEST_USERS, ndcg, paired_bootstrap, verdict
from llmrec_jax.parallel import make_mesh
from llmrec_jax.predictor import VectorPredictor

USERS, ITEMS = 40, 12


def corpus_of(regime="zero-shot"):
    """What the report reads of a corpus: forty users whose test item is the next after their last."""
    histories = [np.array([user % ITEMS]) for user in range(USERS)]
    target_N = np.array([(user + 1) % ITEMS for user in range(USERS)], np.int32)
    cases = [Case(0, split, histories, target_N, np.arange(USERS)) for split in ("valid", "test")]
    names = [f"u{user}" for user in range(USERS)]
    domain = SimpleNamespace(name="books[kids]", user_ids=names, texts=[f"book {item}" for item in range(ITEMS)])
    protocol = SimpleNamespace(regime=regime)
    return SimpleNamespace(
        domains=[domain],
        target=0,
        protocol=protocol,
        report_cases=lambda: cases,
        facts={"x": 1},
        train_events=lambda domain: (np.repeat(np.arange(ITEMS), np.arange(ITEMS)), None),
    )


def model(score_of_next=1.0):
    """Ranks the next item first, or last."""

    def users(histories):
        return score_of_next * np.eye(ITEMS, dtype=np.float32)[[(history[-1] + 1) % ITEMS for history in histories]]

    return VectorPredictor("model", np.eye(ITEMS, dtype=np.float32), users)


def evaluation_of(baselines=None, regime="zero-shot", predictor=None):
    baselines = {"popularity": lambda _: popularity(np.arange(ITEMS))} if baselines is None else baselines
    mesh = make_mesh(MeshConfig(data=1))
    return evaluate_target(corpus_of(regime), baselines, predictor or model(), mesh=mesh, batch_size=64)


def printed(evaluation):
    console = Console(width=200)
    with console.capture() as capture:
        print_evaluation(evaluation, console)
    return capture.get()


def fails(error):
    def make(_):
        raise error

    return make


def nan_vectors(_=None):
    return VectorPredictor("nan", np.full((ITEMS, 1), np.nan, np.float32), lambda h: np.ones((len(h), 1), np.float32))


def test_baselines_that_cannot_be_made_are_left_out_with_the_reason():
    baselines = {
        "popularity": lambda _: popularity(np.arange(ITEMS)),
        "no words": fails(UserError("no two texts share a word")),
        "no memory": fails(MemoryError()),
        "no svd": fails(np.linalg.LinAlgError("did not converge")),
        "nan": nan_vectors,
    }
    found = evaluation_of(baselines)
    assert {row["method"] for row in found.results} == set(found.ranks) == {"popularity", "model"}
    assert [row["method"] for row in found.left_out] == ["no words", "no memory", "no svd", "nan"]
    assert [row["reason"] for row in found.left_out[:2]] == ["no two texts share a word", "MemoryError"]
    assert "NaN" in found.left_out[3]["reason"]
    assert "left out: no words: no two texts share a word\n" in printed(found)
    alone = evaluation_of({"no words": fails(UserError("no word"))})
    assert alone.verdict.numbers == {"decision": "no baseline"}
    assert "no baseline could be computed" in alone.verdict.text


def test_what_is_a_bug_or_a_fault_of_the_model_is_raised():
    with pytest.raises(ValueError, match="a bug"):
        evaluation_of({"text_knn": fails(ValueError("a bug"))})
    with pytest.raises(FloatingPointError):
        evaluation_of(predictor=nan_vectors()._replace(name="model"))


def test_report_is_strict_json_and_the_ranks_lie_beside_it(tmp_path):
    found = evaluation_of()
    hashes = {"content": "c", "split": "s", "run": "r"}
    write_report(tmp_path, corpus_of(), found, hashes, {"train": 1.234}, selection={"validator": "last_step"})

    def refuse(constant):
        raise AssertionError(constant)

    report = json.loads((tmp_path / "report.json").read_text(), parse_constant=refuse)
    assert report["hashes"] == hashes
    assert report["regime"] == "zero-shot"
    assert report["verdict"] == found.verdict.text
    assert report["comparison"]["decision"] == "better"
    assert report["left_out"] == []
    assert report["selection"] == {"validator": "last_step"}
    cold = report["slices"][0]["rows"][0]
    assert (cold["values"], cold["users"]) == ("0", sum(user % ITEMS == ITEMS - 1 for user in range(USERS)))
    assert cold["ndcg@10"] == {"popularity": 0.0, "model": 1.0}
    assert report["seconds"] == {"train": 1.23}
    assert [(row["method"], row["split"]) for row in report["results"]] == [
        ("popularity", "valid"),
        ("popularity", "test"),
        ("model", "valid"),
        ("model", "test"),
    ]
    assert list(report["results"][0])[:4] == ["method", "domain", "split", "users"]
    with np.load(tmp_path / "ranks.npz") as ranks:
        assert sorted(ranks.files) == ["history_length", "model", "popularity", "target_events", "user_ids"]
        assert ranks["target_events"].tolist() == [(user + 1) % ITEMS for user in range(USERS)]
        assert ranks["user_ids"].tolist() == [f"u{user}" for user in range(USERS)]
        for row in report["results"]:
            if row["split"] == "test":
                assert row["ndcg@10"] == pytest.approx(ndcg(ranks[row["method"]]).mean())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ranks.npz", "report.json"]


def test_a_number_that_is_none_is_not_written(tmp_path):
    found = evaluation_of()
    found.results[0]["mrr"] = float("nan")
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report(tmp_path, corpus_of(), found, {}, {})
    assert not list(tmp_path.iterdir())


def test_popularity_that_sees_more_than_the_model_is_marked():
    zero, few = evaluation_of(), evaluation_of(regime="few-shot")
    assert [row.get("sees") for row in zero.results] == ["the target's interactions"] * 2 + [None] * 2
    assert "popularity *" in printed(zero)
    assert "* sees the target's interactions, which the model does not" in printed(zero)
    assert "popularity (which sees the target's interactions)" in zero.verdict.text
    assert not any("sees" in row for row in few.results)
    assert "sees" not in printed(few)


def test_names_are_printed_as_they_are():
    console = Console(width=80)
    with console.capture() as capture:
        row = {"arm": "[b]model", "domain": "books[kids]", "split": "test", "users": 1, "ndcg@10": 1.0, "mrr": 1.0}
        print_table([row], console)
    assert "books[kids], test, 1 users" in capture.get()
    assert "[b]model" in capture.get()


@pytest.mark.parametrize(
    ("model_rank", "baseline_rank", "decision", "says"),
    [
        (1, 5, "better", "better than every baseline"),
        (7, 2, "below", "do not ship this"),
        (3, 3, "level", "no significant difference"),
    ],
)
def test_the_verdict_says_whether_to_ship(model_rank, baseline_rank, decision, says):
    noise = np.random.default_rng(0).integers(0, 2, (2, 500))
    ranks = {"popularity": np.full(500, 400.0), "text_knn": baseline_rank + noise[0], "model": model_rank + noise[1]}
    text, numbers = verdict(ranks, "books")
    assert says in text
    assert text.startswith("books: ")
    assert numbers["decision"] == decision
    assert numbers["baseline"] == "text_knn"
    low, high = numbers["interval_95"]
    assert low < numbers["difference"] < high
    assert numbers["difference"] == pytest.approx(ndcg(ranks["model"]).mean() - ndcg(ranks["text_knn"]).mean())
    few = {name: rank_N[: FEWEST_USERS - 1] for name, rank_N in ranks.items()}
    assert verdict(few, "books").numbers["decision"] == "too few users"
    assert "19 users are too few for a conclusion" in verdict(few, "books").text


def test_a_baseline_that_sees_more_than_the_model_decides_only_if_there_is_no_other():
    ranks = {"ease": np.full(50, 1.0), "text_knn": np.full(50, 5.0), "model": np.full(50, 3.0)}
    sees_more = {"ease": "the target's interactions"}
    judged = verdict(ranks, "books", sees_more=sees_more)
    assert (judged.numbers["decision"], judged.numbers["baseline"]) == ("better", "text_knn")
    assert "the model is better than every baseline that sees the same data. " in judged.text
    assert judged.text.endswith("; ease, which sees the target's interactions, reaches 1.0000")
    assert verdict(ranks, "books").numbers["decision"] == "below"
    alone = verdict({name: ranks[name] for name in ("ease", "model")}, "books", sees_more=sees_more)
    assert (alone.numbers["decision"], alone.numbers["baseline"]) == ("below", "ease")
    assert "ease (which sees the target's interactions) 1.0000" in alone.text


def test_the_interval_is_that_of_resampled_users(monkeypatch):
    rng = np.random.default_rng(0)
    difference_N = ndcg(rng.integers(1, 20, 300)) - ndcg(rng.integers(1, 25, 300) + 0.5)
    means = difference_N[rng.integers(300, size=(20_000, 300))].mean(axis=1)
    found = paired_bootstrap(difference_N)
    assert found == paired_bootstrap(difference_N)
    np.testing.assert_allclose(found, np.quantile(means, [0.025, 0.975]), atol=0.12 * means.std())
    monkeypatch.setattr(verdict_lib, "COUNTS", 1000)  # in parts
    np.testing.assert_allclose(paired_bootstrap(difference_N), found, rtol=1e-12)
    assert paired_bootstrap(np.full(5, 0.25)) == (0.25, 0.25)
    assert not any(map(math.isnan, paired_bootstrap(np.zeros(1))))

"""Bundles go to a hub and come back the same, with a card that states what the run's report states."""

import json
import shutil

import numpy as np
import pytest

from llmrec_jax import Recommender
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.inference.card import model_card
from llmrec_jax.inference.hub import download, push_to_hub
from tests.inference.fake_hub import FakeHub, serve

ROW = {"domain": "books", "split": "test", "users": 3, "recall@10": 0.5, "mrr": 0.25}
REPORT = {
    "regime": "zero-shot",
    "verdict": "books: the answer is better than every baseline",
    "comparison": {"decision": "better"},
    "protocol": "all items ranked",
    "results": [
        ROW | {"method": "answer", "ndcg@10": 0.3},
        ROW | {"method": "answer", "ndcg@10": 0.9, "split": "valid"},
        ROW | {"method": "ease", "ndcg@10": 0.2, "sees": "the target's interactions"},
        ROW | {"method": "without text", "ndcg@10": 0.1},
    ],
    "left_out": [{"method": "l3ae", "reason": "singular matrix"}],
    "hashes": {"run": "abc"},
    "data": {"domains": {"books": {"users": 30, "items": 450, "interactions": 1000}}},
    "seconds": {"train": 12.0},
    "versions": {"jax": "0.10.2"},
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    found = FakeHub()
    with serve(found) as found.endpoint:
        yield found


@pytest.fixture
def folder(text_run):
    return text_run[1]


@pytest.fixture
def run(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "run" / "bundle")
    (tmp_path / "run" / "report.json").write_text(json.dumps(REPORT))
    np.savez(tmp_path / "run" / "ranks.npz", user_ids=np.array(["a", "b", "c"]), answer=np.array([1.0, 4.0, 40.0]))
    return tmp_path / "run"


def test_a_bundle_comes_back_the_same(hub, run, folder, shown_work):
    (run / "bundle" / "notes.txt").write_text("mine")
    address = push_to_hub(run, "me/books", endpoint=hub.endpoint)
    assert address.startswith("http")
    sent = hub.repos["me/books"]
    own = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(sent) == {*own, "README.md"}
    assert all(sent[name] == (folder / name).read_bytes() for name in own)
    assert hub.created[0].get("private") or hub.created[0]["visibility"] == "private"  # by the version of the client
    found = Recommender.from_pretrained("me/books", endpoint=hub.endpoint).recommend(["book-0001"])
    assert found == Recommender.load(folder).recommend(["book-0001"])
    assert shown_work == ["uploading to me/books", "downloading me/books"]


def test_a_recommender_is_pushed_as_it_is_now(hub, run):
    r = Recommender.load(run)
    r.add_items([{"item_id": "new", "title": "A Winter in Vienna"}])
    r.remove_items(["book-0000"])
    r.push_to_hub("me/books", endpoint=hub.endpoint)
    found = Recommender.from_pretrained("me/books", endpoint=hub.endpoint)
    assert [item.item_id for item in found.items] == [item.item_id for item in r.items]
    assert found.recommend(["book-0001"]) == r.recommend(["book-0001"])
    card = hub.repos["me/books"]["README.md"].decode()
    assert "| **answer** | 0.3000" in card  # the report beside the bundle that was loaded
    assert "2 items were added or removed after the training" in card


def test_a_revision_or_a_folder(hub, run, folder, monkeypatch):
    push_to_hub(run, "me/books", endpoint=hub.endpoint)
    Recommender.from_pretrained("me/books", revision="v1", endpoint=hub.endpoint)
    assert any("/v1" in path for path in hub.asked)
    hub.asked.clear()
    assert Recommender.from_pretrained(run).items == Recommender.load(folder).items
    with pytest.raises(ValueError, match=r"revision='v1': .* is a folder"):
        Recommender.from_pretrained(folder, revision="v1")
    for nowhere in ("./nowhere", "a/b/c", folder / "nowhere"):
        with pytest.raises(ValueError, match=r"(nowhere|a/b/c): no such folder$"):
            Recommender.from_pretrained(nowhere)
    assert not hub.asked


def test_files_of_an_earlier_bundle_go_and_others_stay(hub, run):
    hub.repos["me/books"] = {"heads.safetensors": b"old", "LICENSE": b"text", "run.py": b"print()"}
    push_to_hub(run, "me/books", endpoint=hub.endpoint)
    assert "heads.safetensors" not in hub.repos["me/books"]
    assert "LICENSE" in hub.repos["me/books"]
    fetched = {path.name for path in download("me/books", endpoint=hub.endpoint).rglob("*")}
    assert "items.jsonl" in fetched
    assert not {"run.py", "LICENSE"} & fetched


def test_what_the_hub_refuses_is_one_message(hub, run):
    with pytest.raises(ValueError, match="me/nothing: no such folder, and the hub could not provide"):
        Recommender.from_pretrained("me/nothing", endpoint=hub.endpoint)
    hub.refuses = True
    with pytest.raises(ValueError, match=r"me/books: the hub refused the upload: .*`hf auth login`"):
        push_to_hub(run, "me/books", endpoint=hub.endpoint)


def test_the_card_states_the_report(run):
    card = model_card(bundle_lib.load(run), "me/books")
    header, _, text = card.removeprefix("---\n").partition("\n---\n")
    assert "library_name: llmrec_jax" in header
    assert "value: 0.3\n" in header
    assert "**books: the answer is better than every baseline.**" in text
    assert "no interactions of books were used in training" in text
    ndcg_N = np.array([1, 1 / np.log2(5), 0])
    half = 1.96 * ndcg_N.std(ddof=1) / 3**0.5
    assert f"| **answer** | 0.3000 ± {half:.4f} | 0.5000 | 0.2500 |  |" in text
    assert "| ease | 0.2000 | 0.5000 | 0.2500 | the target's interactions |" in text
    assert "without text" not in text
    assert "0.9000" not in text
    assert "- books (target): 30 users, 450 items, 1,000 interactions" in text
    assert "l3ae could not be computed: singular matrix" in text


def test_a_bundle_without_its_run_has_no_figures(folder):
    card = model_card(bundle_lib.load(folder), "me/books")
    assert "No results: report.json" in card
    assert "model-index" not in card

"""A bundle answers alone: without data, cache, configuration or optimizer, and as the evaluation saw the model."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from llmrec_jax import Recommender
from llmrec_jax.data.domains.records import item_text
from llmrec_jax.models import from_pretrained
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train.evaluation import Evaluator
from llmrec_jax.train.export import save_bundle
from tests.inference.untrained import run_and_bundle, untrained_run
from tests.train.tiny import pretrained_config


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("text"), "text+id")


@pytest.fixture(scope="module")
def id_run(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("id"), "id", "dann")


@pytest.fixture
def recommender(text_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing is read from where one happens to stand
    return Recommender.load(text_run[1])


def ids(recommendations):
    return [item_id for item_id, _, _ in recommendations]


def test_recommends_sorted_without_the_history(recommender, text_run):
    books = text_run[0].experiment.corpus.domains[1]
    history = books.item_ids[3:9]
    found = recommender.recommend(history, k=20)
    assert len(found) == len(set(ids(found))) == 20
    assert not set(ids(found)) & set(history)
    scores = [score for _, score, _ in found]
    assert scores == sorted(scores, reverse=True)
    assert all(-1.001 <= score <= 1.001 for score in scores)
    titles = dict(zip(books.item_ids, books.titles, strict=True))
    assert [title for _, _, title in found] == [titles[item_id] for item_id in ids(found)]


def test_k(recommender, text_run):
    books = text_run[0].experiment.corpus.domains[1].item_ids
    assert set(ids(recommender.recommend(books[:2], k=10_000))) == set(books[2:])
    assert recommender.recommend(books, k=3) == []
    with pytest.raises(ValueError, match="k=0"):
        recommender.recommend(books[:2], k=0)


def test_unknown_items_are_warned_of_and_left_out(recommender):
    with pytest.warns(UserWarning, match="1 of 2 items are unknown: nowhere"):
        found = recommender.recommend(["nowhere", "book-0001"])
    assert found == recommender.recommend(["book-0001"])
    assert recommender.unknown(["nowhere", "book-0001"]) == ["nowhere"]


def test_nothing_known_is_answered_by_popularity(recommender, text_run):
    corpus = text_run[0].experiment.corpus
    counts = dict(zip(corpus.domains[1].item_ids, corpus.train_counts(1), strict=True))
    found = recommender.recommend([], k=50)
    assert [counts[item_id] for item_id in ids(found)] == sorted(counts.values(), reverse=True)[:50]
    with pytest.warns(UserWarning, match="unknown"):
        assert recommender.recommend(["nowhere"], k=50) == found


def test_taste_shown_in_the_source_counts(recommender):
    found = recommender.recommend(["film-0001", "film-0002"], k=20)
    assert all(item_id.startswith("book-") for item_id in ids(found))
    assert found != recommender.recommend([], k=20)
    assert found != recommender.recommend(["film-0007", "film-0008"], k=20)


def test_agrees_with_the_evaluation(recommender, text_run):
    run, _ = text_run
    experiment = run.experiment
    predictor = Evaluator(experiment, make_mesh(experiment.config.mesh)).predictor(run.params, experiment.corpus.target)
    case = experiment.corpus.case(experiment.corpus.target, "test")
    item_ids = experiment.corpus.domains[1].item_ids
    histories = case.histories[:5]
    for history, scores_I in zip(histories, predictor.users(histories) @ predictor.items_ID.T, strict=True):
        found = recommender.recommend([item_ids[n] for n in history], k=len(item_ids))
        expected = np.delete(scores_I, history)
        np.testing.assert_allclose([score for _, score, _ in found], np.sort(expected)[::-1], atol=1e-5)
        scores = dict(zip(item_ids, scores_I, strict=True))
        np.testing.assert_allclose([score for _, score, _ in found], [scores[i] for i in ids(found)], atol=1e-5)


@pytest.mark.parametrize(
    "encoder",
    [{"pretrained": None}, {"mode": "frozen", "pooling": "cls"}, {"mode": "lora", "frozen_layers": 1}],
    ids=["from scratch", "frozen", "adapters above a frozen layer"],
)
def test_what_is_trained_in_bfloat16_answers_in_float32(encoder, tmp_path):
    """Item vectors and scores of the bundle and of the evaluation are those that `encode` and `recommend` compute."""
    config = pretrained_config(tmp_path, "bert", num_layers=2)
    model = dataclasses.replace(config.model, item_features="text", user_tower="transformer", compute_dtype="bfloat16")
    run = untrained_run(
        dataclasses.replace(config, model=model, encoder=dataclasses.replace(config.encoder, **encoder))
    )
    save_bundle(run, tmp_path / "bundle")
    recommender, books = Recommender.load(tmp_path / "bundle"), run.experiment.corpus.domains[0]
    cosine_I = np.sum(recommender.encode(books.texts) * run.item_vectors_ID, axis=1)
    assert cosine_I.min() > 0.99999
    predictor = Evaluator(run.experiment, make_mesh(run.experiment.config.mesh)).predictor(run.params, 0)
    history = run.experiment.corpus.case(0, "test").histories[0]
    scores = dict(zip(books.item_ids, (predictor.users([history]) @ predictor.items_ID.T)[0], strict=True))
    found = recommender.recommend([books.item_ids[n] for n in history], k=50)
    np.testing.assert_allclose([score for _, score, _ in found], [scores[i] for i, _, _ in found], atol=1e-5)


def test_encode(recommender, text_run):
    width = text_run[0].experiment.config.model.width
    vectors = recommender.encode(["a light novel of the sea", "", "x " * 500])
    assert vectors.shape == (3, width)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert recommender.encode([]).shape == (0, width)


def test_new_items_are_known_by_their_text(recommender):
    item = {"item_id": "new", "title": "The Silent Harbour", "brand": "Ada", "category": "novel", "description": "sea"}
    recommender.add_items([item, {"item_id": "newer", "title": "Another"}])
    found = recommender.recommend(["book-0001"], k=10_000)
    assert {"new", "newer"} <= set(ids(found))
    assert ("new", "The Silent Harbour") in [(item_id, title) for item_id, _, title in found]
    vectors = recommender.encode([item_text("The Silent Harbour", "novel", "Ada", "sea"), "Another"])
    np.testing.assert_allclose(recommender._catalog.vectors_ID[-2:], vectors, atol=1e-6)
    after = recommender.recommend(["new"], k=5)
    assert "new" not in ids(after)
    assert ids(recommender.recommend([], k=10_000))[-2:] == ["new", "newer"]  # nobody has taken them yet


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"item_id": "book-0001", "title": "x"}, "item 1: the id 'book-0001' is taken"),
        ({"item_id": "new", "title": "x"}, "item 1: the id 'new' is taken"),
        ({"item_id": "b"}, "item 1: .*title"),
        ({"item_id": "b", "title": "  "}, "item 1: title is empty"),
        ({"item_id": "", "title": "x"}, "item 1: item_id is empty"),
        ({"item_id": "b", "title": 7}, "item 1: .*title"),
    ],
)
def test_nothing_is_added_where_one_item_is_wrong(recommender, wrong, reason):
    before = recommender.recommend(["book-0001"], k=10_000)
    with pytest.raises(ValueError, match=reason):
        recommender.add_items([{"item_id": "new", "title": "New"}, wrong])
    assert recommender.recommend(["book-0001"], k=10_000) == before
    assert recommender.unknown(["new"]) == ["new"]


def test_items_known_by_id_alone(id_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, folder = id_run
    assert not (folder / "encoder").exists()
    recommender = Recommender.load(folder)
    assert len(recommender.recommend(["book-0001", "film-0001"], k=7)) == 7
    with pytest.raises(ValueError, match="by their id alone"):
        recommender.encode(["text"])
    with pytest.raises(ValueError, match="by their id alone"):
        recommender.add_items([{"item_id": "new", "title": "New"}])


def test_a_bundle_has_no_discriminators(id_run):
    run, folder = id_run
    kernels = [run.params["discriminators"][level]["up"]["kernel"] for level in ("item", "user")]
    assert (kernels[0] != kernels[1]).any()
    assert not [name for name in load_file(folder / "model.safetensors") if "discriminator" in name]


def test_encoder_is_a_folder_of_its_own(text_run):
    run, folder = text_run
    encoder = from_pretrained(folder / "encoder")
    assert (folder / "encoder" / "tokenizer.json").read_bytes() == (folder / "tokenizer.json").read_bytes()
    hidden = encoder(np.array([[2, 5, 6, 3]]), np.ones((1, 4), bool))
    assert hidden.shape == (1, 4, run.experiment.config.encoder.width)


def damage(folder, name):
    """Damage one part of a bundle in one way; return the file that the message must name."""
    if name == "no item vectors":
        arrays = load_file(folder / "model.safetensors")
        save_file({k: v for k, v in arrays.items() if k != "item_vectors"}, folder / "model.safetensors")
        return "model.safetensors"
    if name == "a parameter too few":
        arrays = load_file(folder / "model.safetensors")
        del arrays["item_tower.project.kernel"]
        save_file(arrays, folder / "model.safetensors")
        return "model.safetensors"
    if name == "config without dims":
        facts = json.loads((folder / "config.json").read_text())
        del facts["dims"]
        (folder / "config.json").write_text(json.dumps(facts))
        return "config.json"
    if name == "config of another version":
        facts = json.loads((folder / "config.json").read_text())
        facts["config"]["model"]["novelty"] = 1
        (folder / "config.json").write_text(json.dumps(facts))
        return "config.json"
    action, file = name.split(" ")
    if action == "lost":
        (folder / file).unlink()
    else:
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[: len(content) // 2])
    return file


@pytest.mark.parametrize(
    "name",
    [
        "no item vectors",
        "a parameter too few",
        "config without dims",
        "config of another version",
        *(f"lost {file}" for file in ("config.json", "model.safetensors", "items.jsonl")),
        *(f"cut {file}" for file in ("config.json", "model.safetensors", "items.jsonl")),
    ],
)
def test_damaged_bundle_names_the_file(text_run, tmp_path, name):
    folder = tmp_path / "bundle"
    shutil.copytree(text_run[1], folder)
    file = damage(folder, name)
    with pytest.raises(ValueError, match=file.replace(".", r"\.")):
        Recommender.load(folder)


@pytest.mark.parametrize("file", ["tokenizer.json", "encoder/config.json", "encoder/model.safetensors"])
def test_damaged_text_part_names_the_file_when_it_is_needed(text_run, tmp_path, file):
    folder = tmp_path / "bundle"
    shutil.copytree(text_run[1], folder)
    (folder / file).write_bytes(b"{")
    recommender = Recommender.load(folder)
    assert recommender.recommend(["book-0001"])
    with pytest.raises(ValueError, match=file.replace(".", r"\.")):
        recommender.encode(["text"])

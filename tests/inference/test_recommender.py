"""The `Recommender` needs only its bundle, and agrees with the evaluation of the model."""

import dataclasses
import threading
import time

import numpy as np
import pytest

from llmrec_jax import Recommender
from llmrec_jax.config import AnswerConfig
from llmrec_jax.data.domains.records import item_text
from llmrec_jax.train.export import save_bundle
from tests.inference.untrained import untrained_run
from tests.train.tiny import pretrained_config


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
    titles = dict(zip(books.item_ids, books.titles, strict=True))
    assert [title for _, _, title in found] == [titles[item_id] for item_id in ids(found)]


def test_k(recommender, text_run):
    books = text_run[0].experiment.corpus.domains[1].item_ids
    assert set(ids(recommender.recommend(books[:2], k=10_000))) == set(books[2:])
    assert recommender.recommend(books, k=3) == []
    assert recommender.recommend(books[:2], k=3.0) == recommender.recommend(books[:2], k=np.int64(3))
    with pytest.raises(ValueError, match="k=0"):
        recommender.recommend(books[:2], k=0)


def test_a_recommendation_is_a_triple_with_names(recommender):
    first = recommender.recommend(["book-0001"], k=1)[0]
    item_id, score, title = first
    assert first == (item_id, score, title) == (first.item_id, first.score, first.title)


def test_ids_that_cannot_be_printed_are_warned_of(recommender):
    with pytest.warns(UserWarning, match=r"unknown: '\\ud83d'"):
        recommender.recommend(["\ud83d"])


def test_unknown_items_are_warned_of_and_left_out(recommender):
    with pytest.warns(UserWarning, match="1 of 2 items are unknown: nowhere"):
        found = recommender.recommend(["nowhere", "book-0001"])
    assert found == recommender.recommend(["book-0001"])
    assert (found.unknown, found.fallback) == (["nowhere"], False)
    assert recommender.recommend(["book-0001"]).unknown == []
    assert recommender.unknown(["nowhere", "book-0001"]) == ["nowhere"]
    with pytest.warns(UserWarning, match="1 of 2 items are unknown: nowhere$"):
        assert recommender.explain(["nowhere", "book-0001"], "book-0002").history[0][0] == "book-0001"


def test_nothing_known_is_answered_by_popularity(recommender, text_run):
    corpus = text_run[0].experiment.corpus
    counts = dict(zip(corpus.domains[1].item_ids, corpus.train_counts(1), strict=True))
    found = recommender.recommend([], k=50)
    assert found.fallback
    assert [counts[item_id] for item_id in ids(found)] == sorted(counts.values(), reverse=True)[:50]
    with pytest.warns(UserWarning, match="unknown: nowhere; returning the most popular items"):
        again = recommender.recommend(["nowhere"], k=50)
    assert (again, again.fallback, again.unknown) == (found, True, ["nowhere"])


def test_taste_shown_in_the_source_counts(recommender):
    found = recommender.recommend(["film-0001", "film-0002"], k=20)
    assert all(item_id.startswith("book-") for item_id in ids(found))
    assert found != recommender.recommend([], k=20)
    assert found != recommender.recommend(["film-0007", "film-0008"], k=20)


def test_agrees_with_the_evaluation(recommender, text_run):
    run, _ = text_run
    corpus, blend = run.experiment.corpus, run.answer.blends["test"]
    item_ids = corpus.domains[1].item_ids
    histories = corpus.case(corpus.target, "test").histories[:5]
    for history, scores_I in zip(histories, blend.scores(histories), strict=True):
        found = recommender.recommend([item_ids[n] for n in history], k=len(item_ids))
        expected = np.delete(scores_I, history)
        np.testing.assert_allclose([score for _, score, _ in found], np.sort(expected)[::-1], atol=1e-5)
        scores = dict(zip(item_ids, scores_I, strict=True))
        np.testing.assert_allclose([score for _, score, _ in found], [scores[i] for i in ids(found)], atol=1e-5)


def test_the_parts_of_a_score_add_up_to_it(recommender, text_run):
    blend = text_run[0].answer.blends["test"]
    found = recommender.recommend(["book-0001", "book-0003"], k=9, explain=True)
    assert len(found.parts) == len(found) == 9
    for parts, (item_id, score, _) in zip(found.parts, found, strict=True):
        assert list(parts) == [name for name, weight in blend.weights.items() if weight]
        assert sum(parts.values()) == pytest.approx(score, abs=1e-6), item_id
    assert any(parts["co_purchase"] for parts in found.parts)
    assert found == recommender.recommend(["book-0001", "book-0003"], k=9)
    assert recommender.recommend(["book-0001"], k=9).parts is None
    assert list(recommender.recommend([], k=1, explain=True).parts[0]) == ["popularity"]


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
        dataclasses.replace(
            config,
            model=model,
            encoder=dataclasses.replace(config.encoder, **encoder),
            answer=AnswerConfig(model_weight=1.0),
        )
    )
    save_bundle(run, tmp_path / "bundle")
    recommender, books = Recommender.load(tmp_path / "bundle"), run.experiment.corpus.domains[0]
    cosine_I = np.sum(recommender.encode(books.texts) * run.item_vectors_ID, axis=1)
    assert cosine_I.min() > 0.99999
    history = run.experiment.corpus.case(0, "test").histories[0]
    scores = dict(zip(books.item_ids, run.answer.blends["test"].scores([history])[0], strict=True))
    found = recommender.recommend([books.item_ids[n] for n in history], k=50)
    np.testing.assert_allclose([score for _, score, _ in found], [scores[i] for i, _, _ in found], rtol=1e-5, atol=1e-5)


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
    with pytest.raises(ValueError, match="uses item ids only"):
        recommender.encode(["text"])
    recommender.add_items([{"item_id": "new", "title": recommender.recommend(["book-0001"], k=1)[0].title}])
    found = recommender.recommend(["book-0001"], k=10_000, explain=True)
    parts = found.parts[ids(found).index("new")]
    assert parts["text"] > 0
    assert parts["co_purchase"] > 0  # borrowed from items with similar texts
    assert parts["model"] == 0


def test_many_items_are_added_in_linear_time(recommender):
    """Up to the last item, which is wrong, so that nothing is encoded."""

    def seconds(count):
        items = [{"item_id": f"new-{n}", "title": "t"} for n in range(count)] + [{"item_id": "new-0", "title": "t"}]
        start = time.process_time()
        with pytest.raises(ValueError, match=f"item {count}: the id 'new-0' is taken"):
            recommender.add_items(items)
        return time.process_time() - start

    seconds(100)
    assert seconds(40_000) < 40 * seconds(4000)  # 100 times, were each compared with those before


def test_items_are_added_beside_requests(recommender, text_run, monkeypatch):
    """Readers see all items of a call or none, with vectors and titles that belong together."""
    width = text_run[0].experiment.config.model.width
    vectors = {}

    def vectors_of(texts, features):
        for text in texts:
            vectors[text] = np.full(width, len(vectors) + 1, np.float32)
        return np.stack([vectors[text] for text in texts])

    monkeypatch.setattr(recommender._network, "item_vectors", vectors_of)
    before, done, failed = len(recommender.recommend([], k=10_000)), threading.Event(), []

    def read():
        while not done.is_set():
            catalog = recommender._catalog
            sizes = {len(catalog.items), len(catalog.vectors_ID), len(catalog.popularity_I), len(catalog.number)}
            new = recommender.recommend([], k=10_000)[before:]
            if len(new) % 3 or len(sizes) > 1 or any(item_id != title for item_id, _, title in new):
                failed.append((len(new), sizes))

    def add(writer):
        for n in range(20):
            names = [f"{writer}-{n}-{part}" for part in range(3)]
            recommender.add_items([{"item_id": name, "title": name} for name in names])

    reader, writers = threading.Thread(target=read), [threading.Thread(target=add, args=(w,)) for w in range(3)]
    for thread in [reader, *writers]:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    reader.join()
    assert not failed
    assert len(recommender.recommend([], k=10_000)) == before + 3 * 20 * 3
    catalog = recommender._catalog
    added = catalog.items[len(text_run[0].experiment.corpus.joint) :]
    assert all((catalog.vectors_ID[catalog.number[item.item_id]] == vectors[item.title]).all() for item in added)

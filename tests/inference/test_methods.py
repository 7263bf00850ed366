"""The `Recommender` beyond recommending for one history: batches, dislikes, search, similar items, shops, saving."""

import dataclasses
import shutil

import numpy as np
import pytest

from llmrec_jax import Recommender
from llmrec_jax.config import AnswerConfig
from llmrec_jax.exports import numpy_runner
from llmrec_jax.exports.export import export
from llmrec_jax.inference import network
from llmrec_jax.train.export import save_bundle
from tests.inference.untrained import untrained_run
from tests.train.tiny import pretrained_config

HISTORY = ["book-0001", "film-0003", "book-0010"]


@pytest.fixture(scope="module")
def loaded(text_run):
    """Shared by the tests that do not change its items."""
    return Recommender.load(text_run[1])


@pytest.fixture
def recommender(text_run):
    return Recommender.load(text_run[1])


def test_a_batch_gives_what_one_call_each_gives(loaded):
    histories = [HISTORY, [], ["film-0001"], ["book-0002"], HISTORY[:1]]
    options = {"disliked": ["book-0030"], "where": {"category": "Paperback"}, "diversity": 0.4, "explain": True}
    found = loaded.recommend_many(histories, k=6, **options)
    assert [one.fallback for one in found] == [False, True, False, False, False]
    for history, one in zip(histories, found, strict=True):
        alone = loaded.recommend(history, k=6, **options)
        assert one.ids == alone.ids
        np.testing.assert_allclose([score for _, score, _ in one], [score for _, score, _ in alone], atol=1e-5)
        for parts, expected in zip(one.parts, alone.parts, strict=True):
            assert {n: v for n, v in parts.items() if v} == pytest.approx(
                {n: v for n, v in expected.items() if v}, abs=1e-5
            )
    assert loaded.recommend_many([]) == []
    assert loaded.recommend_many([["nowhere"]], 1)[0].unknown == ["nowhere"]
    with pytest.raises(ValueError, match="times of 1 histories, but there are 2"):
        loaded.recommend_many([HISTORY, HISTORY], times=[[1, 2, 3]])


def test_many_added_items_show_progress(recommender, shown_work):
    recommender.add_items([{"item_id": "one", "title": "A Winter in Vienna"}])
    assert shown_work == ["adding items"]
    recommender.add_items([{"item_id": f"new-{n}", "title": f"A Winter in Vienna {n}"} for n in range(100)])
    assert shown_work[1:3] == ["adding items", "encoding texts"]


def test_blocks_do_not_change_the_answers(loaded, monkeypatch):
    histories = [[item.item_id] for item in loaded.items[:5]]
    expected = loaded.recommend_many(histories, k=4)
    monkeypatch.setattr("llmrec_jax.inference.answering.BLOCK", 2 * len(loaded.items))
    for one, other in zip(loaded.recommend_many(histories, k=4), expected, strict=True):
        assert one.ids == other.ids


def test_what_is_like_a_disliked_item_loses_score(loaded):
    plain = loaded.recommend(HISTORY, k=10_000)
    disliked = plain.ids[0]
    found = loaded.recommend(HISTORY, k=10_000, disliked=[disliked], explain=True)
    assert set(plain.ids) - set(found.ids) == {disliked}
    before = {item_id: score for item_id, score, _ in plain}
    loss = {i: p["disliked"] for i, p in zip(found.ids, found.parts, strict=True)}
    assert max(loss.values()) == 0 > min(loss.values())
    for item_id, score, _ in found:
        assert score == pytest.approx(before[item_id] + loss[item_id], abs=1e-4)
    near = loaded.similar(disliked, k=20).ids
    assert np.mean([loss[i] for i in near if i in loss]) < np.mean(list(loss.values()))


def test_unknown_disliked_items_are_warned_of(loaded):
    with pytest.warns(UserWarning, match="^1 of 4 items are unknown: nowhere$"):
        found = loaded.recommend(HISTORY, disliked=(item_id for item_id in ["nowhere"]))
    assert (found, found.unknown) == (loaded.recommend(HISTORY), ["nowhere"])
    assert loaded.recommend_many([["neither"]], disliked=["nowhere"])[0].unknown == ["neither", "nowhere"]


def test_dislikes_without_a_history_reorder_the_most_popular_items(loaded):
    popular = loaded.recommend([], k=10_000)
    found = loaded.recommend([], k=10_000, disliked=[popular.ids[0]], explain=True)
    assert found.fallback
    assert found.ids != popular.ids[1:]
    assert sorted(found.ids) == sorted(popular.ids[1:])
    assert all(set(parts) == {"popularity", "disliked"} for parts in found.parts)
    assert min(parts["disliked"] for parts in found.parts) >= -popular[0].score - 1e-6


def test_seen_items_are_candidates_on_request(loaded):
    assert not set(HISTORY) & set(loaded.recommend(HISTORY, k=10_000).ids)
    assert {"book-0001", "book-0010"} <= set(loaded.recommend(HISTORY, k=10_000, seen=True).ids)


def test_new_items_get_places_on_request(recommender):
    before = recommender.recommend(HISTORY, k=5, new=2).ids
    assert before == recommender.recommend(HISTORY, k=5).ids  # there are none
    recommender.add_items([{"item_id": f"new-{n}", "title": f"Manual no. {n}"} for n in range(3)])
    found = recommender.recommend(HISTORY, k=5, new=2)
    assert found.ids[:3] == before[:3]
    assert all(item_id.startswith("new-") for item_id in found.ids[3:])
    assert found[3].score >= found[4].score
    assert recommender.recommend_many([HISTORY], k=1, new=3)[0].ids[0].startswith("new-")
    with pytest.raises(ValueError, match=r"new=1\.5: not a whole number"):
        recommender.recommend(HISTORY, new=1.5)


def test_new_items_borrow_the_counts_of_similar_items(recommender, tmp_path):
    bought_along = recommender.similar("book-0001", k=1, by="purchase")[0]
    before = recommender.recommend(["book-0001"], k=10_000, explain=True)
    recommender.add_items([{"item_id": "new", "title": bought_along.title}])
    found = recommender.recommend(["book-0001"], k=10_000, explain=True)
    parts = found.parts[found.ids.index("new")]
    assert parts["co_purchase"] > np.mean([one["co_purchase"] for one in before.parts])
    assert 0 < parts["popularity"] < before.parts[before.ids.index(bought_along.item_id)]["popularity"]
    why = recommender.explain(["book-0001"], "new")
    assert {name: why.parts[name] for name in parts} == pytest.approx(parts, abs=1e-5)
    assert "new" not in recommender.similar("book-0001", k=10_000, by="purchase").ids  # nobody has both
    recommender.save(tmp_path / "grown")
    assert Recommender.load(tmp_path / "grown").recommend(["book-0001"], k=10_000) == found
    exported = numpy_runner.Recommender(export(tmp_path / "grown", tmp_path / "numpy", "numpy"))
    scores = {item_id: score for item_id, score, _ in exported.recommend(["book-0001"], k=10_000)}
    assert scores["new"] == pytest.approx(found[found.ids.index("new")].score, abs=1e-4)


def test_items_of_another_shop_are_ranked_by_the_model(loaded):
    found = loaded.recommend(HISTORY, k=5, shop="films", explain=True)
    assert all(item_id.startswith("film-") for item_id in found.ids)
    assert "film-0003" not in loaded.recommend(HISTORY, k=10_000, shop="films").ids
    assert [set(parts) for parts in found.parts] == [{"model"}] * 5
    popular = loaded.recommend([], k=3, shop="films")
    assert popular.fallback
    assert all(item_id.startswith("film-") for item_id in popular.ids)
    with pytest.raises(ValueError, match=r"shop='toys': not a domain of this bundle; it has films, books"):
        loaded.recommend(HISTORY, shop="toys")


def test_probabilities_rise_with_the_score(loaded):
    """Estimated on validation events; a list of all items that are left adds up to about one event."""
    found = loaded.recommend(HISTORY, k=10_000)
    assert found.probabilities == sorted(found.probabilities, reverse=True)
    assert 0 < found.probabilities[0] < 1
    assert (
        0.2
        < np.mean([sum(one.probabilities) for one in loaded.recommend_many([[i.item_id] for i in loaded.items], 999)])
        < 5
    )
    for other in ({"shop": "films"}, {"disliked": ["book-0002"]}):
        assert loaded.recommend(HISTORY, **other).probabilities is None
    assert loaded.recommend([]).probabilities is loaded.recommend(["film-0001"]).probabilities is None
    assert loaded.recommend(HISTORY, k=1, where={"category": "Paperback"}).probabilities is not None


def test_wrong_options(loaded):
    for value in (-0.1, 1.1, float("nan"), "x", True):
        with pytest.raises(ValueError, match="diversity="):
            loaded.recommend(HISTORY, diversity=value)
    for wrong, said in (("book-0001", "a str"), (None, "None")):
        with pytest.raises(ValueError, match=f"disliked is {said}; pass a list of ids"):
            loaded.recommend(HISTORY, disliked=wrong)
    with pytest.raises(ValueError, match=r"^new=-1: ask for at least one item"):
        loaded.recommend(HISTORY, new=-1)
    with pytest.raises(TypeError, match="novelty"):
        loaded.recommend_many([HISTORY], novelty=1)


def test_a_search_for_the_text_of_an_item_finds_it(loaded):
    for item in loaded.items[::90]:
        found = loaded.search(f"{item.title} {item.brand}", k=3)
        assert found[0].title == item.title
        assert [score for _, score, _ in found] == sorted((score for _, score, _ in found), reverse=True)
    paperbacks = loaded.search("a novel of the nineties", k=10_000, where={"category": "Paperback"}).ids
    assert 0 < len(paperbacks) < len(loaded.items)
    with pytest.raises(ValueError, match="text 0: 3 is not a string"):
        loaded.search(3)


def test_a_search_without_words_of_the_items_finds_nothing(loaded):
    """All texts of the shop have "a" and "the", some titles too; none has the other words."""
    assert not loaded.search("", k=5)
    assert not loaded.search("qqq zzz", k=5)
    assert not loaded.search("The detective in a small town", k=5)
    alone = loaded.search("inspector", k=10_000)
    assert 0 < len(alone) < len(loaded.items)
    assert loaded.search("the inspector of a small town", k=10_000).ids == alone.ids


def test_similar_items(loaded, text_run):
    everything = {by: loaded.similar("book-0007", k=10_000, by=by) for by in ("text", "purchase", "model")}
    for found in everything.values():
        assert "book-0007" not in found.ids
    assert len(everything["text"]) == len(everything["model"]) == len(loaded.items) - 1
    rows = loaded._catalog.vectors_ID[loaded._catalog.target_J]  # of length 1
    scores = dict(zip((item.item_id for item in loaded.items), rows @ rows[7], strict=True))
    assert everything["model"][0].score == pytest.approx(scores[everything["model"].ids[0]], abs=1e-5)
    assert everything["model"].ids[0] == max(scores.keys() - {"book-0007"}, key=scores.__getitem__)
    assert min(score for _, score, _ in everything["purchase"]) > 0
    assert all(i.startswith("book-") for by in ("text", "model") for i in loaded.similar("film-0001", k=5, by=by).ids)
    assert loaded.similar("film-0001", by="purchase") == []
    with pytest.raises(ValueError, match="by='price': one of text, purchase, model"):
        loaded.similar("book-0001", by="price")
    with pytest.raises(ValueError, match="item_id: no item has the id 'nowhere'"):
        loaded.similar("nowhere")


def test_items(loaded, text_run):
    books = text_run[0].experiment.corpus.domains[1]
    assert [item.item_id for item in loaded.items] == books.item_ids
    assert [(item.title, item.brand, item.category) for item in loaded.items] == [
        (item.title, item.brand, item.category) for item in books.items
    ]
    assert loaded.item("film-0001").domain == "films"
    assert loaded.map().shape == (len(loaded.items), 2)


def test_removed_items_are_not_recommended_but_still_read(recommender):
    before = recommender.recommend(HISTORY, k=10_000)
    gone = before.ids[:2]
    recommender.remove_items([*gone, "book-0001"])
    after = recommender.recommend(HISTORY, k=10_000)
    assert after == before[2:]  # the history, with the item that was removed, gives the same scores
    assert not set(gone) & {item.item_id for item in recommender.items}
    assert len(recommender.map()) == len(recommender.items)
    assert not set(gone) & set(recommender.similar("book-0010", k=10_000).ids + recommender.search("sea", k=10_000).ids)
    with pytest.raises(ValueError, match=f"'{gone[0]}' was removed before"):
        recommender.remove_items(["book-0005", gone[0]])
    with pytest.raises(ValueError, match="'film-0001' is not an item of 'books'"):
        recommender.remove_items(["film-0001"])
    assert "book-0005" in recommender.recommend(HISTORY, k=10_000).ids  # where one id is wrong, none is removed
    recommender.add_items([{"item_id": gone[0], "title": "A new edition"}])
    assert recommender.item(gone[0]).is_new
    assert gone[0] in recommender.recommend(HISTORY, k=10_000).ids


def test_a_saved_recommender_loads_as_it_was(recommender, tmp_path):
    recommender.add_items([{"item_id": "new", "title": "The Silent Harbour", "price": 3.5, "category": "Paperback"}])
    recommender.remove_items(["book-0003", "new"])
    recommender.add_items(
        [{"item_id": "new", "title": "The Loud Harbour", "price": 4.5}, {"item_id": "x", "title": "X"}]
    )
    recommender.save(tmp_path / "saved")
    again = Recommender.load(tmp_path / "saved")
    assert list(again.items) == list(recommender.items)
    assert again.item("new").attributes == {"price": 4.5}
    for history in ([], HISTORY, ["new", "book-0003"]):
        assert again.recommend(history, k=10_000, explain=True) == recommender.recommend(history, k=10_000)
    assert again.recommend(HISTORY).probabilities == recommender.recommend(HISTORY).probabilities
    for by in ("text", "purchase", "model"):
        assert again.similar("new", by=by) == recommender.similar("new", by=by)
    np.testing.assert_array_equal(again.map(), recommender.map())
    np.testing.assert_array_equal(again.encode(["sea"]), recommender.encode(["sea"]))
    again.save(tmp_path / "saved")  # over the bundle that it was loaded from
    assert Recommender.load(tmp_path / "saved").recommend(HISTORY) == recommender.recommend(HISTORY)
    first, second, *_ = recommender._catalog.channels["text"]
    assert first.channel.as_item_IV is second.channel.as_item_IV  # shared, and so stored once


def test_a_recommender_whose_bundle_was_replaced_is_not_saved(text_run, tmp_path):
    shutil.copytree(text_run[1], tmp_path / "bundle")
    recommender = Recommender.load(tmp_path / "bundle")
    save_bundle(text_run[0], tmp_path / "bundle")
    with pytest.raises(ValueError, match="replaced by another bundle since it was loaded"):
        recommender.save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_bundles_without_fields_of_items_load(text_run, tmp_path):
    """As older versions wrote them: id, title and domain only."""
    shutil.copytree(text_run[1], tmp_path / "bundle")
    lines = (tmp_path / "bundle" / "items.jsonl").read_text().splitlines()
    old = [line.split(',"category"')[0] + "}" for line in lines]
    (tmp_path / "bundle" / "items.jsonl").write_text("\n".join(old) + "\n")
    recommender = Recommender.load(tmp_path / "bundle")
    assert recommender.recommend(HISTORY) == Recommender.load(text_run[1]).recommend(HISTORY)
    assert recommender.items[0].category is None
    with pytest.raises(ValueError, match="no item has a field 'category'; fields of the items: none"):
        recommender.recommend(HISTORY, where={"category": "Paperback"})


def test_added_items_are_encoded_once_where_the_model_reads_what_the_text_part_compares(tmp_path, monkeypatch):
    config = pretrained_config(tmp_path, "bert", num_layers=1)  # max_tokens=64
    encoder = dataclasses.replace(config.encoder, mode="frozen", pooling="mean")
    model = dataclasses.replace(config.model, item_features="text")
    run = untrained_run(
        dataclasses.replace(config, encoder=encoder, model=model, answer=AnswerConfig(model_weight=1.0))
    )
    save_bundle(run, tmp_path / "bundle")
    recommender, calls = Recommender.load(tmp_path / "bundle"), []
    encode_texts = network.encode_texts
    monkeypatch.setattr(network, "encode_texts", lambda *given: calls.append(len(given[1])) or encode_texts(*given))
    recommender.add_items([{"item_id": "new", "title": "The Silent Harbour"}, {"item_id": "x", "title": "X"}])
    assert calls == [2]
    vectors = recommender.encode(["The Silent Harbour", "X"])
    np.testing.assert_allclose(recommender._catalog.vectors_ID[-2:], vectors, atol=1e-6)

"""The untrained parts: text channels against dense formulas, items added later, and storage of readers."""

import msgspec
import numpy as np
import pytest

from llmrec_jax.baselines.parts import counting_channels, text_channels
from llmrec_jax.baselines.readers import Fitted, read_reader, reader_arrays, reader_facts
from llmrec_jax.baselines.text_channels import encoder_rows, nearest_cosine, tfidf_rows
from llmrec_jax.data.domains.records import Item
from llmrec_jax.data.texts.whitening import half_whitening

PLATFORMS = ("PC", "Wii", "PS4", "DS", "Xbox")
HISTORIES = [np.array([3]), np.array([1, 8, 2]), np.arange(26), np.array([], np.int32)]


@pytest.fixture(scope="module")
def items():
    """Items with every structure that the channels read."""
    rng = np.random.default_rng(0)
    words = [" ".join(f"word{word}" for word in rng.integers(20, size=4)) for _ in range(30)]
    return [
        Item(f"i{n}", f"{words[n]} (Saga {n % 3}, #{n // 3}) - {PLATFORMS[n % 5]}", f"Games > {n % 4} > {n % 2}",
             brand=f"maker {n % 6}", description=words[n - 1],
             facts=(("genre", f"g{n % 3}"), ("director", f"d{n % 7}"), ("genre", f"only {n}"))[n % 2 :])
        for n in range(30)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def features_IF():
    return np.random.default_rng(1).standard_normal((30, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def fitted(items, features_IF):
    """All channels by name."""
    rng = np.random.default_rng(2)
    events = rng.integers(30, size=200), np.sort(rng.integers(40, size=200))
    parts = text_channels(items, features_IF) | counting_channels(*events, 30)
    assert list(parts) == ["text", "structure", "graph", "co_purchase", "popularity"]
    return {found.channel.name: found for channels in parts.values() for found in channels}


def test_every_channel_is_there(fitted):
    assert list(fitted) == [
        *("text", "text_long", "title_and_brand", "series", "facet"),
        *("facts", "facts_long", "co_purchase", "popularity"),
    ]


def test_text_channels_are_scaled_cosines_with_the_decayed_mean(fitted, features_IF):
    vectors_IF = half_whitening(features_IF)(features_IF)
    cosine_II = vectors_IF @ vectors_IF.T
    np.fill_diagonal(cosine_II, -1)
    nearest = np.sort(cosine_II, axis=1)[:, -10:].mean()
    for name, num_last, decay, weight in (("text", 5, 0.65, 0.8), ("text_long", 20, 0.9, 0.4)):
        for history, found_I in zip(HISTORIES, fitted[name].channel.scores(HISTORIES), strict=True):
            recent = history[::-1][:num_last]
            user_F = (decay ** np.arange(len(recent))) @ vectors_IF[recent]
            user_F /= np.linalg.norm(user_F) or 1
            np.testing.assert_allclose(found_I, weight / nearest * (vectors_IF @ user_F), atol=1e-5)


def test_facts_are_compared_by_shrunk_tfidf(fitted, items):
    idf = {("genre", f"g{n}"): np.log(31 / 6) + 1 for n in range(3)}
    for n in range(7):
        shared = sum(("director", f"d{n}") in item.facts for item in items)
        idf["director", f"d{n}"] = np.log(31 / (1 + shared)) + 1
    rows = np.array([[idf[fact] * (fact in item.facts) for fact in idf] for item in items])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True) + 20
    found_I = fitted["facts"].channel.scores([np.array([4])])[0]
    expected_I = rows @ rows[4] / np.linalg.norm(rows[4])
    np.testing.assert_allclose(found_I / found_I.max(), expected_I / expected_I.max(), atol=1e-6)


def test_without_an_encoder_the_whole_text_is_compared(items):
    channels = text_channels(items, None)["text"]
    assert [found.channel.name for found in channels] == ["text", "text_long", "title_and_brand"]
    assert channels[0].reader.kind == "whole_text"
    scores_I = channels[0].channel.scores([np.array([4])])[0]
    assert scores_I.argmax() == 4
    assert np.count_nonzero(scores_I) > 5


@pytest.mark.parametrize("stored", [False, True], ids=["fitted", "read from a bundle"])
def test_a_twin_added_later_scores_as_the_item(fitted, items, features_IF, stored):
    twins = [3, 17]
    for name, found in fitted.items():
        if stored:
            facts = msgspec.json.decode(msgspec.json.encode(reader_facts(found.reader)))
            found = Fitted(found.channel, read_reader(facts, reader_arrays(found.reader)))
        grown = found.with_items([items[n] for n in twins], lambda: features_IF[twins]).channel
        scores_NI = grown.scores(HISTORIES)
        np.testing.assert_allclose(scores_NI[:, :30], found.channel.scores(HISTORIES), atol=1e-6, err_msg=name)
        if name in ("co_purchase", "popularity"):
            assert not scores_NI[:, 30:].any(), name
        else:
            np.testing.assert_allclose(scores_NI[:, 30:], scores_NI[:, twins], rtol=1e-5, atol=1e-6, err_msg=name)
            as_history = grown.scores([np.array([30, 31]), np.array(twins)])
            np.testing.assert_allclose(as_history[0], as_history[1], rtol=1e-5, atol=1e-6, err_msg=name)


def test_equal_items_tie_in_sparse_channels(items):
    twins = [*items, items[5], items[9]]
    for found in [f for part in text_channels(twins, None).values() for f in part]:
        scores_NI = found.channel.scores(HISTORIES[:3])
        np.testing.assert_array_equal(scores_NI[:, 30:], scores_NI[:, [5, 9]], err_msg=found.channel.name)


def test_texts_that_tell_no_item_from_another_have_no_channel():
    plain = [Item(f"i{n}", f"t{n}") for n in range(4)]
    assert text_channels(plain, None) == {}
    assert encoder_rows(np.ones((4, 3), np.float32)) is None
    assert text_channels(plain[:1], None) == {}


def test_items_without_a_shared_word_do_not_lower_the_scale():
    some = [Item(f"i{n}", "a b" if n < 6 else f"word{n}") for n in range(40)]
    rows = tfidf_rows(some, "title_and_brand")
    assert nearest_cosine(rows.as_item_IV) == pytest.approx(0.5)  # five of the ten nearest are equal, five have none


def test_without_two_events_of_a_user_only_popularity_is_counted():
    parts = counting_channels(np.array([1, 1, 0]), np.arange(3), 4)
    assert not parts["co_purchase"][0].channel.scores([np.array([1])]).any()
    scores_I = parts["popularity"][0].channel.scores([np.array([2])])[0]
    assert scores_I[1] > scores_I[0] > scores_I[3] == 0


def test_without_order_all_events_count_alike():
    histories = [np.array([4, 0, 1]), np.array([1, 0, 4])]
    events = np.array([0, 1, 2, 3, 4, 0, 1, 2]), np.array([0, 0, 0, 0, 0, 1, 1, 1])
    for found in counting_channels(*events, 5, is_ordered=False).values():
        scores_NI = found[0].channel.scores(histories)
        np.testing.assert_allclose(scores_NI[0], scores_NI[1], rtol=1e-6)


@pytest.mark.parametrize("facts", [{"kind": "other"}, {"kind": "facet", "terms": ["a", "b"]}])
def test_a_damaged_reader_is_refused(facts):
    with pytest.raises(ValueError, match=r"kind of channel|2 terms"):
        read_reader(facts, {"weight": np.ones(1, np.float32)})

"""Items without events get a share of their neighbours' scores, for every history, and change no other item's score."""

import numpy as np
import pytest
import scipy.special

from llmrec_jax.baselines.borrowed import SHARE, TEMPERATURE, with_borrowed_counts
from llmrec_jax.baselines.parts import counting_channels, text_channels
from llmrec_jax.blend.answer import channel_part
from llmrec_jax.data.domains.records import Item

ITEMS, COLD = 30, np.array([4, 29])
HISTORIES = [np.array([0, 1, 2]), np.array([7]), np.array([4]), np.array([], np.int64), np.arange(20, 28)]
HISTORIES = [history.astype(np.int64) for history in HISTORIES]


@pytest.fixture(scope="module")
def parts():
    """Texts of three words each; nobody has items 4 and 29, and no text resembles that of 29."""
    rng = np.random.default_rng(0)
    titles = [f"word{n % 3} word{n % 5} word{n % 7}" for n in range(ITEMS - 1)] + ["alone"]
    items_E = rng.choice(np.delete(np.arange(ITEMS), COLD), 300)
    counts = counting_channels(items_E, np.repeat(np.arange(60), 5), ITEMS)
    return text_channels([Item(f"i{n}", title) for n, title in enumerate(titles)], None) | counts


def scores(parts, name):
    return channel_part(name, [fitted.channel for fitted in parts[name]]).scores(HISTORIES)


def is_counted(size=ITEMS):
    counted_I = np.ones(size, bool)
    counted_I[COLD] = counted_I[ITEMS:] = False
    return counted_I


def test_the_score_is_a_share_of_the_mean_of_the_neighbours(parts):
    borrowed = with_borrowed_counts(parts, COLD, is_counted())
    similar_I = sum(
        channel.scale * (channel.as_item_IV @ channel.as_item_IV[4].T).toarray()[:, 0]
        for channel in (parts["text"][0].channel, parts["text"][2].channel)
    )
    similar_I[COLD] = -np.inf
    near = np.argsort(-similar_I, kind="stable")[:20]
    weights_K = scipy.special.softmax(similar_I[near] / TEMPERATURE) * (similar_I[near] > 0)
    assert np.count_nonzero(weights_K) > 5
    for name, share in SHARE.items():
        before_NI, after_NI = scores(parts, name), scores(borrowed, name)
        assert not before_NI[:, COLD].any()
        np.testing.assert_allclose(after_NI[:, 4], share * before_NI[:, near] @ weights_K, rtol=1e-4, atol=1e-6)
        assert after_NI[0, 4] > 0
        assert not after_NI[:, 29].any()  # no text is like its own
        np.testing.assert_allclose(np.delete(after_NI, COLD, 1), np.delete(before_NI, COLD, 1), atol=1e-6)
    assert borrowed["text"] == list(parts["text"])


def test_items_added_one_after_the_other_score_as_those_added_at_once(parts):
    records = [Item("a", "word1 word2 word6"), Item("b", "word0 word4")]
    whole = {name: [fitted.with_items(records, np.zeros) for fitted in part] for name, part in parts.items()}
    whole = with_borrowed_counts(whole, np.arange(ITEMS, ITEMS + 2), is_counted(ITEMS + 2))
    grown = parts
    for n, record in enumerate(records):
        grown = {name: [fitted.with_items([record], np.zeros) for fitted in part] for name, part in grown.items()}
        grown = with_borrowed_counts(grown, np.array([ITEMS + n]), is_counted(ITEMS + n + 1))
    for name in SHARE:
        assert scores(whole, name)[0, ITEMS:].all()
        np.testing.assert_allclose(scores(grown, name), scores(whole, name), atol=1e-6)


def test_nothing_is_borrowed_without_counts_or_texts(parts):
    text = {"text": list(parts["text"])}
    assert with_borrowed_counts(text, COLD, is_counted()) == text
    counts = {name: list(parts[name]) for name in SHARE}
    assert with_borrowed_counts(counts, COLD, is_counted()) == counts
    assert with_borrowed_counts(parts, COLD[:0], is_counted()) == {name: list(part) for name, part in parts.items()}

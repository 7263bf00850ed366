"""The built-in shops: the same bytes everywhere, and a signal that text similarity alone barely finds."""

import hashlib
import re
from collections import Counter

import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import demo, demo_words
from llmrec_jax.data.domains.domain import Domain, load_domain

BYTES = {"films": "7bb66f2c04365d43", "books": "2dace5db69390e40"}


@pytest.fixture(scope="module", params=["films", "books"])
def shop(request, tmp_path_factory) -> Domain:
    return load_domain(f"demo:{request.param}", DataConfig(cache_dir=str(tmp_path_factory.mktemp("cache"))))


def ndcg(domain: Domain, scores_UI: np.ndarray) -> float:
    """NDCG@10 of the last event of every user, its history masked."""
    total = 0.0
    for user, scores in enumerate(scores_UI):
        *seen, target = domain.history(user)
        scores = np.delete(scores, seen), scores[target]
        rank = 1 + (scores[0] > scores[1]).sum() + ((scores[0] == scores[1]).sum() - 1) / 2
        total += 1 / np.log2(1 + rank) if rank <= 10 else 0
    return total / len(scores_UI)


def tf_idf(texts: list[str]) -> np.ndarray:
    counts = [Counter(re.findall(r"\w+", text.lower())) for text in texts]
    frequency = Counter(word for words in counts for word in words)
    column = {word: number for number, word in enumerate(frequency)}
    vectors = np.zeros((len(texts), len(column)))
    for row, words in zip(vectors, counts, strict=True):
        for word, count in words.items():
            row[column[word]] = count * (np.log((1 + len(texts)) / (1 + frequency[word])) + 1)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def oracle(domain: Domain) -> np.ndarray:
    """Scores of one who knows the planted truth of every item and the law of transitions, but no user's tastes."""
    truths = demo.truth(domain.name)
    theme_I = np.array([truth.theme for truth in truths])
    dark_I = np.array([truth.tone == "dark" for truth in truths])
    acclaim_I = np.array([truth.acclaim for truth in truths])
    rows = []
    for user in range(len(domain.user_ids)):
        seen = domain.history(user)[:-1]
        last = theme_I[seen[-1]]
        own = np.bincount(theme_I[seen], minlength=len(demo.THEMES)) / len(seen)
        chance = (1 - demo.STAY - demo.PARTNER) * own
        chance[last] += demo.STAY
        chance[demo.partner(last)] += demo.PARTNER
        likes_dark = dark_I[seen].mean() > 0.5
        rows.append(chance[theme_I] * acclaim_I * np.where(dark_I == likes_dark, demo.TONE_WEIGHT, 1))
    return np.array(rows)


def test_same_bytes_everywhere():
    for shop, pinned in BYTES.items():
        files = demo.generate(shop)
        digest = hashlib.sha256(files["items.jsonl"] + files["interactions.csv"]).hexdigest()
        assert digest[:16] == pinned, f"{shop} changed: raise demo.VERSION and pin the new hash"


def test_size_and_texts(shop):
    items, users, _ = demo.SIZES[shop.name]
    assert (len(shop.item_ids), len(shop.user_ids), shop.order) == (items, users, "timestamp")
    assert len(set(shop.titles)) == items
    assert 20 <= np.mean([len(text.split()) for text in shop.texts]) <= 36
    assert np.diff(shop.offsets).min() >= 3
    assert not shop.report["skipped"]
    assert shop.report["repeats_dropped"] == 0


def test_oracle_beats_text_beats_popularity(shop):
    users = range(len(shop.user_ids))
    last = np.array([shop.history(user)[-2] for user in users])
    counts = np.bincount(np.concatenate([shop.history(user)[:-2] for user in users]), minlength=len(shop.item_ids))
    vectors = tf_idf(shop.texts)
    popularity = ndcg(shop, np.tile(counts, (len(users), 1)))
    text = ndcg(shop, vectors[last] @ vectors.T)
    known = ndcg(shop, oracle(shop))
    assert text > 1.3 * popularity
    assert known > 3 * text


def test_no_word_belongs_to_two_themes_or_to_the_noise():
    words = [word for theme in demo_words.THEMES.values() for group in theme for word in group]
    assert len(words) == len(set(words)) == 12 * (25 + 10 + 10)
    pools = [getattr(demo_words, name) for name in dir(demo_words) if name.isupper() and name != "THEMES"]
    assert not set(words) & set(re.findall(r"\w+", str(pools).lower()))


def test_themes_cross_the_shops():
    films, books = (" ".join(demo.generate(shop)["items.jsonl"].decode().lower().split()) for shop in demo.SIZES)
    for theme in demo_words.THEMES.values():
        assert sum(word in films and word in books for word in theme.shared) > 20  # of 25


def test_unknown_shop(tmp_path):
    with pytest.raises(ValueError, match="demo:films, demo:books"):
        load_domain("demo:cars", DataConfig(cache_dir=str(tmp_path)))

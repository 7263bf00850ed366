"""The built-in shops: the same bytes everywhere, and a signal that text similarity alone barely finds."""

import hashlib
import re
from collections import Counter

import msgspec
import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains import demo, demo_shift, demo_words
from llmrec_jax.data.domains.domain import Domain, load_domain

BYTES = {
    "films": "ca9253d4cc9d0a31",
    "books": "9330959ceae9a0cd",
    "shift_source": "395a2c55c2aa0e62",
    "shift_target": "8b7d59fe10e735c3",
}
DCG = sum(1 / np.log2(1 + rank) for rank in range(1, 11))  # of ten hits


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


def test_price_is_not_part_of_the_text(shop):
    rows = map(msgspec.json.decode, demo.generate(shop.name)["items.jsonl"].splitlines())
    for row, text in zip(rows, shop.texts, strict=True):
        low, high = demo_words.PRICES[row["category"].split(",")[0]]
        assert low < row["price"] < high + 1
        assert str(row["price"]) not in text


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
    films, books = (
        " ".join(demo.generate(shop)["items.jsonl"].decode().lower().split()) for shop in ("films", "books")
    )
    for theme in demo_words.THEMES.values():
        assert sum(word in films and word in books for word in theme.shared) > 20  # of 25


@pytest.fixture(scope="module")
def shifted(tmp_path_factory) -> dict[str, Domain]:
    data = DataConfig(cache_dir=str(tmp_path_factory.mktemp("cache")))
    return {shop: load_domain(f"demo:{shop}", data) for shop in demo_shift.SIZES}


def theme_words(domain: Domain) -> list[list[tuple[int, bool]]]:
    """The words of themes in each text: the theme, and whether the word is shared."""
    kinds = {word: (number, word in demo_shift.shared_words(number))
             for number, theme in enumerate(demo_words.THEMES.values())
             for word in theme.shared + theme.films + theme.books}  # fmt: skip
    return [[kinds[word] for word in re.findall(r"\w+", text.lower()) if word in kinds] for text in domain.texts]


def test_the_shift_is_in_the_words_of_the_themes_alone(shifted):
    shares, themes, other = {}, {}, {}
    for shop, domain in shifted.items():
        planted = demo_shift.items(shop)[1]
        found = theme_words(domain)
        for words, truth in zip(found, planted, strict=True):
            assert {theme for theme, _ in words} == {truth.theme}
            assert truth.is_known == any(is_shared for _, is_shared in words)
            assert len(words) == demo_shift.TELLING
        shares[shop] = np.mean([is_shared for words in found for _, is_shared in words])
        themes[shop] = Counter(truth.theme for truth in planted)
        text = " ".join(domain.texts).lower()
        other[shop] = set(re.findall(r"\w+", text)) - set(re.findall(r"\w+", str(demo_words.THEMES)))
    assert shares["shift_source"] == pytest.approx(0.65, abs=0.05)
    assert shares["shift_target"] == pytest.approx(0.35, abs=0.05)
    assert set(themes["shift_source"].values()) == {20}
    assert themes["shift_source"] == themes["shift_target"]
    assert len(other["shift_source"] ^ other["shift_target"]) <= 2  # rare ones, by chance
    assert len(other["shift_source"]) > 80


def test_the_words_that_only_the_target_uses_are_not_in_the_source(shifted):
    own = {word for theme in demo_words.THEMES.values() for word in theme.books}
    assert not own & set(re.findall(r"\w+", " ".join(shifted["shift_source"].texts).lower()))
    unknown = [not truth.is_known for truth in demo_shift.items("shift_target")[1]]
    assert 0.15 < np.mean(unknown) < 0.25


def next_events(domain: Domain) -> tuple[list[np.ndarray], np.ndarray]:
    """The last event of each user, and the history before it."""
    histories = [domain.history(user) for user in range(len(domain.user_ids))]
    return [history[:-1] for history in histories], np.array([history[-1] for history in histories])


def gains(scores_NI: np.ndarray, histories: list[np.ndarray], next_N: np.ndarray) -> np.ndarray:
    """NDCG@10 of each user, ties in random order, the history left out."""
    scores_NI = scores_NI + 1e-9 * np.random.default_rng(0).random(scores_NI.shape)
    for row_I, history in zip(scores_NI, histories, strict=True):
        row_I[history] = -1
    rank_N = 1 + (scores_NI > scores_NI[np.arange(len(next_N)), next_N][:, None]).sum(axis=1)
    return np.where(rank_N <= 10, 1 / np.log2(1 + rank_N), 0)


def test_best_possible_ranking_is_what_the_closed_form_says(shifted):
    """Within a theme nothing can be known, so that ten of its books are shown, each with the same chance."""
    histories, next_N = next_events(shifted["shift_target"])
    truths = demo_shift.items("shift_target")[1]
    scores_NI = demo_shift.best_scores(truths, histories)
    np.testing.assert_allclose(scores_NI.sum(axis=1), 1)
    stay = demo_shift.STAY + (1 - demo_shift.STAY - demo_shift.PARTNER) / len(demo_shift.THEMES)
    left_N = [20 - sum(truths[item].theme == truths[history[-1]].theme for item in history) for history in histories]
    gain_N = gains(scores_NI, histories, next_N)
    expected, error = np.mean(stay * DCG / np.array(left_N)), gain_N.std() / len(gain_N) ** 0.5
    assert gain_N.mean() == pytest.approx(expected, abs=3 * error)
    assert error < 0.05 * expected


def test_the_words_of_the_source_are_enough_for_an_ideal_reader(shifted):
    """Ten books of a theme with shared words fill the list; only the theme of the last book may be lost."""
    histories, next_N = next_events(shifted["shift_target"])
    truths = demo_shift.items("shift_target")[1]
    rankings = [demo_shift.best_scores(truths, histories), demo_shift.blind_scores(truths, histories)]
    best, blind, chance = (gains(scores_NI, histories, next_N).mean()
                           for scores_NI in (*rankings, np.zeros((len(histories), len(truths)))))  # fmt: skip
    assert 0.9 * best < blind < 1.05 * best
    assert blind > 4 * chance


def test_unknown_shop(tmp_path):
    with pytest.raises(ValueError, match="demo:films, demo:books, demo:shift_source, demo:shift_target"):
        load_domain("demo:cars", DataConfig(cache_dir=str(tmp_path)))

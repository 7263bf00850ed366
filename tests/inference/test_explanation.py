"""Explanations: parts and history against the scores themselves, words by what removing them does to the score."""

import dataclasses

import numpy as np
import pytest

from llmrec_jax import Recommender
from llmrec_jax.config import AnswerConfig
from llmrec_jax.data.texts.tokenizer import encode
from llmrec_jax.inference.explanation import without_words
from llmrec_jax.models.layers import pool
from llmrec_jax.train.export import save_bundle
from tests.inference.untrained import untrained_run
from tests.train.tiny import pretrained_config

HISTORY = ["book-0001", "book-0044", "book-0010"]


@pytest.fixture(scope="module")
def pretrained_bundle(tmp_path_factory):
    """The text part and the model read a pretrained encoder."""
    folder = tmp_path_factory.mktemp("pretrained")
    config = pretrained_config(folder, "bert", num_layers=1)
    model = dataclasses.replace(config.model, item_features="text")
    save_bundle(
        untrained_run(dataclasses.replace(config, model=model, answer=AnswerConfig(model_weight=1.0))),
        folder / "bundle",
    )
    return folder / "bundle"


@pytest.fixture(params=["TF-IDF", "TF-IDF and a model", "a pretrained encoder and a model"])
def recommender(request, id_run, text_run, pretrained_bundle):
    folders = {"TF-IDF": id_run[1], "TF-IDF and a model": text_run[1]}
    return Recommender.load(folders.get(request.param, pretrained_bundle))


def score_of(recommender, history, item_id):
    return {i: score for i, score, _ in recommender.recommend(history, k=10**6)}[item_id]


def test_parts_and_history_are_differences_of_scores(text_run):
    recommender = Recommender.load(text_run[1])
    history = [*HISTORY, "film-0003"]
    found = recommender.explain(history, "book-0007")
    assert found.score == pytest.approx(score_of(recommender, history, "book-0007"), abs=1e-5)
    assert sum(found.parts.values()) == pytest.approx(found.score, abs=1e-5)
    assert set(found.parts) == {"text", "structure", "co_purchase", "popularity", "model"} & set(found.parts)
    shares = dict(found.history)
    assert [share for _, share in found.history] == sorted(shares.values(), reverse=True)
    for item_id in history:
        without = score_of(recommender, [i for i in history if i != item_id], "book-0007")
        assert shares[item_id] == pytest.approx(found.score - without, abs=1e-4)


def test_without_a_history_there_is_popularity_alone(text_run):
    recommender = Recommender.load(text_run[1])
    found = recommender.explain([], "book-0007")
    assert (list(found.parts), found.history, found.words) == (["popularity"], [], [])
    with pytest.raises(ValueError, match="'film-0001' is an item of 'films': only items of 'books' can be explained"):
        recommender.explain(HISTORY, "film-0001")


def text_scores(recommender, variants):
    """What the texts of items add to their scores: items that nobody has taken have no other parts."""
    rows = [
        {"item_id": f"variant-{n}", "title": item.title.strip() or "."}
        | {name: getattr(item, name) for name in ("brand", "category", "description")}
        for n, item in enumerate(variants)
    ]
    recommender.add_items(rows)
    found = recommender.recommend(HISTORY, k=10**6, among=[row["item_id"] for row in rows])
    recommender.remove_items([row["item_id"] for row in rows])
    scores = {item_id: score for item_id, score, _ in found}
    return np.array([scores[row["item_id"]] for row in rows])


def test_words_that_matter_are_those_whose_removal_changes_the_score(recommender):
    """Of ten items, against as many words drawn at random."""
    rng = np.random.default_rng(0)
    of_top, of_random = [], []
    for item in recommender.items[20:120:10]:
        words = recommender.explain(HISTORY, item.item_id).words
        strongest = [word.casefold() for word, _ in sorted(words, key=lambda pair: -abs(pair[1]))]
        positive = [word.casefold() for word, _ in words[:3]]
        drawn = [set(rng.choice(strongest, 3, replace=False)) for _ in range(6)]
        record = item.as_record()
        variants = [record, without_words(record, set(positive)), *(without_words(record, some) for some in drawn)]
        score, without_top, *without_some = text_scores(recommender, variants)
        of_top.append(score - without_top)
        of_random.append(np.mean(score - np.array(without_some)))
    assert np.mean(of_top) > 2 * abs(np.mean(of_random))
    assert sum(top > some for top, some in zip(of_top, of_random, strict=True)) >= 8


def test_the_share_of_a_term_is_exact(id_run):
    """Of a model that reads no text, so that TF-IDF is all."""
    recommender = Recommender.load(id_run[1])
    item = recommender.items[20]
    words = recommender.explain(HISTORY, item.item_id).words
    record = item.as_record()
    full, *without = text_scores(recommender, [record, *(without_words(record, {w.casefold()}) for w, _ in words)])
    np.testing.assert_allclose([share for _, share in words], full - np.array(without), atol=1e-5)
    assert words[0][1] > 0


def test_the_shares_of_tokens_sum_to_the_difference_from_the_masked_text(pretrained_bundle):
    recommender = Recommender.load(pretrained_bundle)
    network, text = recommender._network, "A dark novella of the sea. Paperback, Harbour Press"
    whitening = next(
        f.reader.whitening for f in recommender._catalog.channels["text"] if hasattr(f.reader, "whitening")
    )
    direction_F = np.random.default_rng(0).standard_normal(len(whitening.mean_F)).astype(np.float32)
    encoder, tokenizer = network._encoder_and_tokenizer(network._text_encoder)
    tokens_1L = encode(tokenizer, [text], 64).ids[None]
    masked_1L = np.where(np.isin(tokens_1L, [tokenizer.token_to_id(t) for t in ("[CLS]", "[SEP]")]), tokens_1L,
                         tokenizer.token_to_id("[MASK]"))  # fmt: skip
    mask_1L = np.ones(tokens_1L.shape, bool)
    score, masked = (
        (whitening(np.asarray(pool(encoder(ids, mask_1L), mask_1L, "mean"))) @ direction_F)[0]
        for ids in (tokens_1L, masked_1L)
    )
    spans = network.text_gradients(text, whitening, direction_F)
    assert len(spans) == tokens_1L.shape[1] - 2
    assert sum(share for _, _, share in spans) == pytest.approx(score - masked, rel=0.03, abs=0.01)
    assert "".join(text[start:end] for start, end, _ in spans) == text.replace(" ", "")
    item_spans = network.item_gradients(text, np.ones(recommender._catalog.vectors_ID.shape[1], np.float32))
    assert len(item_spans) > 5
    assert np.abs([share for _, _, share in item_spans]).max() > 0

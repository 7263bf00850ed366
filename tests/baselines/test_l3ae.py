"""L3AE: against its formulas with dense inverses, its invariances, and its place in the report."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from llmrec_jax.baselines import counting, l3ae
from llmrec_jax.baselines.counting import fit_ease
from llmrec_jax.baselines.standard import standard_baselines
from llmrec_jax.config import DataConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.data.texts.tfidf import tfidf
from llmrec_jax.errors import UserError

USERS, ITEMS, WIDTH = 60, 12, 4
HISTORIES = [np.array([3]), np.array([0, 4, 11]), np.array([5, 1, 2, 3, 4, 0]), np.array([], int)]


@pytest.fixture(scope="module")
def data():
    """Events, of which the last item has none, and text vectors."""
    rng = np.random.default_rng(0)
    events_NI = (rng.random((USERS, ITEMS)) < 0.4).astype(np.float64)
    events_NI[:, -1] = 0
    return events_NI, rng.normal(size=(ITEMS, WIDTH)).astype(np.float32) * [4, 2, 1, 0.5] + 3


def profiles(histories=HISTORIES):
    """The weights of the last five items, which sum to 1."""
    means_NI = np.zeros((len(histories), ITEMS))
    for row, history in enumerate(histories):
        for age, item in enumerate(history[:-6:-1]):
            means_NI[row, item] = 0.65**age
    return means_NI / np.maximum(means_NI.sum(axis=1, keepdims=True), 1e-9)


def direct(events_NI, features_IF, text_ridge, ridge, prior):
    """The weights of the paper (its equations for C and B), by dense inverses in float64."""
    centred_IF = features_IF - features_IF.mean(axis=0)
    left_IF, size_F, _ = np.linalg.svd(centred_IF, full_matrices=False)
    text_IF = left_IF * size_F**0.5
    text_IF /= np.linalg.norm(text_IF, axis=1, keepdims=True)
    text_inverse_II = np.linalg.inv(text_IF @ text_IF.T + text_ridge * np.eye(ITEMS))
    text_weights_II = -text_inverse_II / np.diag(text_inverse_II)
    np.fill_diagonal(text_weights_II, 0)
    gram_II = events_NI.T @ events_NI
    inverse_II = np.linalg.inv(gram_II + (ridge + prior) * np.eye(ITEMS))
    free_II = inverse_II @ (gram_II + prior * text_weights_II)
    weights_II = free_II - inverse_II * (np.diag(free_II) / np.diag(inverse_II))
    np.fill_diagonal(weights_II, 0)
    return weights_II


def scores(events_NI, features_IF, histories=HISTORIES):
    return l3ae.l3ae(fit_ease(csr_matrix(events_NI)), features_IF).scores(histories)


@pytest.mark.parametrize(("text_ridge", "ridge", "prior"), [(10, 100, 100), (0.5, 2, 30)])
def test_it_is_the_direct_formula(data, monkeypatch, text_ridge, ridge, prior):
    monkeypatch.setattr(counting, "RIDGE", float(ridge + prior))
    monkeypatch.setattr(l3ae, "PRIOR", float(prior))
    monkeypatch.setattr(l3ae, "TEXT_RIDGE", float(text_ridge))
    expected_NI = profiles() @ direct(*data, text_ridge, ridge, prior)
    got_NI = scores(*data)
    assert got_NI.dtype == np.float32
    assert np.abs(expected_NI[:3]).max(axis=1).min() > 1e-3
    np.testing.assert_allclose(got_NI, expected_NI, atol=1e-6)


def test_without_a_prior_it_is_ease(data, monkeypatch):
    monkeypatch.setattr(l3ae, "PRIOR", 0.0)
    np.testing.assert_array_equal(scores(*data), counting.ease(fit_ease(csr_matrix(data[0]))).scores(HISTORIES))


def test_the_order_of_the_items_does_not_matter(data):
    events_NI, features_IF = data
    order_I = np.random.default_rng(1).permutation(ITEMS)
    place_I = np.argsort(order_I)
    moved = scores(events_NI[:, order_I], features_IF[order_I], [place_I[history] for history in HISTORIES])
    np.testing.assert_allclose(moved, scores(*data)[:, order_I], atol=1e-6)


def test_an_item_without_events_is_scored_by_its_text(data):
    """Of all items, the one with the same text predicts it best, and it predicts that one best."""
    events_NI, features_IF = data
    features_IF = features_IF.copy()
    features_IF[-1] = features_IF[3]
    each = [np.array([item]) for item in range(ITEMS)]
    weights_II = scores(events_NI, features_IF, each)
    assert np.argmax(weights_II[:, -1]) == np.argmax(weights_II[-1]) == 3
    assert not counting.ease(fit_ease(csr_matrix(events_NI))).scores(each)[:, -1].any()


def test_equal_texts_are_refused(data):
    with pytest.raises(UserError, match="all items have the same text vector"):
        scores(data[0], np.ones((ITEMS, 3)))


def test_sparse_vectors_are_read_by_their_principal_components(data):
    """With few terms these are all components."""
    terms_IV = np.random.default_rng(2).random((ITEMS, 6)) * (np.random.default_rng(3).random((ITEMS, 6)) < 0.6)
    terms_IV /= np.linalg.norm(terms_IV, axis=1, keepdims=True)
    np.testing.assert_allclose(scores(data[0], csr_matrix(terms_IV)), scores(data[0], terms_IV), atol=1e-5)


def test_it_shares_the_weights_of_ease_and_is_refused_where_ease_is_not_made(monkeypatch):
    corpus = load_corpus(DataConfig(sources=(), target="demo:books"), 16, seed=0)
    fits = []
    monkeypatch.setattr(counting, "fit_ease", lambda events: fits.append(1) or fit_ease(events))
    vectors = tfidf(corpus.domains[0].texts)
    baselines = standard_baselines(corpus, 0, lambda: vectors)
    histories = [np.array([3, 8])]
    assert not np.array_equal(baselines["ease"]("test").scores(histories), baselines["l3ae"]("test").scores(histories))
    assert len(fits) == 1
    monkeypatch.setattr(counting, "LARGEST_EASE", 449)
    with pytest.raises(UserError, match=r"EASE is fitted for at most 449 items, .*; there are 450"):
        standard_baselines(corpus, 0, lambda: vectors)["l3ae"]("test")

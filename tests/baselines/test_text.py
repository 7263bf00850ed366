"""Text k-NN: small examples computed by hand, and real data against numbers from other programs."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from llmrec_jax.baselines import sparse_text
from llmrec_jax.baselines.counting import popularity
from llmrec_jax.baselines.text import text_knn, text_knn_decayed
from llmrec_jax.config import DataConfig, MeshConfig
from llmrec_jax.data.corpus import Case, cache_folder, load_corpus
from llmrec_jax.data.texts.catalog import token_table
from llmrec_jax.data.texts.tfidf import tfidf
from llmrec_jax.data.texts.tokenizer import load_tokenizer
from llmrec_jax.evaluate.host_ranking import rank_scores
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.models import from_pretrained
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train.features import cached_features
from tests.conftest import REPO

NOBODY = np.array([], np.int32)
NO_CASE = Case(0, "test", [], np.zeros(0, np.int32), np.zeros(0, np.int64))


def scores(predictor, histories):
    users_ND = predictor.users(histories)
    assert users_ND.dtype == predictor.items_ID.dtype == np.float32
    return users_ND @ predictor.items_ID.T


def test_text_knn_is_the_cosine_with_the_last_item():
    features_IF = np.array([[2.0, 0], [0, 5], [3, 3], [0, 0]])
    got = scores(text_knn(features_IF), [np.array([1, 0]), np.array([0, 2]), np.array([3]), NOBODY])
    half = 0.5**0.5
    np.testing.assert_allclose(got, [[1, 0, half, 0], [half, half, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]], atol=1e-6)


def test_text_knn_decayed_is_the_cosine_with_the_decayed_mean_of_the_last_five_on_half_whitened_vectors():
    rng = np.random.default_rng(0)
    features_IF = rng.normal(size=(40, 6)) * [5, 3, 1, 1, 0.2, 0.1] + 4
    # The same by another way: the symmetric root of the covariance. It turns the vectors, and cosines do not see that.
    centred_IF = features_IF - features_IF.mean(axis=0)
    left_IF, size_F, _ = np.linalg.svd(centred_IF, full_matrices=False)
    vectors_IF = left_IF * size_F**0.5
    vectors_IF /= np.linalg.norm(vectors_IF, axis=1, keepdims=True)
    histories = [rng.integers(40, size=length) for length in (1, 2, 5, 9)]
    user_NF = np.array(
        [sum(0.65**age * vectors_IF[item] for age, item in enumerate(history[:-6:-1])) for history in histories]
    )
    user_NF /= np.linalg.norm(user_NF, axis=1, keepdims=True)
    predictor = text_knn_decayed(features_IF)
    np.testing.assert_allclose(scores(predictor, histories), user_NF @ vectors_IF.T, atol=1e-5)
    np.testing.assert_array_equal(scores(predictor, [NOBODY]), 0)


@pytest.mark.parametrize("make", [text_knn, text_knn_decayed])
@pytest.mark.parametrize("features_IF", [np.ones((9, 3)), np.ones((1, 3))], ids=["constant", "one item"])
def test_vectors_that_tell_no_item_from_another_are_refused(make, features_IF):
    with pytest.raises(ValueError, match="all items have the same text vector"):
        make(features_IF)
    with pytest.raises(ValueError, match="all items have the same text vector"):
        make(csr_matrix(features_IF))


@pytest.fixture(scope="module")
def sparse_IV():
    """TF-IDF vectors of 120 texts, some of them equal; fewer terms than components."""
    rng = np.random.default_rng(0)
    texts = [" ".join(f"w{word}" for word in rng.zipf(1.4, 12) % 50) for _ in range(100)]
    return tfidf([*texts, *texts[:20]])


def sparse_scores(predictor, histories):
    return predictor.scores(histories)


@pytest.mark.parametrize("make", [text_knn, text_knn_decayed])
def test_sparse_vectors_score_as_dense_ones(make, sparse_IV):
    """Where all components are kept, to the scale of a user."""
    rng = np.random.default_rng(1)
    histories = [rng.integers(120, size=length) for length in (1, 2, 5, 9)]
    found = sparse_scores(make(sparse_IV), [*histories, NOBODY])
    assert not found[-1].any()
    expected = scores(make(sparse_IV.toarray()), histories)
    scale_N1 = np.linalg.norm(found[:-1], axis=1, keepdims=True) / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found[:-1], expected * scale_N1, atol=1e-4)


def test_components_after_the_first_share_one_scale(sparse_IV, monkeypatch):
    monkeypatch.setattr(sparse_text, "COMPONENTS", 5)
    centred_IV = sparse_IV.toarray() - sparse_IV.toarray().mean(axis=0)
    left_II, size_I, _ = np.linalg.svd(centred_IV, full_matrices=False)
    vectors_II = left_II * size_I / np.maximum(size_I, size_I[4]) ** 0.5
    vectors_II /= np.linalg.norm(vectors_II, axis=1, keepdims=True)
    predictor = sparse_text.text_knn_decayed(sparse_IV)
    found = sparse_scores(predictor, [np.array([item]) for item in range(120)])
    np.testing.assert_allclose(found, vectors_II @ vectors_II.T, atol=1e-3)


def test_equal_texts_tie(sparse_IV):
    histories = [np.array([user % 50 + 20, 5]) for user in range(40)]
    target_N = np.arange(40) % 20  # the first twenty texts come twice
    ranks = rank_scores(sparse_text.text_knn_decayed(sparse_IV), histories, target_N)
    assert (ranks.ties_N >= 1).sum() >= 38  # but where the twin was seen


@pytest.mark.parametrize("predictor", [popularity(np.arange(9)), text_knn(np.eye(9)), text_knn_decayed(np.eye(9))])
def test_nobody_to_rank_for(predictor):
    ranks = rank_case(predictor, NO_CASE, mesh=make_mesh(MeshConfig(data=2)), batch_size=64)
    assert len(ranks.rank_N) == 0
    assert np.isnan(metrics(ranks.rank_N)["recall@10"])


def test_on_real_data_as_measured_with_other_programs(shared_data, minilm):
    """Against torch, transformers and NumPy, which were given the items' fields and the users' sequences of items."""
    config = DataConfig(
        root=str(shared_data), sources=(), target="gift_cards", cache_dir=str(REPO / ".cache" / "llmrec_jax")
    )
    corpus = load_corpus(config, batch_size=64, seed=0)
    table = token_table(corpus.joint.texts, load_tokenizer(minilm), 64, config.cache_dir)
    vectors_IF = cached_features(from_pretrained(minilm), table, "mean", cache_folder(config, "features"))
    measured = {"popularity": (107, 0.119204), "text_knn": (103, 0.116650), "text_knn_decayed": (119, 0.131268)}
    predictors = popularity(corpus.train_counts(0)), text_knn(vectors_IF), text_knn_decayed(vectors_IF)
    assert [predictor.name for predictor in predictors] == list(measured)
    for predictor, (hits, ndcg) in zip(predictors, measured.values(), strict=True):
        ranks = rank_case(predictor, corpus.case(0, "test"), mesh=make_mesh(MeshConfig(data=1)), batch_size=1024)
        row = metrics(ranks.rank_N)
        assert len(ranks.rank_N) == 458
        assert row["recall@10"] == pytest.approx(hits / 458, abs=1 / 458)  # one user may stand at the cutoff
        assert row["ndcg@10"] == pytest.approx(ndcg, rel=0.005)

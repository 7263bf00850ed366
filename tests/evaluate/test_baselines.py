"""The baselines: on examples small enough to work out by hand, and on real data against numbers made elsewhere."""

import numpy as np
import pytest

from llmrec_jax.config import DataConfig, MeshConfig
from llmrec_jax.data.corpus import Case, cache_folder, load_corpus
from llmrec_jax.data.texts.catalog import token_table
from llmrec_jax.data.texts.tokenizer import load_tokenizer
from llmrec_jax.evaluate.baselines import popularity, text_knn, text_knn_decayed
from llmrec_jax.evaluate.report import evaluate_predictor
from llmrec_jax.models import from_pretrained
from llmrec_jax.parallel import make_mesh
from llmrec_jax.train.features import cached_features
from tests.conftest import REPO

NOBODY = np.array([], np.int32)
NO_CASE = Case(0, "test", [], np.zeros(0, np.int32))


def scores(predictor, histories):
    users_ND = predictor.users(histories)
    assert users_ND.dtype == predictor.items_ID.dtype == np.float32
    return users_ND @ predictor.items_ID.T


def test_popularity_scores_everybody_by_the_counts():
    got = scores(popularity(np.array([3, 0, 7])), [np.array([0, 2]), NOBODY])
    np.testing.assert_array_equal(got, [[3, 0, 7], [3, 0, 7]])


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


@pytest.mark.parametrize("predictor", [popularity(np.arange(9)), text_knn(np.eye(9)), text_knn_decayed(np.eye(9))])
def test_nobody_to_rank_for(predictor):
    row = evaluate_predictor(predictor, NO_CASE, "shop", mesh=make_mesh(MeshConfig(data=2)), batch_size=64)
    assert row["users"] == 0
    assert row["method"] == predictor.name
    assert np.isnan(row["recall@10"])


@pytest.mark.slow
def test_on_real_data_as_measured_with_other_programs(shared_data, minilm):
    config = DataConfig(
        root=str(shared_data), sources=(), target="scientific", cache_dir=str(REPO / ".cache" / "llmrec_jax")
    )
    corpus = load_corpus(config, batch_size=64, seed=0)
    table = token_table(corpus.joint.texts, load_tokenizer(minilm), 64, config.cache_dir)
    vectors_IF = cached_features(from_pretrained(minilm), table, "mean", cache_folder(config, "features"))
    measured = {"text_knn": (0.1037, 0.0689), "text_knn_decayed": (0.1177, 0.0763)}
    rows = {
        predictor.name: evaluate_predictor(
            predictor, corpus.case(0, "test"), "scientific", mesh=make_mesh(MeshConfig(data=1)), batch_size=1024
        )
        for predictor in (popularity(corpus.train_counts(0)), text_knn(vectors_IF), text_knn_decayed(vectors_IF))
    }
    for name, (recall, ndcg) in measured.items():
        assert rows[name]["users"] == 8440
        assert rows[name]["recall@10"] == pytest.approx(recall, rel=0.02)
        assert rows[name]["ndcg@10"] == pytest.approx(ndcg, rel=0.02)
    assert rows["popularity"]["ndcg@10"] < rows["text_knn"]["ndcg@10"]

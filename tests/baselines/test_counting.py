"""Popularity, item k-NN and EASE: against slow formulas, and on real data against numbers from other programs."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from llmrec_jax.baselines import counting
from llmrec_jax.baselines.counting import ease, fit_ease, item_knn, popularity, sparse_ease
from llmrec_jax.baselines.standard import standard_baselines
from llmrec_jax.config import DataConfig, MeshConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate.ranking import metrics
from llmrec_jax.evaluate.report import rank_case
from llmrec_jax.parallel import make_mesh

HISTORIES = [np.array([3]), np.array([0, 4]), np.array([5, 1, 2, 3, 4, 0]), np.array([], int)]
WEIGHTS = [{3: 1.0}, {4: 1.0, 0: 0.65}, {0: 1.0, 4: 0.65, 3: 0.65**2, 2: 0.65**3, 1: 0.65**4}, {}]


@pytest.fixture(scope="module")
def events_NI():
    """40 users, 7 items; nobody has the last item."""
    events = np.random.default_rng(0).random((40, 7)) < 0.4
    events[:, 6] = False
    return events.astype(np.float64)


def weighted(similarity_II):
    """Scores of `HISTORIES`: similarities to the last five items, weighted by 0.65^age."""
    rows = [
        sum((w * similarity_II[i] for i, w in own.items()), np.zeros(7)) / (sum(own.values()) or 1) for own in WEIGHTS
    ]
    return np.array(rows)


def test_popularity_scores_everybody_by_the_counts():
    predictor = popularity(np.array([3, 0, 7]))
    users_ND = predictor.users(HISTORIES)
    assert users_ND.dtype == predictor.items_ID.dtype == np.float32
    np.testing.assert_array_equal(users_ND @ predictor.items_ID.T, [[3, 0, 7]] * 4)


def test_item_knn_is_the_shrunk_co_occurrence(events_NI):
    weight_N = 1 / np.sqrt(np.maximum(events_NI.sum(axis=1), 1))
    similarity_II = np.zeros((7, 7))
    for i in range(7):
        for j in set(range(7)) - {i}:
            together = (events_NI[:, i] * events_NI[:, j] * weight_N).sum()
            mass = [(events_NI[:, item] * weight_N).sum() for item in (i, j)]
            similarity_II[i, j] = together / (np.sqrt(mass[0] * mass[1]) + 1)
    np.testing.assert_allclose(item_knn(csr_matrix(events_NI)).scores(HISTORIES), weighted(similarity_II), atol=1e-12)


def test_ease_is_the_best_linear_model_with_a_zero_diagonal(events_NI):
    """Column j: ridge regression of item j on all other items."""
    similarity_II = np.zeros((7, 7))
    for j in range(7):
        others = [i for i in range(7) if i != j]
        x_NI = events_NI[:, others]
        similarity_II[others, j] = np.linalg.solve(x_NI.T @ x_NI + 200 * np.eye(6), x_NI.T @ events_NI[:, j])
    fitted = fit_ease(csr_matrix(events_NI))
    np.testing.assert_allclose(ease(fitted).scores(HISTORIES), weighted(similarity_II), atol=1e-6)


@pytest.mark.parametrize("make", [item_knn, fit_ease, sparse_ease])
@pytest.mark.parametrize("events", [np.zeros((3, 4)), np.eye(4)], ids=["no events", "one each"])
def test_items_that_never_occur_together_are_refused(make, events):
    with pytest.raises(UserError, match="no user has two training events"):
        make(csr_matrix(events))


def test_sparse_ease_is_ease_with_weights_between_near_items_only(events_NI, monkeypatch):
    everything = csr_matrix(events_NI)
    exact_NI = ease(fit_ease(everything)).scores(HISTORIES)
    np.testing.assert_allclose(sparse_ease(everything).scores(HISTORIES), exact_NI, atol=1e-6)
    monkeypatch.setattr("llmrec_jax.baselines.sparse_ease.NEIGHBOURS", 2)
    gram_II = events_NI.T @ events_NI
    similarity_II = np.zeros((7, 7))
    for j in range(6):
        cosine_I = gram_II[j, :6] / np.sqrt(np.diag(gram_II)[:6])
        near = [i for i in np.argsort(-cosine_I) if i != j][:2]
        x_NI = events_NI[:, near]
        similarity_II[near, j] = np.linalg.solve(x_NI.T @ x_NI + 200 * np.eye(2), x_NI.T @ events_NI[:, j])
    np.testing.assert_allclose(sparse_ease(everything).scores(HISTORIES), weighted(similarity_II), atol=1e-7)


def test_reports_of_large_catalogues_have_sparse_ease(monkeypatch):
    corpus = load_corpus(DataConfig(sources=(), target="demo:books"), 16, seed=0)
    assert "ease" in standard_baselines(corpus, 0, lambda: None)
    monkeypatch.setattr(counting, "LARGEST_EASE", 449)
    large = standard_baselines(corpus, 0, lambda: None)
    assert list(large) == ["popularity", "text_knn", "text_knn_decayed", "item_knn", "sparse_ease", "l3ae"]
    assert large["sparse_ease"]("test").name == "sparse_ease"


def test_the_matrix_holds_the_training_events_of_the_users_that_a_run_may_see():
    full, few = (
        load_corpus(DataConfig(sources=("demo:films",), target="demo:books", target_fraction=fraction), 16, seed=0)
        for fraction in (1.0, 0.1)
    )
    matrix_NI = full.train_matrix(1)
    np.testing.assert_array_equal(np.asarray(matrix_NI.sum(axis=0)).ravel(), full.train_counts(1))
    assert matrix_NI.data.tolist() == [1] * matrix_NI.nnz
    case = full.case(1, "test")
    assert not any(matrix_NI[user, item] for user, item in zip(case.users_N, case.target_N, strict=True))
    seen_N = np.diff(few.train_matrix(1).indptr) > 0
    np.testing.assert_array_equal(seen_N, few.protocol.kept & (few.splits[1].train_end > few.splits[1].offsets[:-1]))


@pytest.mark.slow
def test_on_real_data_as_measured_with_other_programs(shared_data, tmp_path):
    config = DataConfig(root=str(shared_data), sources=(), target="scientific", cache_dir=str(tmp_path))
    corpus = load_corpus(config, batch_size=64, seed=0)
    measured = {item_knn: (0.1122, 0.0837), lambda events_NI: ease(fit_ease(events_NI)): (0.1261, 0.0899)}
    for make, (recall, ndcg) in measured.items():
        predictor = make(corpus.train_matrix(0))
        mesh = make_mesh(MeshConfig(data=1))
        row = metrics(rank_case(predictor, corpus.case(0, "test"), mesh=mesh, batch_size=1024).rank_N)
        assert (row["recall@10"], row["ndcg@10"]) == (pytest.approx(recall, abs=2e-4), pytest.approx(ndcg, abs=2e-4))

"""`evaluate`: a recommender of one's own, ranked and judged like the model of a run."""

import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.data.domains.domain import load_domain
from llmrec_jax.errors import UserError
from llmrec_jax.evaluate import evaluate


def test_a_function_that_scores_by_popularity_gets_the_ranks_of_popularity():
    counts_I = load_corpus(DataConfig(sources=(), target="demo:books"), 1, seed=0).train_counts(0)
    found = evaluate(lambda histories: np.tile(counts_I, (len(histories), 1)), "demo:books")
    np.testing.assert_array_equal(found.ranks["own"], found.ranks["popularity"])
    assert list(found.ranks) == ["popularity", "text_knn", "text_knn_decayed", "item_knn", "ease", "l3ae", "own"]
    assert found.verdict.numbers["decision"] == "below"
    assert len(found.users["user_ids"]) == 1200
    assert not found.left_out


def test_a_matrix_has_a_row_for_each_user_of_the_domain():
    corpus = load_corpus(DataConfig(sources=(), target="demo:books"), 1, seed=0)
    users = len(corpus.domains[0].user_ids)
    scores_NI = np.random.default_rng(0).random((users, 450))
    case, best = corpus.case(0, "test"), corpus.case(0, "test").users_N[7]
    scores_NI[best, case.target_N[7]] = 2
    ranks_N = evaluate(scores_NI, "demo:books").ranks["own"]
    assert ranks_N[7] == 1
    assert abs(np.median(ranks_N) - 222) < 30
    with pytest.raises(UserError, match=rf"^scores of shape \(3, 450\); expected \({users}, 450\): users and items"):
        evaluate(scores_NI[:3], "demo:books")


def test_who_knows_the_answer_is_better_than_every_baseline():
    domain = load_domain("demo:books", DataConfig())
    users = {tuple(domain.history(user)[:-1]): domain.history(user)[-1] for user in range(len(domain.user_ids))}

    def scores(histories):
        answers = [users.get(tuple(history), 0) for history in histories]
        return np.arange(len(domain.item_ids)) == np.array(answers)[:, None]

    found = evaluate(scores, "demo:books")
    assert (found.ranks["own"] == 1).all()
    assert found.verdict.numbers["decision"] == "better"


def test_scores_of_another_shape_are_refused():
    with pytest.raises(
        UserError, match=r"^own: scores of shape \(1200, 3\) for 1200 histories and 450 items; expected"
    ):
        evaluate(lambda histories: np.zeros((len(histories), 3)), "demo:books")

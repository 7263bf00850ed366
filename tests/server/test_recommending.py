"""Requests with the same options are computed by one call; one that is wrong does not fail others."""

import pytest

from llmrec_jax.errors import UserError
from llmrec_jax.server import Limits
from llmrec_jax.server.bundles import Served
from llmrec_jax.server.recommending import Job, compute
from llmrec_jax.server.requests import Range, Recommend

HISTORIES = [["book-0003", "book-0010"], ["book-0020"], [], ["nowhere", "book-0007"]]


@pytest.fixture(scope="module")
def served(bundle):
    return Served("shop", bundle, Limits(batch=1))


@pytest.fixture
def sizes(served, monkeypatch):
    """The number of histories of each call of `recommend_many`."""
    found, answer = [], served.recommender.recommend_many
    monkeypatch.setattr(
        served.recommender, "recommend_many", lambda h, *a, **k: found.append(len(h)) or answer(h, *a, **k)
    )
    return found


def listed(answer):
    return [(item.item_id, pytest.approx(item.score, abs=1e-5)) for item in answer.items]


def test_a_batch_has_the_answers_of_its_requests(served, sizes):
    asked = [Recommend(history, k=2 + n) for n, history in enumerate(HISTORIES)]
    asked += [Recommend(HISTORIES[0], seen=True), Recommend(HISTORIES[1], diversity=0.5, k=3),
              Recommend(HISTORIES[0], diversity=0.5, k=4)]  # fmt: skip
    together = compute([Job(served, one) for one in asked])
    assert sorted(sizes) == [1, 1, 1, 4]
    for answer, one in zip(together, asked, strict=True):
        [alone] = compute([Job(served, one)])
        assert len(answer.items) == one.k
        assert [(item.item_id, item.score) for item in alone.items] == listed(answer)
    assert [answer.unknown for answer in together[:4]] == [[], [], [], ["nowhere"]]
    assert [answer.fallback for answer in together[:4]] == [False, False, True, False]


def test_a_request_that_is_wrong_fails_alone(served):
    wrong = Recommend(HISTORIES[0], where={"price": Range(min=3, max=1)})
    found = compute([Job(served, Recommend(HISTORIES[0])), Job(served, wrong)])
    assert len(found[0].items) == 10
    assert isinstance(found[1], UserError)


def test_a_batch_that_fails_is_computed_one_by_one(served, monkeypatch):
    answer = served.recommender.recommend_many

    def fails_for_one(histories, *arguments, **options):
        if HISTORIES[1] in histories:
            raise UserError("this one")
        return answer(histories, *arguments, **options)

    monkeypatch.setattr(served.recommender, "recommend_many", fails_for_one)
    found = compute([Job(served, Recommend(history)) for history in HISTORIES])
    assert [isinstance(one, UserError) for one in found] == [False, True, False, False]

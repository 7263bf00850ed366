"""Lists of shown items: only clicks are events, where a list stands in a history, what a batch and the metrics see."""

import numpy as np
import pytest

from llmrec_jax.config import DataConfig
from llmrec_jax.data.domains.domain import load_domain
from llmrec_jax.data.domains.impressions import of_domain
from llmrec_jax.data.domains.split import split
from llmrec_jax.errors import UserError
from tests.data.shops import folder_of, problems

ITEMS = [f'{{"item_id": "{name}", "title": "{name}"}}'.encode() for name in "abcdef"]
HEADER = b"user_id,item_id,timestamp,action,impression_id"
ROWS = [
    *(b"u,a,1,click,", b"u,b,2,click,1", b"u,c,2,impression,1", b"u,c,3,,", b"u,d,4,view,2", b"u,e,4,Click,2"),
    *(b"u,f,4,view,2", b"u,f,4,click,2", b"u,d,5,,"),
    *(b"v,a,1,impression,3", b"v,b,1,impression,3"),  # clicked nothing, so that v has no event
    *(b"w,a,2,,", b"w,b,3,click,4"),  # a list of one item says nothing
]


def domain_of(tmp_path, header=HEADER, rows=ROWS, **settings):
    shop = folder_of(tmp_path / "shop", ITEMS, [header, *rows], **settings)
    return load_domain(str(shop), DataConfig(cache_dir=str(tmp_path / "cache")))


@pytest.mark.parametrize("order", ["timestamp", "sequence"])
def test_lists_stand_between_the_clicks(tmp_path, order):
    domain = domain_of(tmp_path, order=order)
    names = {user: [domain.item_ids[item] for item in domain.history(n)] for n, user in enumerate(domain.user_ids)}
    assert {user: sorted(items) for user, items in names.items()} == {"u": list("abcdef"), "w": ["a", "b"]}
    found = of_domain(domain)
    lists = [
        {domain.item_ids[item]: bool(clicked) for item, clicked in zip(found.items_A[start:end],
                                                                      found.clicked_A[start:end], strict=True)}
        for start, end in zip(found.offsets[:-1], found.offsets[1:], strict=True)
    ]  # fmt: skip
    assert lists == [{"b": True, "c": False}, {"d": False, "e": True, "f": True}, {"b": True}]
    assert found.place_Q.tolist() == [1, 3, 1]  # after a; after a, b, c; after w's a
    assert found.judged().tolist() == [True, True, False]
    one_out = split(domain, "leave_one_out", 0)
    assert found.training(one_out, np.ones(2, bool)).tolist() == [0, 1]
    assert found.training(one_out, np.array([False, True])).tolist() == []
    assert found.held_out(one_out, "test").tolist() == []
    late = one_out._replace(train_end=one_out.offsets[:-1] + 2, valid=np.array([3, -1]), test=np.array([4, -1]))
    assert found.training(late, np.ones(2, bool)).tolist() == [0]
    assert found.held_out(late, "valid").tolist() == [1]


def test_a_file_without_both_columns_is_read_as_before(tmp_path):
    rows = [b"u,a,1,view", b"u,b,2,click"]
    domain = domain_of(tmp_path, b"user_id,item_id,timestamp,action", rows)
    assert len(domain.items_E) == 2
    assert of_domain(domain) is None
    assert "interactions.csv: columns that are not read: action" in "\n".join(domain.report["notes"])


def test_what_an_action_may_be(tmp_path):
    rows = [HEADER, b"u,a,1,buy,1", b"u,a,1,view,", b"u,a,1,,1", b"u,a,1,,"]
    reasons = [record.reason for record in problems(folder_of(tmp_path / "shop", ITEMS, rows))]
    allowed = "is not one of click, impression, view"
    assert reasons == [f"action 'buy' {allowed}", "action is view, but impression_id is empty", f"action '' {allowed}"]
    with pytest.raises(UserError, match=r"no interaction: no row of interactions\.csv is a click"):
        domain_of(tmp_path, rows=[b"u,a,1,view,1", b"u,b,1,impression,1"])

"""A bundle that changes on disk is loaded again, without a failed request and with the items added since."""

import shutil
import threading

import pytest
from starlette.testclient import TestClient

from llmrec_jax import Recommender
from llmrec_jax.errors import UserError
from llmrec_jax.inference import writing
from llmrec_jax.server import Limits, app, create_app
from llmrec_jax.server.bundles import Bundles, Served
from llmrec_jax.server.errors import ApiError
from tests.inference.untrained import run_and_bundle

HISTORY = ["book-0003", "book-0010"]
NEW = {"item_id": "new", "title": "Quantum gardening"}


def without_model(folder):
    """Replace a bundle by one whose answer does not use the trained model."""
    writing.copy(folder, folder, writing.with_weights({"model": 0.0}))


def scores(served):
    return [(row.item_id, row.score) for row in served.recommender.recommend(HISTORY, 5)]


def test_a_changed_bundle_is_loaded_with_the_items_that_were_added_and_removed(own_bundle):
    served = Served("shop", own_bundle, Limits(batch=1))
    served.add([NEW])
    served.remove(["book-0007", "book-0008"])
    served.add([NEW | {"item_id": "book-0008"}])
    served.remove(["book-0008"])
    before = scores(served)
    assert served.reload_if_changed() is None
    without_model(own_bundle)
    assert served.reload_if_changed() is None  # it may still be being written
    assert served.reload_if_changed() == "ok"
    assert served.reload_if_changed() is None
    assert scores(served) != before
    assert served.facts.weights["model"] == 0
    assert served.recommender.item("new").title == NEW["title"]
    offered = {item.item_id for item in served.recommender.items}
    assert "new" in offered
    assert not offered & {"book-0007", "book-0008"}


def test_a_damaged_bundle_leaves_the_loaded_one(own_bundle, caplog):
    served = Served("shop", own_bundle, Limits(batch=1))
    before = scores(served)
    (own_bundle / "items.jsonl").write_text("{")
    assert [served.reload_if_changed() for _ in range(3)] == [None, "failed", None]
    assert "items.jsonl" in caplog.text
    assert scores(served) == before
    assert served.recommender.search("a winter", 1)  # its encoder was loaded before
    shutil.rmtree(own_bundle)
    assert served.reload_if_changed() is None
    assert scores(served) == before


def test_no_request_fails_while_a_bundle_is_replaced(own_bundle, monkeypatch):
    monkeypatch.setattr(app, "LOOK_EVERY", 0.02)
    failed, answers, stop = [], set(), threading.Event()
    with TestClient(create_app({"shop": own_bundle}, Limits(batch=1))) as client:

        def ask():
            while not stop.is_set():
                found = client.post("/v1/recommend", json={"history": HISTORY, "k": 1, "explain": True})
                if found.status_code == 200:
                    answers.add("model" in found.json()["items"][0]["parts"])
                else:
                    failed.append(found.text)

        thread = threading.Thread(target=ask)
        thread.start()
        without_model(own_bundle)
        for _ in range(500):
            if answers == {True, False}:
                break
            stop.wait(0.05)
        stop.set()
        thread.join()
        assert 'llmrec_reloads_total{bundle="shop",outcome="ok"} 1.0' in client.get("/metrics").text
    assert failed == []
    assert answers == {True, False}


def test_several_bundles(bundle, own_bundle):
    without_model(own_bundle)
    bundles = Bundles({"one": bundle, "two": own_bundle}, Limits(batch=1))
    assert bundles.get(None) is bundles.get("one")
    bundles.get("two").add([NEW])
    assert bundles.num_items()["two"] == bundles.num_items()["one"] + 1
    assert scores(bundles.get("two")) != scores(bundles.get("one"))
    with pytest.raises(ApiError, match="there are one, two"):
        bundles.get("three")


def test_as_many_items_are_added_as_the_limit_allows(own_bundle):
    served = Served("shop", own_bundle, Limits(batch=1, added_items=1))
    served.add([NEW])
    with pytest.raises(ApiError, match="at most 1"):
        served.add([{"item_id": "newer", "title": "Another"}])
    served.remove(["new"])
    with pytest.raises(ApiError, match="at most 1"):
        served.add([{"item_id": "newer", "title": "Another"}])


def test_what_is_not_a_bundle_is_refused(tmp_path):
    with pytest.raises(UserError, match="no bundle"):
        create_app({})
    with pytest.raises(UserError, match="no such folder"):
        create_app({"shop": tmp_path / "nowhere"})


@pytest.mark.slow
def test_a_model_of_ids_is_served(tmp_path):
    _, folder = run_and_bundle(tmp_path, "id", "dann")
    served = Served("shop", folder, Limits(batch=1))
    assert scores(served) == [(row.item_id, row.score) for row in Recommender.load(folder).recommend(HISTORY, 5)]

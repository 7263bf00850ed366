"""Each route gives what the `Recommender` gives; what is wrong with a request is said with its field."""

import pytest
from starlette.testclient import TestClient

from llmrec_jax import Recommender
from llmrec_jax.inference import parts
from llmrec_jax.server import create_app

HISTORY = ["book-0003", "book-0010", "book-0011"]


@pytest.fixture(scope="module")
def recommender(bundle):
    return Recommender.load(bundle)


def refused(response, status, field, words=""):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "field"}
    assert error["field"] == field
    assert words in error["message"]


def pairs(response):
    assert response.status_code == 200, response.text
    return [(item["item_id"], pytest.approx(item["score"], abs=1e-5)) for item in response.json()["items"]]


def test_recommend(client, recommender):
    response = client.post("/v1/recommend", json={"history": HISTORY, "k": 5, "explain": True})
    expected = recommender.recommend(HISTORY, 5, explain=True)
    assert [(item_id, score) for item_id, score, _ in expected] == pairs(response)
    first, item = response.json()["items"][0], recommender.item(expected[0].item_id)
    assert (first["title"], first["category"], first["brand"]) == (item.title, item.category, item.brand)
    assert first["is_new"] is False
    assert first["parts"] == pytest.approx(expected.parts[0], abs=1e-5)
    assert (response.json()["unknown"], response.json()["fallback"]) == ([], False)
    assert response.json()["milliseconds"] > 0


def test_the_options_of_recommend(client, recommender):
    options = {"disliked": ["book-0020"], "seen": True, "among": [*HISTORY, "book-0007", "book-0008"], "diversity": 0.5}
    response = client.post("/v1/recommend", json={"history": HISTORY, "k": 4, **options})
    expected = recommender.recommend(HISTORY, 4, **options)
    assert [(item_id, score) for item_id, score, _ in expected] == pairs(response)
    response = client.post("/v1/recommend", json={"history": HISTORY, "where": {"category": ["clothbound", "?"]}})
    assert len(response.json()["items"]) == 10
    assert all(item["category"].startswith("Clothbound") for item in response.json()["items"])
    shop = recommender.shops[0]
    response = client.post("/v1/recommend", json={"history": HISTORY, "shop": shop, "k": 3})
    assert [(row.item_id, row.score) for row in recommender.recommend(HISTORY, 3, shop=shop)] == pairs(response)


def test_probabilities(client, recommender):
    asked = {"history": HISTORY, "k": 5, "probabilities": True}
    items = client.post("/v1/recommend", json=asked).json()["items"]
    assert [item["probability"] for item in items] == pytest.approx(recommender.recommend(HISTORY, 5).probabilities)
    assert "probability" not in client.post("/v1/recommend", json={"history": HISTORY}).json()["items"][0]
    of_film = client.post("/v1/recommend", json=asked | {"history": ["film-0003"]}).json()["items"]
    assert [item["probability"] for item in of_film] == [None] * 5
    for other in ({"disliked": ["book-0007"]}, {"shop": recommender.shops[0]}):
        refused(client.post("/v1/recommend", json=asked | other), 422, "probabilities", "leave out disliked and shop")
    assert client.post("/v1/recommend", json=asked | {"shop": recommender.target}).status_code == 200
    assert client.get("/v1/info").json()["bundles"]["shop"]["probabilities"] is True


def test_a_bundle_without_calibration_refuses_probabilities(own_bundle):
    parts.write(own_bundle, parts.load(own_bundle)._replace(calibration=None))
    with TestClient(create_app({"shop": own_bundle})) as client:
        asked = {"history": HISTORY, "probabilities": True}
        refused(client.post("/v1/recommend", json=asked), 422, "probabilities", "this bundle is not calibrated")
        assert client.get("/v1/info").json()["bundles"]["shop"]["probabilities"] is False


def test_unknown_ids_are_told_and_left_out(client):
    response = client.post("/v1/recommend", json={"history": ["nowhere", *HISTORY], "disliked": ["neither"]}).json()
    assert (response["unknown"], response["fallback"]) == (["nowhere", "neither"], False)
    assert client.post("/v1/recommend", json={"history": ["nowhere"]}).json()["fallback"]


def test_search(client, recommender):
    title = recommender.item("book-0003").title
    response = client.post("/v1/search", json={"query": title, "k": 3})
    assert [(item_id, score) for item_id, score, _ in recommender.search(title, 3)] == pairs(response)


@pytest.mark.parametrize("by", ["text", "purchase", "model"])
def test_similar(client, recommender, by):
    response = client.get(f"/v1/similar/book-0003?by={by}&k=4")
    assert [(item_id, score) for item_id, score, _ in recommender.similar("book-0003", 4, by=by)] == pairs(response)


def test_explain(client, recommender):
    response = client.post("/v1/explain", json={"history": ["nowhere", *HISTORY], "item_id": "book-0007"}).json()
    expected = recommender.explain(HISTORY, "book-0007")
    assert response["parts"] == pytest.approx(expected.parts, abs=1e-4)
    assert [(one["item_id"], one["title"]) for one in response["history"]] == [
        (item_id, recommender.item(item_id).title) for item_id, _ in expected.history
    ]
    assert [one["word"] for one in response["words"]] == [word for word, _ in expected.words]


def test_items_are_listed_in_pages(client, recommender):
    response = client.get("/v1/items?offset=10&limit=3").json()
    assert [item["item_id"] for item in response["items"]] == [item.item_id for item in recommender.items[10:13]]
    assert response["total"] == len(recommender.items)
    title = recommender.item("book-0003").title
    found = client.get("/v1/items", params={"query": title.upper()}).json()
    assert [item["item_id"] for item in found["items"]] == [
        item.item_id for item in recommender.items if title.casefold() in item.title.casefold()
    ]


def test_items_are_added_found_and_removed(client):
    new = {"item_id": "a/b?c", "title": "Quantum gardening", "brand": "Nobody", "price": 912.5}
    before = client.get("/v1/items").json()["total"]
    assert client.post("/v1/items", json={"items": [new]}).json() == {"changed": 1, "items": before + 1}
    found = client.post("/v1/recommend", json={"history": HISTORY, "where": {"price": {"min": 912, "max": 913}}}).json()
    assert [(item["item_id"], item["is_new"]) for item in found["items"]] == [("a/b?c", True)]
    assert client.get("/v1/similar/a%2Fb%3Fc?k=1").status_code == 200
    refused(client.post("/v1/items", json={"items": [new]}), 422, "items", "is taken")
    response = client.request("DELETE", "/v1/items", json={"item_ids": ["a/b?c"]})
    assert response.json() == {"changed": 1, "items": before}
    refused(client.request("DELETE", "/v1/items", json={"item_ids": ["a/b?c"]}), 422, "item_ids")


def test_the_map_has_a_point_for_each_item(client, recommender):
    found = client.get("/v1/map").json()
    assert found["item_ids"] == [item.item_id for item in recommender.items]
    assert found["xy"][5] == pytest.approx(recommender.map()[5], abs=1e-3)
    assert len(found["xy"]) == len(found["titles"]) == len(found["category"]) == len(found["item_ids"])


@pytest.mark.parametrize("path", ["/v1/embed", "/v1/embeddings"])
def test_embed_is_like_openai(client, recommender, path):
    response = client.post(path, json={"input": ["a story", "a film"], "model": "shop", "user": "me"}).json()
    assert (response["object"], response["model"]) == ("list", "shop")
    assert [(one["object"], one["index"]) for one in response["data"]] == [("embedding", 0), ("embedding", 1)]
    expected = recommender.encode(["a story", "a film"])
    assert response["data"][1]["embedding"] == pytest.approx(expected[1], abs=1e-5)
    assert len(client.post(path, json={"input": "a story"}).json()["data"]) == 1


def test_info_and_health(client, recommender):
    found = client.get("/v1/info").json()
    shop = found["bundles"]["shop"]
    assert (found["default"], shop["target"], shop["shops"]) == ("shop", recommender.target, recommender.shops)
    assert (shop["items"], shop["regime"]) == (len(recommender.items), "full")
    assert shop["parts"]["model"] == 0.7
    assert client.get("/healthz").json() == client.get("/readyz").json() == {"status": "ok"}


def test_metrics_count_by_route(client):
    client.get("/v1/similar/nothing")
    found = client.get("/metrics").text
    assert 'llmrec_requests_total{method="GET",route="/v1/similar/{item_id:path}",status="404"}' in found
    assert 'llmrec_items{bundle="shop"} 450' in found
    assert "llmrec_batch_size_count" in found
    assert "llmrec_request_seconds_bucket" in found
    assert "nothing" not in found


POST = {"headers": {"content-type": "application/json"}}


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({}, "history", "missing"),
        ({"history": "book-0003"}, "history", "array"),
        ({"history": [3]}, "history[0]", "str"),
        ({"history": HISTORY, "k": 0}, "k", ">= 1"),
        ({"history": HISTORY, "k": 1001}, "k", "at most 1,000"),
        ({"history": HISTORY, "k": 10**30}, "k", ""),
        ({"history": HISTORY, "k": 2.5}, "k", "int"),
        ({"history": HISTORY, "n": 2}, "n", "unknown"),
        ({"history": ["x"] * 10_001}, "history", "at most 10,000"),
        ({"history": ["x" * 10_001]}, "history[0]", "at most 10,000"),
        ({"history": HISTORY, "where": {"colour": "red"}}, "where", "colour"),
        ({"history": HISTORY, "where": {"brand": {"least": 1}}}, "where[...]", "least"),
        ({"history": HISTORY, "where": {"brand": True}}, "where[...]", "bool"),
        ({"history": HISTORY, "where": {"brand": ["x"] * 101}}, "where.brand", "at most 100"),
        ({"history": HISTORY, "diversity": 2}, "diversity", "<= 1"),
        ({"history": HISTORY, "shop": "no shop"}, "shop", "no shop"),
        ({"history": HISTORY, "bundle": "none"}, "bundle", "there are shop"),
    ],
)
def test_a_field_that_is_wrong_is_named(client, body, field, words):
    refused(client.post("/v1/recommend", json=body), 422, field, words)


@pytest.mark.parametrize(
    ("item", "field", "words"),
    [
        ({"item_id": "x"}, "items[1]", "items[1]: Object missing required field `title`"),
        ({"item_id": 3, "title": "x"}, "items[1].item_id", "items[1].item_id: Expected `str`, got `int`"),
        ({"item_id": "x", "title": "x", "facts": [["a"]]}, "items[1].facts[0]", "of length >= 2"),
        ({"item_id": "x", "title": "x", "tags": ["a"]}, "items[1].tags", "items[1].tags: Expected a text or a number"),
        ({"item_id": "", "title": "x"}, "items", "item 1: item_id is empty"),
    ],
)
def test_an_item_that_is_wrong_is_named(client, item, field, words):
    response = client.post("/v1/items", json={"items": [{"item_id": "first", "title": "First"}, item]})
    refused(response, 422, field, words)


def test_only_items_of_the_target_are_explained(client):
    response = client.post("/v1/explain", json={"history": [], "item_id": "film-0007"})
    refused(response, 422, "item_id", "only items of 'books' can be explained")


def test_what_is_not_json_is_refused(client):
    refused(client.post("/v1/recommend", content=b"{", **POST), 400, None, "not JSON")
    refused(client.post("/v1/recommend", content=b'{"history": ["\xff"]}', **POST), 400, None)
    refused(client.post("/v1/recommend", content=b"[" * 100_000, **POST), 422, None)
    refused(client.post("/v1/recommend", content=b'{"history": [NaN]}', **POST), 400, None)
    refused(client.post("/v1/recommend", data={"history": "x"}), 415, None, "application/json")


def test_unknown_things_are_not_found(client):
    refused(client.get("/v1/similar/nowhere"), 404, "item_id", "nowhere")
    refused(client.get("/v1/similar/" + "x" * 10_001), 422, "item_id", "at most 10,000")
    refused(client.post("/v1/explain", json={"history": [], "item_id": "nowhere"}), 404, "item_id")
    refused(client.get("/v1/nowhere"), 404, None)
    response = client.put("/v1/recommend")
    refused(response, 405, None)
    assert response.headers["allow"] == "POST"


def test_query_parameters_are_checked(client):
    refused(client.get("/v1/similar/book-0003?by=colour"), 422, "by")
    refused(client.get("/v1/items?limit=-1"), 422, "limit")
    refused(client.get("/v1/items?lmit=1"), 422, "lmit", "unknown")

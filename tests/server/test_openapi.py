"""/openapi.json says what the server does: random requests made from it are answered as it says."""

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error

from llmrec_jax.server import Limits, openapi
from llmrec_jax.server.routes import OPERATIONS

EXAMPLES = 15  # of each operation


@pytest.fixture
def schema(app, client):
    return schemathesis.openapi.from_asgi("/openapi.json", app)


def test_the_limits_are_in_the_schemas():
    document = openapi.document(Limits(k=7, ids=3, text_chars=50, items=2, texts=4), needs_key=False)
    schemas = document["components"]["schemas"]
    recommend = schemas["Recommend"]["properties"]
    assert (recommend["k"]["minimum"], recommend["k"]["maximum"]) == (1, 7)
    assert recommend["history"]["maxItems"] == 3
    assert recommend["history"]["items"]["maxLength"] == 50
    assert schemas["Search"]["properties"]["query"]["maxLength"] == 50
    assert schemas["AddItems"]["properties"]["items"] == {
        "type": "array", "maxItems": 2, "items": {"$ref": "#/components/schemas/NewItem"}
    }  # fmt: skip
    assert recommend["among"]["anyOf"][0]["maxItems"] == 3
    assert schemas["Embed"]["properties"]["input"]["anyOf"][1]["maxItems"] == 4
    parameters = {one["name"]: one["schema"] for one in document["paths"]["/v1/similar/{item_id}"]["get"]["parameters"]}
    assert parameters["k"]["maximum"] == 7
    assert parameters["by"]["enum"] == ["model", "purchase", "text"]
    assert parameters["bundle"]["type"] == "string"
    assert "securitySchemes" not in document["components"]


def test_every_operation_is_described():
    paths = openapi.document(Limits(), needs_key=True)["paths"]
    assert {(method.upper(), path) for path, methods in paths.items() for method in methods} == {
        (one.method, one.path) for one in OPERATIONS
    }
    assert all(one["summary"] for methods in paths.values() for one in methods.values())
    assert len({one["operationId"] for methods in paths.values() for one in methods.values()}) == len(OPERATIONS)


@pytest.mark.slow
def test_random_requests_are_answered_as_described(schema):
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                             suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
        @hypothesis.given(case=operation.as_strategy())
        def send(case):
            case.call_and_validate()

        send()
    assert not_a_server_error

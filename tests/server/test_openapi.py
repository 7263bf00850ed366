"""/openapi.json says what the server does: random requests made from it are answered as it says.

That each request which fits the schemas is accepted is not checked: shops, fields and ids must also exist.
"""

import os

import hypothesis
import pytest
import schemathesis
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.testclient import TestClient

from llmrec_jax.server import Limits, create_app, openapi
from llmrec_jax.server.routes import OPERATIONS

EXAMPLES = int(os.environ.get("LLMREC_FUZZ_EXAMPLES", "15"))  # of each operation


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
def test_random_requests_are_answered_as_described(bundle):
    settings = hypothesis.settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
                                   suppress_health_check=list(hypothesis.HealthCheck))  # fmt: skip
    app = create_app({"shop": bundle}, Limits(batch=1))
    with TestClient(app):
        for found in schemathesis.openapi.from_asgi("/openapi.json", app).get_all_operations():

            @settings
            @hypothesis.given(case=found.ok().as_strategy())
            def send(case):
                case.call_and_validate(excluded_checks=[positive_data_acceptance])

            send()

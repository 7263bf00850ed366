"""/openapi.json, made from the table of routes, the structs of the messages and the limits, so that it cannot drift."""

import inspect
from typing import Any

import msgspec

from llmrec_jax.server.limits import BOUND, Limits, bound
from llmrec_jax.server.requests import NewItem, Range
from llmrec_jax.server.responses import Failure
from llmrec_jax.server.routes import OPERATIONS, Operation
from llmrec_jax.version import __version__

REFERENCE = "#/components/schemas/{name}"
ALWAYS = (401, 429, 500, 503)  # statuses of every route
MEANING = {
    400: "The body is not JSON.",
    401: "The key is missing or wrong.",
    404: "The item is unknown.",
    413: "The body is too large.",
    415: "The body is not declared as JSON.",
    422: "A field is invalid or over a limit.",
    429: "Too many requests are in progress; try again later.",
    500: "An internal error.",
    503: "Starting, stopping, or too slow; try again later.",
}


def document(limits: Limits, needs_key: bool) -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    types = {kind for operation in OPERATIONS for kind in (operation.asked, operation.result) if kind is not None}
    _, schemas = msgspec.json.schema_components([*types, NewItem, Failure], ref_template=REFERENCE)
    schemas["AddItems"]["properties"]["items"]["items"] = {"$ref": REFERENCE.format(name="NewItem")}
    for kind in {operation.asked for operation in OPERATIONS if operation.asked is not None} | {NewItem, Range}:
        _bounded(schemas[kind.__name__], limits, "")
    paths: dict[str, Any] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, schemas, needs_key)
    queried = {op.asked.__name__ for op in OPERATIONS if op.method == "GET" and op.asked is not None}
    components: dict[str, Any] = {"schemas": {name: schemas[name] for name in sorted(schemas) if name not in queried}}
    if needs_key:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
    description = "Recommendations from the bundles of llmrec_jax."
    about = {"title": "llmrec_jax", "version": __version__, "description": description}
    return {"openapi": "3.1.0", "info": about, "paths": paths, "components": components}


def _operation(operation: Operation, schemas: dict[str, Any], needs_key: bool) -> dict[str, Any]:
    summary = (inspect.getdoc(operation.run) or "").partition("\n")[0]
    name = operation.path.removeprefix("/v1/").strip("/").partition("/")[0]
    statuses = sorted({*operation.failures, *ALWAYS})
    failure = {"application/json": {"schema": {"$ref": REFERENCE.format(name="Failure")}}}
    found: dict[str, Any] = {
        "operationId": f"{operation.method.lower()}_{name}",
        "summary": summary,
        "parameters": [],
        "responses": {
            "200": {"description": "The answer.", "content": _json(operation.result)},
            **{str(status): {"description": MEANING[status], "content": failure} for status in statuses},
        },
    }
    if "{item_id}" in operation.path:
        schema = {"type": "string", "minLength": 1}
        found["parameters"].append({"name": "item_id", "in": "path", "required": True, "schema": schema})
    if operation.asked is not None and operation.method == "GET":
        found["parameters"] += _parameters(schemas[operation.asked.__name__])
    elif operation.asked is not None:
        found["requestBody"] = {"required": True, "content": _json(operation.asked)}
    if needs_key and operation.path.startswith("/v1/"):
        found["security"] = [{"key": []}]
    return found


def _json(kind: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": REFERENCE.format(name=kind.__name__)}}}


def _parameters(schema: dict[str, Any]) -> list[dict[str, Any]]:
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _without_null(of)}
        for name, of in schema["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter is left out instead of null."""
    if "anyOf" not in schema:
        return schema
    kinds = [kind for kind in schema["anyOf"] if kind != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    return rest | (kinds[0] if len(kinds) == 1 else {"anyOf": kinds})


def _bounded(schema: Any, limits: Limits, field: str) -> None:
    """Add the limits to a schema. `field` is the name of the field that it describes."""
    if isinstance(schema, list):
        for one in schema:
            _bounded(one, limits, field)
    if not isinstance(schema, dict):
        return
    kind = schema.get("type")
    if kind == "string" and "enum" not in schema:
        schema.setdefault("maxLength", limits.text_chars)
    elif kind == "array" and field:
        schema.setdefault("maxItems", bound(limits, field))
    elif kind == "integer" and field in BOUND:
        schema.setdefault("maximum", bound(limits, field))
    elif kind == "object" and "properties" not in schema:
        schema.setdefault("maxProperties", bound(limits, field))
    for name, of in schema.get("properties", {}).items():
        _bounded(of, limits, name)
    for key in ("anyOf", "items", "additionalProperties"):
        _bounded(schema.get(key), limits, field)

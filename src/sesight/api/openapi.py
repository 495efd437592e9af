"""The OpenAPI document, generated from the routes, and an HTML page of it without external resources.

Litestar's document has its own errors; here every operation answers with a Problem instead.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import msgspec
from litestar import Litestar
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from sesight.api.csv_file import MEDIA_TYPE as CSV
from sesight.api.problem import MEDIA_TYPE, PROBLEMS, Problem
from sesight.api.route import router_of
from sesight.services import Services

_ABOUT = (
    "Email analytics for Amazon SES that you own. Times are ISO-8601 UTC with milliseconds. Absent "
    "values are null. Every rate has its numerator and denominator."
)
_METHODS = ("get", "post", "put", "patch", "delete")


def document(services: Services, handlers: Sequence[HTTPRouteHandler]) -> dict[str, Any]:
    """Return the OpenAPI document of the routes; it depends on nothing but code and settings."""
    config = OpenAPIConfig(
        title="Sesight",
        version=services.version,
        description=_ABOUT,
        use_handler_docstrings=True,
    )
    app = Litestar(
        router_of(services.base_path, handlers),
        openapi_config=config,
        dependencies={"services": Provide(lambda: services, sync_to_thread=False)},
        logging_config=None,
    )
    schema: dict[str, Any] = app.openapi_schema.to_schema()
    _, described = msgspec.json.schema_components(
        [Problem, *_bodies(handlers)], ref_template="#/components/schemas/{name}"
    )
    schemas = schema["components"]["schemas"]
    schemas["Problem"] = described["Problem"]
    for name, component in schemas.items():  # Litestar omits the docstrings of structs
        component["description"] = " ".join(described[name]["description"].split())
    for handler in handlers:
        kind = handler.opt.get("body", "application/json")
        if kind != "application/json":  # a raw body, for which Litestar has no schema
            for path in sorted(handler.paths):
                whole = f"{services.base_path.rstrip('/')}{path}"
                schema["paths"][whole]["post"]["requestBody"] = {
                    "content": {kind: {"schema": {"type": "string"}}},
                    "required": True,
                }
    schema["paths"] = {_camel(path): methods for path, methods in schema["paths"].items()}
    for path in schema["paths"].values():
        for method in _METHODS:
            if method in path:
                _amend(path[method])
    ordered: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(schema, order="sorted"))
    return ordered


def _bodies(handlers: Sequence[HTTPRouteHandler]) -> Iterator[Any]:
    """Yield the types of the request and response bodies, without the Response around them."""
    for handler in handlers:
        signature = handler.parsed_fn_signature
        bodies = [field for name, field in signature.parameters.items() if name == "data"]
        for field in (signature.return_type, *bodies):
            yield from [inner.annotation for inner in field.inner_types or (field,)]


def _camel(name: str) -> str:
    return re.sub(r"_(\w)", lambda match: match[1].upper(), name)


def _amend(operation: dict[str, Any]) -> None:
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter["name"] = _camel(parameter["name"])
    responses = operation["responses"]
    responses.pop("400", None)
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    responses["default"] = {
        "description": f"A problem; its `type` is one of {', '.join(PROBLEMS)}.",
        "content": problem,
    }
    for status, answered in responses.items():
        if (
            status.isdigit() and int(status) >= 400
        ):  # its own shape where there is one, else a problem
            answered["content"].update(problem)
    if any(parameter["name"] == "format" for parameter in operation.get("parameters", ())):
        responses["200"]["content"][CSV] = {"schema": {"type": "string"}}


def page(schema: dict[str, Any]) -> str:
    """Return an HTML page of all operations with their parameters, without scripts and styles."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        "<meta name=viewport content='width=device-width, initial-scale=1'>",
        "<title>Sesight API</title><main><h1>Sesight API</h1>",
        f"<p>{escape(_ABOUT)}</p><p>For machines: <a href='openapi.json'>openapi.json</a></p>",
    ]
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if method in _METHODS:
                parts += _operation(method, path, operation)
    return "".join([*parts, "</main></html>"])


def _operation(method: str, path: str, operation: dict[str, Any]) -> list[str]:
    parts = [
        f"<h2 id='{escape(operation['operationId'])}'><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{escape(operation.get('description', ''))}</p>",
    ]
    if operation.get("parameters"):
        parts.append("<table><thead><tr><th>Parameter<th>In<th>What</tr></thead><tbody>")
        parts += [
            f"<tr><td><code>{escape(parameter['name'])}</code><td>{escape(parameter['in'])}"
            f"<td>{escape(parameter.get('description') or '')}</tr>"
            for parameter in operation["parameters"]
        ]
        parts.append("</tbody></table>")
    return parts

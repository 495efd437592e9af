"""Litestar's exception handler: every exception becomes a problem (`sesight.api.problem`)."""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import QueryParameter
from litestar.utils.scope.state import ScopeState
from msgspec import DecodeError, Meta
from msgspec.json import decode

from sesight.api.problem import (
    MEDIA_TYPE,
    TYPE_BY_STATUS,
    Description,
    Problem,
    invalid_body,
    invalid_parameter,
    loggable,
    problem_of,
)
from sesight.domain.errors import InvalidParameter, SesightError
from sesight.domain.validation import find_mismatch


def request_id_of(request: Request[Any, Any, Any]) -> str:
    """Return the id that the middleware gave the request."""
    return str(request.scope.get("sesight_request_id", ""))


def handle_exception(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Return the problem of an exception."""
    headers: dict[str, str] = {}
    description: Description | None = None
    if isinstance(error, ValidationException):
        invalid = _invalid(request, error)
        description = Description("invalid-request", str(invalid), getattr(invalid, "more", {}))
    elif isinstance(error, HTTPException) and request.scope.get("sesight_disconnected"):
        description = Description("bad-request", "The request ended before it was complete.")
    elif isinstance(error, HTTPException) and error.status_code in TYPE_BY_STATUS:
        detail = f"{error.detail}: {request.method} {loggable(request.url.path)}."
        description = Description(TYPE_BY_STATUS[error.status_code], detail)
        headers |= {name.lower(): value for name, value in (error.headers or {}).items()}
    if isinstance(error, SesightError) and error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    answer = problem_of(error, request_id_of(request), request.url.path, description)
    return Response(answer, status_code=answer.status, media_type=MEDIA_TYPE, headers=headers)


def _invalid(request: Request[Any, Any, Any], error: ValidationException) -> Exception:
    """Return the first thing that Litestar found wrong as our own error, whose sentence names what is
    expected: Litestar's sentences name Python's types.
    """
    first = next((fault for fault in error.extra or () if isinstance(fault, dict)), {})
    message = str(first.get("message", error.detail)).rstrip(".")
    if "key" not in first:
        return ValueError(f"{message}.")
    key = str(first["key"])
    fields = request.route_handler.parsed_fn_signature.parameters
    if first.get("source") == "body" and "data" in fields:
        return _invalid_body(request, fields["data"].annotation) or InvalidParameter(
            key, f"{key}: {message}."
        )
    field = fields.get(key)
    parameter = field and field.kwarg_definition
    name = getattr(parameter, "name", None) or key
    if isinstance(parameter, QueryParameter) and field and name in request.query_params:
        type_ = field.annotation
        if parameter.ge is not None or parameter.le is not None:
            type_ = Annotated[int, Meta(ge=parameter.ge, le=parameter.le)]
        wrong = find_mismatch(request.query_params[name], type_)
        if wrong is not None:
            return invalid_parameter(wrong, name)
    return InvalidParameter(name, f"{name}: {message}.")


def _invalid_body(request: Request[Any, Any, Any], type_: Any) -> InvalidParameter | None:
    """Return what is wrong with a JSON body, None if nothing is."""
    body = ScopeState.from_scope(request.scope).body
    try:
        return invalid_body(decode(body), type_) if isinstance(body, bytes) else None
    except DecodeError:
        return None

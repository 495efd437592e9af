"""Every refusal and failure, in one shape: RFC 9457 problem details with a type that never changes."""

from __future__ import annotations

import logging
from typing import Annotated, Any

from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.params import QueryParameter
from litestar.utils.scope.state import ScopeState
from msgspec import UNSET, DecodeError, Meta, Struct, UnsetType, convert
from msgspec.json import decode

from sesight.domain.errors import (
    Conflict,
    DetailExpired,
    InvalidRequest,
    NotFound,
    SendingStopped,
    SesightError,
    SettingsError,
    StoreDamaged,
    StoreUnavailable,
)
from sesight.domain.text import printable
from sesight.domain.validation import Mismatch, find_mismatch

log = logging.getLogger("sesight.api")

MEDIA_TYPE = "application/problem+json"

KINDS = {
    "bad-request": (400, "The request could not be read"),
    "unauthenticated": (401, "Who you are is not known"),
    "forbidden": (403, "You may not do this"),
    "not-found": (404, "There is no such thing"),
    "method-not-allowed": (405, "This path does not answer this method"),
    "conflict": (409, "It is in another state than you think"),
    "detail-expired": (410, "The detail is past retention; its totals are kept"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The body is of a kind that is not read here"),
    "misdirected": (421, "This server does not answer for that host"),
    "invalid-request": (422, "The request makes no sense as asked"),
    "rate-limited": (429, "Too many requests"),
    "failed": (500, "Sesight failed"),
    "unavailable": (503, "This cannot be done now"),
}
"""Every type of problem, with its HTTP status and title."""

_BY_STATUS = {status: kind for kind, (status, _) in KINDS.items()}
_BY_ERROR: tuple[tuple[type[Exception], str], ...] = (
    (InvalidRequest, "invalid-request"),
    (NotFound, "not-found"),
    (DetailExpired, "detail-expired"),
    (Conflict, "conflict"),
    (SendingStopped, "unavailable"),
    (SettingsError, "unavailable"),
    (StoreUnavailable, "unavailable"),
)


class Problem(Struct, frozen=True, rename="camel", kw_only=True):
    """What went wrong: `type` for programs, `detail` for people. A wrong parameter is named beside
    those or the values that are allowed; expired detail says of what, from when to when.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    parameter: str | UnsetType = UNSET
    allowed: list[str] | UnsetType = UNSET
    stream: str | UnsetType = UNSET
    campaign: str | UnsetType = UNSET
    first_sent_at: str | UnsetType | None = UNSET
    last_sent_at: str | UnsetType | None = UNSET
    expired_at: str | UnsetType | None = UNSET
    retention_days: int | UnsetType = UNSET


class InvalidParameter(InvalidRequest):
    """One parameter is wrong, or not known; `allowed` lists what would do."""

    def __init__(self, parameter: str, message: str, allowed: list[str] | None = None) -> None:
        """Keep the parameter beside the sentence."""
        super().__init__(message)
        self.more: dict[str, Any] = {"parameter": parameter}
        if allowed is not None:
            self.more["allowed"] = allowed


class CampaignExpired(DetailExpired):
    """The detail of a campaign is gone; `more` says of which and when."""

    def __init__(self, message: str, **more: Any) -> None:
        """Keep the facts (camelCase members of Problem) beside the sentence."""
        super().__init__(message)
        self.more = more


def problem(kind: str, detail: str, request_id: str, more: dict[str, Any] | None = None) -> Problem:
    """Return a problem of one of `KINDS`."""
    status, title = KINDS[kind]
    about = {"type": kind, "title": title, "status": status, "detail": detail}
    return convert({**about, "requestId": request_id, **(more or {})}, Problem)


def request_id_of(request: Request[Any, Any, Any]) -> str:
    """Return the id the gate gave the request."""
    return str(request.scope.get("sesight_request_id", ""))


def answer(request: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    """Turn any exception into its problem; what is not ours is logged and says nothing of itself."""
    headers: dict[str, str] = {}
    known: tuple[str, str, dict[str, Any]] | None = None
    if isinstance(error, ValidationException):
        known = ("invalid-request", *_of_validation(request, error))
    elif isinstance(error, HTTPException) and request.scope.get("sesight_left"):
        known = ("bad-request", "The request ended before it was whole.", {})
    elif isinstance(error, HTTPException) and error.status_code in _BY_STATUS:
        detail = f"{error.detail}: {request.method} {_loggable(request.url.path)}."
        known = (_BY_STATUS[error.status_code], detail, {})
        headers |= {name.lower(): value for name, value in (error.headers or {}).items()}
    if isinstance(error, SesightError) and error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    found = problem_of(error, request_id_of(request), request.url.path, known)
    return Response(found, status_code=found.status, media_type=MEDIA_TYPE, headers=headers)


def problem_of(
    error: Exception,
    request_id: str,
    path: str,
    known: tuple[str, str, dict[str, Any]] | None = None,
) -> Problem:
    """Return the problem of an exception raised in answering a path: of the kind, detail and members that
    are `known`, else of its class. Failures are logged under the request id.
    """
    by_class = next((kind for one, kind in _BY_ERROR if isinstance(error, one)), "failed")
    kind, detail, more = known or (by_class, str(error), getattr(error, "more", {}))
    if kind == "failed":
        detail = f"This is our fault. The log knows more under request id {request_id}."
        log.error("API_FAILED %s %s", request_id, _loggable(path), exc_info=error)
    elif kind == "unavailable":
        log.warning("API_UNAVAILABLE %s %s", request_id, type(error).__name__)
    if isinstance(error, StoreUnavailable):
        detail = "The store cannot be read now. Nothing is lost; ask again in a few seconds."
    if isinstance(error, StoreDamaged):
        detail = (
            "The store is damaged. A backup has to be restored: sesight doctor says what is wrong."
        )
    return problem(kind, detail, request_id, more)


def _loggable(path: str) -> str:
    """Return a path without the token of an unsubscribe link, which must not be in a log, nor anything
    that is more than a letter to who reads one.
    """
    before, found, _ = path.partition("/unsubscribe/")
    return printable(f"{before}{found}…" if found else path)


def _of_validation(
    request: Request[Any, Any, Any], error: ValidationException
) -> tuple[str, dict[str, Any]]:
    """Return the sentence and the parameter of the first thing Litestar found wrong, in our words."""
    wrong = next((each for each in error.extra or () if isinstance(each, dict)), {})
    said = str(wrong.get("message", error.detail)).rstrip(".")
    if "key" not in wrong:
        return f"{said}.", {}
    key = str(wrong["key"])
    fields = request.route_handler.parsed_fn_signature.parameters
    if wrong.get("source") == "body" and "data" in fields:
        return _of_body(request, fields["data"].annotation) or (
            f"{key}: {said}.",
            {"parameter": key},
        )
    field = fields.get(key)
    given = field and field.kwarg_definition
    name = getattr(given, "name", None) or key
    if field is None or name not in request.query_params:
        return f"{name}: {said}.", {"parameter": name}
    found = (
        mismatched(request.query_params[name], field.annotation, given)
        if isinstance(given, QueryParameter)
        else None
    )
    return _told(found, name) if found is not None else (f"{name}: {said}.", {"parameter": name})


def mismatched(value: Any, of: Any, parameter: QueryParameter) -> Mismatch | None:
    """Return why the value of a query parameter is not of its type or beyond its bounds, None if it is
    fine.
    """
    if parameter.ge is not None or parameter.le is not None:
        of = Annotated[int, Meta(ge=parameter.ge, le=parameter.le)]
    return find_mismatch(value, of)


def wrong_parameter(found: Mismatch, name: str) -> InvalidParameter:
    """Return the error that says why the value of a parameter does not fit."""
    sentence, more = _told(found, name)
    return InvalidParameter(name, sentence, more.get("allowed"))


def _of_body(request: Request[Any, Any, Any], of: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the sentence and the member of what is wrong with a body of JSON, None if nothing is."""
    body = ScopeState.from_scope(request.scope).body
    try:
        found = find_mismatch(decode(body), of) if isinstance(body, bytes) else None
    except DecodeError:
        found = None
    return None if found is None else _told(found, ".".join(map(str, found.path)) or "body")


def _told(found: Mismatch, name: str) -> tuple[str, dict[str, Any]]:
    more: dict[str, Any] = {"parameter": name}
    if found.allowed:
        more["allowed"] = list(found.allowed)
    if found.what == "missing":
        return f"{name} is missing: {found.expected}.", more
    if found.what == "unknown":
        return f"There is no parameter {name!r} here.", more
    if found.allowed and isinstance(found.value, str):
        return f"{name}: there is no {found.value!r}.", more
    return f"{name} must be {found.expected}.", more

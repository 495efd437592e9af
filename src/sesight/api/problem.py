"""RFC 9457 problem details: the one shape of every error that the API answers, with stable types.

This module imports no web framework: the server's raw routes, the Lambda functions and the command line
answer with the same problems.
"""

from __future__ import annotations

import logging
from typing import Any

from msgspec import UNSET, Struct, UnsetType, convert

from sesight.domain.errors import (
    Conflict,
    DetailExpired,
    InvalidParameter,
    InvalidRequest,
    NotFound,
    SendingStopped,
    SettingsError,
    StoreDamaged,
    StoreUnavailable,
)
from sesight.domain.text import printable
from sesight.domain.validation import Mismatch, find_mismatch

log = logging.getLogger("sesight.api")

MEDIA_TYPE = "application/problem+json"

PROBLEMS = {
    "bad-request": (400, "The request could not be read"),
    "unauthenticated": (401, "The request is not authenticated"),
    "forbidden": (403, "The request is not allowed"),
    "not-found": (404, "The resource does not exist"),
    "method-not-allowed": (405, "The path does not support this method"),
    "conflict": (409, "The request conflicts with the resource's current state"),
    "detail-expired": (410, "The detail is past retention; its totals are kept"),
    "too-large": (413, "The request is too large"),
    "unsupported-media-type": (415, "The route does not accept this media type"),
    "misdirected": (421, "This server does not serve that host"),
    "invalid-request": (422, "The request is not valid"),
    "rate-limited": (429, "Too many requests"),
    "failed": (500, "Internal error"),
    "unavailable": (503, "Temporarily unavailable"),
}
"""Every type of problem, with its HTTP status and title."""

TYPE_BY_STATUS = {
    **{status: type_ for type_, (status, _) in PROBLEMS.items()},
    408: "bad-request",
    431: "too-large",
}
"""The type of a problem that is only known by its HTTP status."""

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
    """An error: `type` is for programs, `detail` for people. A problem with a parameter names it, and the
    parameters or values that are `allowed`; a notification that intake refused has the `reason` it is
    counted under; `detail-expired` has the campaign's times.
    """

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    parameter: str | UnsetType = UNSET
    allowed: list[str] | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    stream: str | UnsetType = UNSET
    campaign: str | UnsetType = UNSET
    first_sent_at: str | UnsetType | None = UNSET
    last_sent_at: str | UnsetType | None = UNSET
    expired_at: str | UnsetType | None = UNSET
    retention_days: int | UnsetType = UNSET


class Description(Struct, frozen=True):
    """The part of a problem that depends on the error: its type, sentence, and further members."""

    type: str
    detail: str
    members: dict[str, Any] = {}


def problem(
    type_: str, detail: str, request_id: str, members: dict[str, Any] | None = None
) -> Problem:
    """Return a problem of one of the types in `PROBLEMS`, with further members in camelCase."""
    status, title = PROBLEMS[type_]
    fixed = {"type": type_, "title": title, "status": status, "detail": detail}
    return convert({**fixed, "requestId": request_id, **(members or {})}, Problem)


def status_problem(status: int, reason: str, detail: str, request_id: str) -> Problem:
    """Return the problem of a notification that intake refused with an HTTP status, for a reason (a code)."""
    members = {"reason": reason, "status": status}
    return problem(TYPE_BY_STATUS[status], detail, request_id, members)


def problem_of(
    error: Exception, request_id: str, path: str, description: Description | None = None
) -> Problem:
    """Return the problem of an error that was raised while a path was answered.

    Its `description` is that of the error's class if none is given. Internal errors are logged under the
    request id, and the problem says nothing of their cause.
    """
    if description is None:
        type_ = next((name for class_, name in _BY_ERROR if isinstance(error, class_)), "failed")
        description = Description(type_, str(error), getattr(error, "more", {}))
    detail = description.detail
    if description.type == "failed":
        detail = f"An internal error. The log has its cause under request id {request_id}."
        log.error("API_FAILED %s %s", request_id, loggable(path), exc_info=error)
    elif description.type == "unavailable":
        log.warning("API_UNAVAILABLE %s %s", request_id, type(error).__name__)
    if isinstance(error, StoreUnavailable):
        detail = "The store is unavailable. Nothing is lost: try again in a few seconds."
    if isinstance(error, StoreDamaged):
        detail = "The store is damaged: run `sesight doctor`, then restore a backup."
    return problem(description.type, detail, request_id, description.members)


def loggable(path: str) -> str:
    """Return a path that is safe to log: without the token of an unsubscribe link, and without characters
    that a terminal would act on.
    """
    before, marker, _ = path.partition("/unsubscribe/")
    return printable(f"{before}{marker}…" if marker else path)


def invalid_parameter(mismatch: Mismatch, name: str) -> InvalidParameter:
    """Return the error of a parameter or member whose value does not fit its type."""
    allowed = mismatch.allowed or None
    if mismatch.what == "missing":
        return InvalidParameter(name, f"{name} is missing: {mismatch.expected}.", allowed)
    if mismatch.what == "unknown":
        return InvalidParameter(name, f"There is no parameter {name!r} here.", allowed)
    if mismatch.allowed and isinstance(mismatch.value, str):
        return InvalidParameter(name, f"{name}: there is no {mismatch.value!r}.", allowed)
    return InvalidParameter(name, f"{name} must be {mismatch.expected}.", allowed)


def invalid_body(body: Any, type_: Any) -> InvalidParameter | None:
    """Return what is wrong with a decoded JSON body of a type, None if nothing is."""
    mismatch = find_mismatch(body, type_)
    if mismatch is None:
        return None
    return invalid_parameter(mismatch, ".".join(map(str, mismatch.path)) or "body")

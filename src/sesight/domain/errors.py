"""Errors, named for what the reader can do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NO_CREDENTIALS = (
    "There are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "run where a role gives some."
)


class SesightError(Exception):
    """The root of all errors that Sesight raises on purpose. The message is a sentence for people.

    `retry_after`: seconds after which a retry may succeed, None if waiting does not help.
    """

    retry_after: int | None = None


class SettingsError(SesightError):
    """The settings or the command are wrong: change them and start again."""


class StoreUnavailable(SesightError):
    """The store cannot be used now: retry later. Nothing was lost."""

    retry_after = 5


class StoreDamaged(StoreUnavailable):
    """The data of the store cannot be read: restore a backup."""


class StoreTooNew(SettingsError):
    """The store was written by a newer version of Sesight: upgrade."""


class InvalidRequest(SesightError):
    """The request is invalid: change it."""


class InvalidParameter(InvalidRequest):
    """A parameter is unknown or has a wrong value. `more` holds its name (`parameter`) and, if there are few,
    the allowed values (`allowed`).
    """

    def __init__(self, parameter: str, message: str, allowed: Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.more: dict[str, Any] = {"parameter": parameter}
        if allowed is not None:
            self.more["allowed"] = list(allowed)


class NotFound(SesightError):
    """The requested object does not exist."""


class Conflict(SesightError):
    """The request contradicts an earlier one, or the same work is already in progress."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class SendingStopped(SesightError):
    """The stream is paused or cannot send now. Nothing was sent; the message says why and what to do."""


class DetailExpired(SesightError):
    """The object existed, but its detail is past retention; only its totals are kept."""


class Unreadable(SesightError):
    """A body could not be understood. `reason` is the code under which it is counted and quarantined."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Untrusted(SesightError):
    """A notification failed verification. `reason` is the code under which it is counted, `status` the HTTP
    status. The message is sent to anyone, so it repeats nothing of the request.
    """

    def __init__(self, reason: str, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status

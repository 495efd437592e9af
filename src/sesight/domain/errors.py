"""One small tree of errors, named for what the reader can do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NO_CREDENTIALS = (
    "There are no AWS credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
    "run where a role gives some."
)


class SesightError(Exception):
    """The root: every error Sesight raises on purpose. Its text is a sentence for a person.

    `retry_after`: seconds after which the same may be asked again, None where waiting does not help.
    """

    retry_after: int | None = None


class SettingsError(SesightError):
    """The settings or the command are wrong: change them and start again."""


class StoreUnavailable(SesightError):
    """The store cannot take or give anything now: try again later, nothing was lost."""

    retry_after = 5


class StoreDamaged(StoreUnavailable):
    """What the store has cannot be read, now or later: restore a backup."""


class StoreTooNew(SettingsError):
    """The store was written by a newer Sesight: upgrade this one."""


class InvalidRequest(SesightError):
    """The question makes no sense as asked: change it."""


class InvalidParameter(InvalidRequest):
    """One parameter has a wrong value, or is unknown. `more` has its name (`parameter`) and, where they are
    few, the values that are allowed (`allowed`).
    """

    def __init__(self, parameter: str, message: str, allowed: Sequence[str] | None = None) -> None:
        super().__init__(message)
        self.more: dict[str, Any] = {"parameter": parameter}
        if allowed is not None:
            self.more["allowed"] = list(allowed)


class NotFound(SesightError):
    """There is no such thing."""


class Conflict(SesightError):
    """What is asked contradicts what was asked before, or is being done already."""

    def __init__(self, message: str, retry_after: int | None = None) -> None:
        """Keep after how many seconds what is being done will be over."""
        super().__init__(message)
        self.retry_after = retry_after


class SendingStopped(SesightError):
    """No mail of the stream goes out now; nothing was sent. The text says why and what to do."""


class DetailExpired(SesightError):
    """The thing existed; its detail is past retention and only its totals are kept."""


class Unreadable(SesightError):
    """A body could not be understood. `reason` is the code it is counted and quarantined under."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep the code beside the sentence."""
        super().__init__(message)
        self.reason = reason


class Untrusted(SesightError):
    """A notification failed a proof. `reason` is the code it is counted under, `status` the answer;
    the sentence is answered too, to anybody: it repeats nothing of what was sent.
    """

    def __init__(self, reason: str, message: str, status: int = 403) -> None:
        """Keep the code and the HTTP status beside the sentence."""
        super().__init__(message)
        self.reason = reason
        self.status = status

"""Manual suppression: adding, removing and restoring items, and what became of each request.

A command joins a cause or a removal into items, as events do: the order of commands does not matter, and
the same command twice counts once. What a command contains (such as the causes that a removal lifts) is
read from the store before, when the command is made.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import reduce
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from sesight.domain.address import (
    EDGES,
    NormalizedAddress,
    normalize_address_or_domain,
    normalize_addresses,
)
from sesight.domain.errors import InvalidRequest
from sesight.domain.record import least
from sesight.domain.suppression.item import (
    REMOVALS_KEPT,
    Cause,
    Removal,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    is_lifted,
    unlifted_causes,
    with_cause,
    with_removal,
)
from sesight.domain.suppression.policy import (
    SuppressionPolicy,
    active_suppression,
    streams_in_scope,
)
from sesight.domain.text import without_controls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sesight.domain.stream import Stream

NOTE_LIMIT = 512
"""Characters of a note at most."""

CHANGE_ID = re.compile(r"[A-Za-z0-9_-]{8,64}")
"""The pattern of a change id."""

MANUAL_REASONS = frozenset({SuppressionReason.MANUAL, SuppressionReason.IMPORT})
"""Reasons whose causes hold a person's note as their detail."""

UNDELIVERABLE_ADDRESS = (
    "SES cannot send to this address: check its spelling. It is suppressed exactly as written."
)
"""The detail of a result whose address is none that SES can send to."""


# Commands


class AddSuppression(Struct, frozen=True, kw_only=True):
    """Suppress an address or a whole domain (`@example.com`) from `at` until `until` (ms; None: for good).

    `stream` is the stream of the cause, None for a wider scope; `campaign` the campaign that led to it.
    `change` identifies the command: the same command again changes nothing.
    """

    change: str
    at: int
    address: str
    reason: SuppressionReason = SuppressionReason.MANUAL
    scope: SuppressionScope = SuppressionScope.ALL
    stream: str | None = None
    until: int | None = None
    note: str | None = None
    campaign: str | None = None
    spelling: str | None = None

    @property
    def cause(self) -> Cause:
        """Return the cause to join into the items of the affected streams."""
        return Cause(
            self.at,
            f"{self.reason}:{self.change}",
            self.reason,
            self.at,
            self.scope,
            None,
            self.campaign,
            self.stream,
            self.note,
            self.until,
        )


class RemoveSuppression(Struct, frozen=True, kw_only=True):
    """Remove an address from a stream's list: lift the causes named in `lifts`, and every bounce of a
    message that was sent before `at` (ms).
    """

    change: str
    at: int
    address: str
    stream: str
    lifts: tuple[str, ...]
    note: str | None = None


class RestoreSuppression(Struct, frozen=True, kw_only=True):
    """Take back the removal that the change `restores` made of an address in a stream."""

    restores: str
    at: int
    address: str
    stream: str


class InheritSuppression(Struct, frozen=True):
    """Copy causes and removals of an address from another list, or from another key, to a stream."""

    stream: str
    address: str
    causes: tuple[Cause, ...]
    removals: tuple[Removal, ...] = ()


SuppressionCommand = AddSuppression | RemoveSuppression | RestoreSuppression | InheritSuppression


class SuppressionChange(NamedTuple):
    """What a command changed in one stream: the item before and after it."""

    stream: str
    before: Suppression | None
    after: Suppression


def affected_streams(command: SuppressionCommand, streams: Mapping[str, Stream]) -> Iterator[str]:
    """Return the streams whose lists a command changes."""
    scope = command.scope if isinstance(command, AddSuppression) else SuppressionScope.STREAM
    return streams_in_scope(scope, command.stream or "", streams)


def apply_command(
    item: Suppression | None, stream: str, command: SuppressionCommand
) -> Suppression:
    """Return the item of the command's address in a stream, with the command joined in."""
    if isinstance(command, AddSuppression):
        added = with_cause(item, stream, command.address, command.cause)
        spelling = least(added.spelling, command.spelling)
        return added if spelling == added.spelling else replace(added, spelling=spelling)
    item = item or Suppression(stream, command.address)
    if isinstance(command, InheritSuppression):
        for cause in command.causes:
            item = with_cause(item, stream, command.address, cause)
        return reduce(with_removal, command.removals, item)
    if isinstance(command, RemoveSuppression):
        lifts = tuple(sorted(command.lifts))
        return with_removal(item, Removal(command.at, command.change, lifts, command.note))
    # joined with the removal it takes back, which is earlier and so keeps its own time
    restoration = Removal(command.at, command.restores, restored_at=command.at)
    return with_removal(item, restoration)


# Requests, and the commands they become


class SuppressionRequest(Struct, frozen=True, kw_only=True):
    """A request to suppress an address, as a caller or a file states it.

    `at` (ms) is since when the address is suppressed elsewhere, None: now. `scope` None stands for the
    default scope of the reason (`default_scope`).
    """

    address: str
    reason: SuppressionReason = SuppressionReason.MANUAL
    scope: SuppressionScope | None = None
    stream: str | None = None
    until: int | None = None
    note: str | None = None
    at: int | None = None


def suppression_key(text: str) -> NormalizedAddress:
    """Read an address, or `@` and a whole domain; text that is neither is its own key.

    Raises InvalidRequest with a sentence that does not repeat the text.
    """
    bare = text.strip(EDGES)
    if not bare:
        raise InvalidRequest("The address is empty.")
    if without_controls(bare) != bare:
        raise InvalidRequest("The address contains a control character: remove it.")
    key = normalize_address_or_domain(bare)
    if not key[2] and len(normalize_addresses(bare)) > 1:
        raise InvalidRequest("This is more than one address: write one address a row.")
    return key


def add_command(
    request: SuppressionRequest,
    change: str,
    now: int,
    streams: Mapping[str, Stream],
    policy: SuppressionPolicy,
) -> AddSuppression:
    """Return the command that a request asks for. Raises InvalidRequest that says what is wrong."""
    key, spelling, mailable = suppression_key(request.address)
    local, _, domain = key.rpartition("@")
    if not mailable and not (local and domain):
        raise InvalidRequest(
            "This is not an address: write name@domain, or @domain for a whole domain."
        )
    if request.stream is not None and request.stream not in streams:
        raise InvalidRequest(
            f"There is no stream {request.stream!r}. The streams are: {', '.join(streams)}."
        )
    scope = request.scope or default_scope(request.reason, request.stream, policy)
    if scope == SuppressionScope.STREAM and request.stream is None:
        raise InvalidRequest("The scope is one stream: name the stream, or a wider scope.")
    if request.until is not None and request.until <= now:
        raise InvalidRequest("The end (until) is in the past.")
    if request.until is None and request.reason in (
        SuppressionReason.BLOCKED,
        SuppressionReason.SOFT_BOUNCES,
    ):
        raise InvalidRequest(f"The reason {request.reason} is temporary: give an end (until).")
    if request.at is not None and request.at > now:
        raise InvalidRequest("The beginning (firstAt) is in the future.")
    return AddSuppression(
        # one cause for each time known elsewhere, whichever file states it
        change=change if request.at is None else f"import:{request.at}",
        at=now if request.at is None else request.at,
        address=key,
        reason=request.reason,
        scope=scope,
        stream=request.stream,
        until=request.until,
        note=normalized_note(request.note),
        spelling=spelling,
    )


def default_scope(
    reason: SuppressionReason, stream: str | None, policy: SuppressionPolicy
) -> SuppressionScope:
    """Return the scope of a request that names none: that of the policy; for a manual reason one stream
    if the request names it, else all.
    """
    if reason in MANUAL_REASONS:
        return SuppressionScope.ALL if stream is None else SuppressionScope.STREAM
    if reason in (
        SuppressionReason.BOUNCED,
        SuppressionReason.ACCOUNT_LIST,
        SuppressionReason.VALIDATION,
    ):
        return policy.bounced
    if reason in (SuppressionReason.COMPLAINT, SuppressionReason.COMPLAINT_CANDIDATE):
        return policy.complaint
    if reason is SuppressionReason.UNSUBSCRIBED:
        return policy.unsubscribed
    return SuppressionScope.STREAM


def normalized_note(text: str | None) -> str | None:
    """Return a note with single spaces, None for an empty one.

    Raises InvalidRequest for one that is too long or has control characters.
    """
    note = "" if text is None else " ".join(text.split())
    if len(note) > NOTE_LIMIT:
        raise InvalidRequest(f"The note is longer than {NOTE_LIMIT} characters.")
    if not note.isprintable():
        raise InvalidRequest("The note contains a control character: remove it.")
    return note or None


def remove_command(
    item: Suppression, change: str, now: int, note: str | None, causes: tuple[str, ...] = ()
) -> RemoveSuppression | None:
    """Return the command that removes an item: that lifts all its causes, or only those named. None if
    no such cause stands. Raises InvalidRequest after `REMOVALS_KEPT` removals.
    """
    lifts = tuple(cause.id for cause in unlifted_causes(item) if not causes or cause.id in causes)
    if not lifts and not any(removal.id == change for removal in item.removals):
        return None
    if len(item.removals) >= REMOVALS_KEPT:
        raise InvalidRequest(
            f"The address was removed {len(item.removals)} times, which is the maximum."
        )
    return RemoveSuppression(
        change=change, at=now, address=item.address, stream=item.stream, lifts=lifts, note=note
    )


def restore_command(item: Suppression, restores: str, now: int) -> RestoreSuppression | None:
    """Return the command that takes a removal back, None if the item has no such removal."""
    if not any(removal.id == restores for removal in item.removals):
        return None
    return RestoreSuppression(restores=restores, at=now, address=item.address, stream=item.stream)


# Results


class ResultStatus(StrEnum):
    """What became of one address of a request."""

    ADDED = "added"
    """It is suppressed now; before, at least one of the streams could send to it."""
    KNOWN = "known"
    """It was suppressed already in every stream of the request."""
    LIFTED = "lifted"
    """A later removal lifts this cause, so it does not suppress."""
    REMOVED = "removed"
    """Its causes are lifted."""
    RESTORED = "restored"
    """The removal is taken back."""
    ABSENT = "absent"
    """There was nothing to remove, or no such removal to take back."""
    INVALID = "invalid"
    """The request is not valid; nothing was changed."""


class SuppressionResult(Struct, frozen=True, kw_only=True):
    """What became of one address, and in which streams; `detail` is a sentence if there is more to say."""

    address: str
    status: ResultStatus
    streams: tuple[str, ...] = ()
    detail: str | None = None


def is_covered(item: Suppression | None, command: AddSuppression) -> bool:
    """Return whether an item is already suppressed for the command's reason, for at least as long."""
    return item is not None and any(
        cause.reason == command.reason
        and (cause.until is None or (command.until is not None and cause.until >= command.until))
        for cause in unlifted_causes(item)
    )


def addition_result(
    command: AddSuppression, changes: list[SuppressionChange], now: int, policy: SuppressionPolicy
) -> SuppressionResult:
    """Return what became of an addition, given what it changed in each of its streams."""
    unlifted = [change for change in changes if not is_lifted(command.cause, change.after.removals)]
    new = [
        change
        for change in unlifted
        if change.before is None or active_suppression(change.before, now, policy) is None
    ]
    status = ResultStatus.ADDED if new else ResultStatus.KNOWN
    detail = None if suppression_key(command.address)[2] else UNDELIVERABLE_ADDRESS
    if len(unlifted) < len(changes):
        lifted = [change.stream for change in changes if change not in unlifted]
        status = status if unlifted else ResultStatus.LIFTED
        detail = f"A later removal in {', '.join(lifted)} lifts this cause there."
    return SuppressionResult(
        address=command.address,
        status=status,
        streams=tuple(change.stream for change in (new or unlifted)),
        detail=detail,
    )

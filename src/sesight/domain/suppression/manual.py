"""Suppression by hand: what somebody decides of an address or a whole domain, and what became of it.

A decision joins a cause or a removal into items, as events do, so that order does not matter and twice
is once. What a decision is made of (which causes a removal lifts) is read before, by who makes it.
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
"""What the id of a change looks like."""

MANUAL_REASONS = frozenset({SuppressionReason.MANUAL, SuppressionReason.IMPORT})
"""Reasons of which the cause's detail is somebody's note."""


class AddSuppression(Struct, frozen=True, kw_only=True):
    """That `address`, or a whole domain (`@example.com`), is suppressed from `at` (ms) on, for a
    reason, in a scope, until (ms; None: for good). `stream` is whose cause it is: None for a scope
    that is wider than one; `campaign` which of its campaigns led to it. `change` names the act: the
    same act twice is once.
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
        """Return what it joins into the items of its streams."""
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
    """That causes of an address in a stream no longer hold: those named in `lifts`, and by the time
    `at` (ms) bounces of messages sent before.
    """

    change: str
    at: int
    address: str
    stream: str
    lifts: tuple[str, ...]
    note: str | None = None


class RestoreSuppression(Struct, frozen=True, kw_only=True):
    """That a removal of an address in a stream is taken back: the one of the change `restores`."""

    restores: str
    at: int
    address: str
    stream: str


class InheritSuppression(Struct, frozen=True):
    """That a stream takes over causes and removals of an address, as they are in another list or under
    another key.
    """

    stream: str
    address: str
    causes: tuple[Cause, ...]
    removals: tuple[Removal, ...] = ()


SuppressionCommand = AddSuppression | RemoveSuppression | RestoreSuppression | InheritSuppression


class SuppressionChange(NamedTuple):
    """What a decision did in one stream: the item before and after it."""

    stream: str
    before: Suppression | None
    after: Suppression


def affected_streams(decision: SuppressionCommand, streams: Mapping[str, Stream]) -> Iterator[str]:
    """Return the streams in whose tables a decision is kept."""
    scope = decision.scope if isinstance(decision, AddSuppression) else SuppressionScope.STREAM
    stream = decision.stream or ""
    return streams_in_scope(scope, stream, streams)


def apply_command(
    item: Suppression | None, stream: str, decision: SuppressionCommand
) -> Suppression:
    """Return the item of a decision's address in a stream, with the decision joined in."""
    if isinstance(decision, AddSuppression):
        found = with_cause(item, stream, decision.address, decision.cause)
        spelling = least(found.spelling, decision.spelling)
        return found if spelling == found.spelling else replace(found, spelling=spelling)
    found = item or Suppression(stream, decision.address)
    if isinstance(decision, InheritSuppression):
        for cause in decision.causes:
            found = with_cause(found, stream, decision.address, cause)
        return reduce(with_removal, decision.removals, found)
    if isinstance(decision, RemoveSuppression):
        lifts = tuple(sorted(decision.lifts))
        return with_removal(found, Removal(decision.at, decision.change, lifts, decision.note))
    # at its own time, which is later than the removal's: joined, the removal keeps its own
    removal = Removal(decision.at, decision.restores, restored_at=decision.at)
    return with_removal(found, removal)


# What is asked, and what is told


class SuppressionRequest(Struct, frozen=True, kw_only=True):
    """What somebody wants suppressed, as it was given. `at` (ms) is since when it is known elsewhere,
    None: now. `scope` None: as the policy says of the reason, and of a reason given by hand, the
    stream if one is named, else all.
    """

    address: str
    reason: SuppressionReason = SuppressionReason.MANUAL
    scope: SuppressionScope | None = None
    stream: str | None = None
    until: int | None = None
    note: str | None = None
    at: int | None = None


class ResultStatus(StrEnum):
    """What became of one address that somebody decided on."""

    ADDED = "added"
    """It is suppressed now, and was not before in every stream asked for."""
    KNOWN = "known"
    """It was suppressed before in every stream asked for."""
    LIFTED = "lifted"
    """A removal that came later holds against it: it is not suppressed by this."""
    REMOVED = "removed"
    """What stood against it is lifted."""
    RESTORED = "restored"
    """The removal is taken back."""
    ABSENT = "absent"
    """There was nothing to lift, or no such removal."""
    INVALID = "invalid"
    """What was given makes no sense; nothing was changed."""


class SuppressionResult(Struct, frozen=True, kw_only=True):
    """What became of one address, in which streams; `detail` is a sentence where there is more to say."""

    address: str
    status: ResultStatus
    streams: tuple[str, ...] = ()
    detail: str | None = None


UNDELIVERABLE_ADDRESS = (
    "SES cannot send to this address: check its spelling. It is suppressed exactly as written."
)
"""The detail of the result for a key that is no address SES can send to."""


def suppression_key(text: str) -> NormalizedAddress:
    """Read an address, or `@` and a whole domain; what does not parse is known as it is spelled.

    Raises InvalidRequest with a sentence that does not repeat it.
    """
    bare = text.strip(EDGES)
    if not bare:
        raise InvalidRequest("There is no address.")
    if without_controls(bare) != bare:
        raise InvalidRequest("The address has a control character in it: take that out.")
    found = normalize_address_or_domain(bare)
    if not found[2] and len(normalize_addresses(bare)) > 1:
        raise InvalidRequest("There is more than one address: write one a row.")
    return found


def add_command(
    wish: SuppressionRequest,
    change: str,
    now: int,
    streams: Mapping[str, Stream],
    policy: SuppressionPolicy,
) -> AddSuppression:
    """Return the decision that a wish comes to. Raises InvalidRequest that says what is wrong."""
    key, spelling, mailable = suppression_key(wish.address)
    local, _, domain = key.rpartition("@")
    if not mailable and not (local and domain):
        raise InvalidRequest("It is no address: write name@domain, or @domain for a whole domain.")
    if wish.stream is not None and wish.stream not in streams:
        raise InvalidRequest(f"There is no stream {wish.stream!r}: {', '.join(streams)}.")
    scope = wish.scope or default_scope(wish.reason, wish.stream, policy)
    if scope == SuppressionScope.STREAM and wish.stream is None:
        raise InvalidRequest("Its scope is one stream: name the stream, or a wider scope.")
    if wish.until is not None and wish.until <= now:
        raise InvalidRequest("Its end (until) is over already.")
    if wish.until is None and wish.reason in (
        SuppressionReason.BLOCKED,
        SuppressionReason.SOFT_BOUNCES,
    ):
        raise InvalidRequest(f"The reason {wish.reason} is one that ends: say until when.")
    if wish.at is not None and wish.at > now:
        raise InvalidRequest("Its beginning (firstAt) is yet to come.")
    return AddSuppression(
        # what was known elsewhere from a time on is one cause, in whichever file it comes
        change=change if wish.at is None else f"import:{wish.at}",
        at=now if wish.at is None else wish.at,
        address=key,
        reason=wish.reason,
        scope=scope,
        stream=wish.stream,
        until=wish.until,
        note=normalized_note(wish.note),
        spelling=spelling,
    )


def default_scope(
    reason: SuppressionReason, stream: str | None, policy: SuppressionPolicy
) -> SuppressionScope:
    """Return how far a reason reaches where nobody says."""
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
    return (
        policy.unsubscribed if reason is SuppressionReason.UNSUBSCRIBED else SuppressionScope.STREAM
    )


def normalized_note(text: str | None) -> str | None:
    """Return a note as it is kept, None for an empty one. Raises InvalidRequest for a long one."""
    note = "" if text is None else " ".join(text.split())
    if len(note) > NOTE_LIMIT:
        raise InvalidRequest(f"The note has more than {NOTE_LIMIT} characters.")
    if not note.isprintable():
        raise InvalidRequest("The note has a control character in it: take that out.")
    return note or None


def is_covered(item: Suppression | None, wanted: AddSuppression) -> bool:
    """Return whether an item is suppressed for the reason of an addition already, at least as long."""
    return item is not None and any(
        held.reason == wanted.reason
        and (held.until is None or (wanted.until is not None and held.until >= wanted.until))
        for held in unlifted_causes(item)
    )


def addition_result(
    wanted: AddSuppression, changes: list[SuppressionChange], now: int, policy: SuppressionPolicy
) -> SuppressionResult:
    """Return what became of an addition."""
    stands = [each for each in changes if not is_lifted(wanted.cause, each.after.removals)]
    new = [
        each
        for each in stands
        if each.before is None or active_suppression(each.before, now, policy) is None
    ]
    status = ResultStatus.ADDED if new else ResultStatus.KNOWN
    detail = None if suppression_key(wanted.address)[2] else UNDELIVERABLE_ADDRESS
    if len(stands) < len(changes):
        lifted = [each.stream for each in changes if each not in stands]
        status = status if stands else ResultStatus.LIFTED
        detail = f"It was removed in {', '.join(lifted)} later than that, and stays so."
    return SuppressionResult(
        address=wanted.address,
        status=status,
        streams=tuple(each.stream for each in (new or stands)),
        detail=detail,
    )


def remove_command(
    item: Suppression, change: str, now: int, note: str | None, causes: tuple[str, ...] = ()
) -> RemoveSuppression | None:
    """Return the decision that lifts what stands against an address: all of it, or of that only the
    causes named. None where there is nothing to lift. Raises InvalidRequest for one too many.
    """
    lifts = tuple(held.id for held in unlifted_causes(item) if not causes or held.id in causes)
    if not lifts and not any(held.id == change for held in item.removals):
        return None
    if len(item.removals) >= REMOVALS_KEPT:
        raise InvalidRequest(f"It was removed {len(item.removals)} times: that must be enough.")
    return RemoveSuppression(
        change=change, at=now, address=item.address, stream=item.stream, lifts=lifts, note=note
    )


def restore_command(item: Suppression, restores: str, now: int) -> RestoreSuppression | None:
    """Return the decision that takes a removal back, None where there is no such removal."""
    if not any(held.id == restores for held in item.removals):
        return None
    return RestoreSuppression(restores=restores, at=now, address=item.address, stream=item.stream)

"""Suppression policy: which events suppress which addresses, where and for how long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from sesight.domain.address import normalize_address
from sesight.domain.event import (
    UNATTRIBUTED,
    UNTAGGED,
    Bounce,
    Complaint,
    Event,
    Report,
    Subscription,
)
from sesight.domain.outcome import Outcome, bounce_outcome, is_complaint
from sesight.domain.suppression.item import (
    BY_CONTACT,
    Cause,
    Removal,
    Suppression,
    SuppressionReason,
    SuppressionScope,
    rejoined_id,
    unlifted_causes,
)
from sesight.domain.timestamps import DAY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from sesight.domain.stream import Stream

SOFT_MESSAGES = 3
SOFT_DAYS = 3
SOFT_SPAN = 7 * DAY
SOFT_WINDOW = 30 * DAY

_PRIORITY = {reason: n for n, reason in enumerate(SuppressionReason)}


class ActiveSuppression(Struct, frozen=True):
    """Why an item blocks now: the cause shown, since when, and until when (None: for good)."""

    cause: Cause
    since: int
    until: int | None


class SuppressionPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """The settings of suppression: how far each kind of cause reaches, and how long pauses last."""

    bounced: SuppressionScope = SuppressionScope.ALL
    complaint: SuppressionScope = SuppressionScope.MARKETING
    unsubscribed: SuppressionScope = SuppressionScope.STREAM
    blocked_days: int = 7
    soft_days: int = 90


def causes_of(
    event: Event, report: Report, stream: Stream, campaign: str, policy: SuppressionPolicy
) -> Iterator[tuple[str, Cause]]:
    """Yield the (address, cause)s of one report to one recipient.

    A cause is made of its event alone (`campaign` too is what the event itself says), so that it
    does not depend on what was known when the event came.
    """
    held = report.occurrence
    if not report.mailable:
        return
    addresses = _named(report)
    if isinstance(held, Bounce):
        found = _of_bounce(held, stream, policy)
        if found is None:
            return
        reason, scope, until = found
        detail = (
            held.sub_type
            if reason is SuppressionReason.UNSUBSCRIBED
            else held.reply or held.sub_type
        )
    elif isinstance(held, Complaint):
        scope, until, detail = policy.complaint, None, held.kind
        if not is_complaint(held):
            if held.sub_type not in _LISTED:
                return
            reason, scope = _listed(held.sub_type, policy)
            detail = held.sub_type if reason is SuppressionReason.UNSUBSCRIBED else detail
        else:
            reason = (
                SuppressionReason.COMPLAINT
                if len(addresses) == 1
                else SuppressionReason.COMPLAINT_CANDIDATE
            )
    elif isinstance(held, Subscription):
        if not held.left or not _leaves(held.left, stream):
            return
        reason, scope, until = SuppressionReason.UNSUBSCRIBED, policy.unsubscribed, None
        detail = held.contact_list
    else:
        return
    for suppressed in addresses:
        # an event's odd text must not stand for a whole domain, nor for nobody
        if suppressed != UNATTRIBUTED and not suppressed.startswith("@"):
            yield (
                suppressed,
                Cause(
                    held.at,
                    f"{reason}:{event.message_id}:{held.at}",
                    reason,
                    event.identity.sent_at,
                    scope,
                    event.message_id or None,
                    None if campaign == UNTAGGED else campaign,
                    stream.id,
                    detail,
                    until,
                ),
            )


def removal_of(report: Report, stream: Stream) -> Removal | None:
    """Return what one report lifts: who joins a contact list or topic again lifts their earlier
    unsubscribes of it in that stream, however far these reach: another stream's topic is another one.
    There is one such removal of each list and stream, the latest.
    """
    held = report.occurrence
    if not report.mailable or not isinstance(held, Subscription) or held.contact_list is None:
        return None
    if (stream.topic or "*") not in (held.joined or ()):
        return None
    name = held.contact_list
    return Removal(held.at, rejoined_id(name, stream.id), note=JOINED_AGAIN, contact_list=name)


JOINED_AGAIN = "The recipient joined the contact list again."
"""The note of a removal that an event made."""


def _named(report: Report) -> tuple[str, ...]:
    """Return whom a report is about: its recipient, as it is spelled if that does not parse; but if an
    address is named beside what does not parse, that address.
    """
    held = report.occurrence
    if isinstance(held, Complaint) and held.candidates:
        return held.candidates
    recipient = report.recipient
    final = held.final if isinstance(held, Bounce) else None
    return (recipient,) if final is None or normalize_address(recipient)[2] else (final,)


def _leaves(left: tuple[str, ...], stream: Stream) -> bool:
    return stream.topic is None or "*" in left or stream.topic in left


_LISTED = {
    "OnAccountSuppressionList": SuppressionReason.ACCOUNT_LIST,
    "OnTenantSuppressionList": SuppressionReason.ACCOUNT_LIST,
    "EmailValidationSuppressed": SuppressionReason.VALIDATION,
    BY_CONTACT: SuppressionReason.UNSUBSCRIBED,
}
_ADDRESS_REFUSED = frozenset({"5.1.1", "5.1.2", "5.1.10", "5.4.4"})
_SOFT_STATUSES = ("4.1.", "4.2.", "5.1.", "5.2.")


def _listed(sub_type: str, policy: SuppressionPolicy) -> tuple[SuppressionReason, SuppressionScope]:
    reason = _LISTED[sub_type]
    return (
        reason,
        policy.unsubscribed if reason is SuppressionReason.UNSUBSCRIBED else policy.bounced,
    )


def _of_bounce(
    bounce: Bounce, stream: Stream, policy: SuppressionPolicy
) -> tuple[SuppressionReason, SuppressionScope, int | None] | None:
    status = bounce.status or ""
    sub_type = bounce.sub_type
    if sub_type in _LISTED:
        return *_listed(sub_type, policy), None
    if bounce.kind == "Permanent" and not status.startswith("4"):
        if status.startswith(("5.7.", "5.6.")) or status == "5.3.4":
            return (
                SuppressionReason.BLOCKED,
                SuppressionScope.STREAM,
                bounce.at + policy.blocked_days * DAY,
            )
        return SuppressionReason.BOUNCED, policy.bounced, None
    if bounce.kind == "Transient" and status in _ADDRESS_REFUSED:
        return SuppressionReason.BOUNCED, policy.bounced, None
    speaks_of_address = sub_type == "MailboxFull" or (
        sub_type in (None, "General") and status.startswith(_SOFT_STATUSES)
    )
    if stream.soft_bounces and speaks_of_address and bounce_outcome(bounce) is Outcome.SOFT_BOUNCED:
        return SuppressionReason.SOFT_BOUNCES, SuppressionScope.STREAM, None
    return None


def streams_in_scope(scope: str, stream: str, streams: Mapping[str, Stream]) -> Iterator[str]:
    """Yield the streams in whose tables a cause of one stream is kept."""
    for each in streams.values():
        if (
            each.id == stream
            or scope == SuppressionScope.ALL
            or (scope == SuppressionScope.MARKETING and each.marketing)
        ):
            yield each.id


def active_suppression(
    item: Suppression, now: int, policy: SuppressionPolicy
) -> ActiveSuppression | None:
    """Return why the item blocks at `now` (epoch ms), or None."""
    # a soft bounce that says until when is an import's: it escalated elsewhere
    soft_ones, blocking = [], []
    for held in unlifted_causes(item):
        if held.reason == SuppressionReason.SOFT_BOUNCES and held.until is None:
            soft_ones.append(held)
        elif held.until is None or held.until > now:
            blocking.append(held)
    soft = _escalated(soft_ones, item)
    if soft is not None:
        until = soft.at + policy.soft_days * DAY
        if until > now:
            blocking.append(replace(soft, until=until))
    if not blocking:
        return None
    cause = min(
        blocking, key=lambda held: (_PRIORITY[SuppressionReason(held.reason)], held.at, held.id)
    )
    lasting = any(held.until is None for held in blocking)
    ends = None if lasting else max(held.until or 0 for held in blocking)
    return ActiveSuppression(cause, min(held.at for held in blocking), ends)


def highest_priority(
    items: Iterable[Suppression], now: int, policy: SuppressionPolicy
) -> ActiveSuppression | None:
    """Return why any of the items of an address and its domain blocks at `now`, or None: of several
    reasons the first of `SuppressionReason`, then the one that has blocked longest.
    """
    blocking = [
        found for item in items if (found := active_suppression(item, now, policy)) is not None
    ]
    return min(
        blocking,
        key=lambda found: (_PRIORITY[SuppressionReason(found.cause.reason)], found.since),
        default=None,
    )


def _escalated(causes: list[Cause], item: Suppression) -> Cause | None:
    """Return the latest soft bounce by which the address has soft-bounced too often, or None."""
    positive_at = item.positive_at
    counted = [held for held in causes if positive_at is None or held.at > positive_at]
    for last in range(len(counted) - 1, SOFT_MESSAGES - 2, -1):
        window = [held for held in counted[: last + 1] if counted[last].at - held.at <= SOFT_WINDOW]
        if (
            counted[last].at - window[0].at >= SOFT_SPAN
            and len({held.message_id for held in window}) >= SOFT_MESSAGES
            and len({held.at // DAY for held in window}) >= SOFT_DAYS
        ):
            return counted[last]
    return None


def with_counted(item: Suppression, now: int, policy: SuppressionPolicy) -> Suppression:
    """Return the item with `counted` brought up to date."""
    blocking = active_suppression(item, now, policy)
    under = None if blocking is None else (blocking.since // DAY, blocking.cause.reason)
    return item if under == item.counted else replace(item, counted=under)

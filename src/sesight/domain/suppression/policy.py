"""Suppression policy: which events suppress which addresses, in which streams, and for how long."""

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
"""Soft bounces escalate when so many messages bounced …"""
SOFT_DAYS = 3
"""… on so many different UTC days …"""
SOFT_SPAN = 7 * DAY
"""… of which the first and the last are at least this far apart …"""
SOFT_WINDOW = 30 * DAY
"""… and at most this far, with no delivery or human engagement since."""

REJOINED_NOTE = "The recipient joined the contact list again."
"""The note of a removal that was made by an event."""

_PRIORITY = {reason: n for n, reason in enumerate(SuppressionReason)}


class SuppressionPolicy(Struct, frozen=True, forbid_unknown_fields=True):
    """The scope of each kind of cause, and how long temporary causes block."""

    bounced: SuppressionScope = SuppressionScope.ALL
    """The scope of a permanent bounce."""
    complaint: SuppressionScope = SuppressionScope.MARKETING
    """The scope of a complaint; the stream itself is always included."""
    unsubscribed: SuppressionScope = SuppressionScope.STREAM
    """The scope of an unsubscribe."""
    blocked_days: int = 7
    """Days that an address is blocked after the sender or the message was refused."""
    soft_days: int = 90
    """Days that an address is suppressed after repeated soft bounces."""


class ActiveSuppression(Struct, frozen=True):
    """Why an item blocks now: the cause to show, since when, and until when (ms; None: for good)."""

    cause: Cause
    since: int
    until: int | None


# From events to causes and removals


def causes_of(
    event: Event, report: Report, stream: Stream, campaign: str, policy: SuppressionPolicy
) -> Iterator[tuple[str, Cause]]:
    """Yield each (address, cause) that one report of an event makes.

    A cause is made from its event alone (`campaign` too is the one the event names), so it does not
    depend on what the store knew when the event arrived.
    """
    occurrence = report.occurrence
    if not report.mailable:
        return
    addresses = _addresses(report)
    if isinstance(occurrence, Bounce):
        kind = _kind_of_bounce(occurrence, stream, policy)
        if kind is None:
            return
        reason, scope, until = kind
        is_unsubscribe = reason is SuppressionReason.UNSUBSCRIBED
        detail = occurrence.sub_type if is_unsubscribe else occurrence.reply or occurrence.sub_type
    elif isinstance(occurrence, Complaint):
        scope, until, detail = policy.complaint, None, occurrence.kind
        if is_complaint(occurrence):
            is_certain = len(addresses) == 1
            reason = (
                SuppressionReason.COMPLAINT if is_certain else SuppressionReason.COMPLAINT_CANDIDATE
            )
        elif occurrence.sub_type in _NOT_ATTEMPTED:
            reason, scope = _not_attempted(occurrence.sub_type, policy)
            if reason is SuppressionReason.UNSUBSCRIBED:
                detail = occurrence.sub_type
        else:
            return
    elif isinstance(occurrence, Subscription):
        if not occurrence.left or not _leaves(occurrence.left, stream):
            return
        reason, scope, until = SuppressionReason.UNSUBSCRIBED, policy.unsubscribed, None
        detail = occurrence.contact_list
    else:
        return
    for address in addresses:
        # malformed text in an event must not suppress a whole domain, nor the record `*`
        if address != UNATTRIBUTED and not address.startswith("@"):
            yield (
                address,
                Cause(
                    occurrence.at,
                    f"{reason}:{event.message_id}:{occurrence.at}",
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
    """Return the removal that one report makes: a contact who joins a list or topic again lifts their
    earlier unsubscribes from it in that stream. None for every other report.

    A list and stream have one such removal, the latest. It holds for one stream only, whatever the scope
    of the unsubscribes: another stream stands for another topic.
    """
    occurrence = report.occurrence
    if (
        not report.mailable
        or not isinstance(occurrence, Subscription)
        or occurrence.contact_list is None
        or (stream.topic or "*") not in (occurrence.joined or ())
    ):
        return None
    name = occurrence.contact_list
    removal_id = rejoined_id(name, stream.id)
    return Removal(occurrence.at, removal_id, note=REJOINED_NOTE, contact_list=name)


def _addresses(report: Report) -> tuple[str, ...]:
    """Return the addresses that a report is about: the candidates of a complaint, else the recipient. If
    the recipient is not a valid address, the address that finally bounced takes its place.
    """
    occurrence = report.occurrence
    if isinstance(occurrence, Complaint) and occurrence.candidates:
        return occurrence.candidates
    recipient = report.recipient
    final = occurrence.final if isinstance(occurrence, Bounce) else None
    return (recipient,) if final is None or normalize_address(recipient)[2] else (final,)


def _leaves(left: tuple[str, ...], stream: Stream) -> bool:
    return stream.topic is None or "*" in left or stream.topic in left


_NOT_ATTEMPTED = {
    "OnAccountSuppressionList": SuppressionReason.ACCOUNT_LIST,
    "OnTenantSuppressionList": SuppressionReason.ACCOUNT_LIST,
    "EmailValidationSuppressed": SuppressionReason.VALIDATION,
    BY_CONTACT: SuppressionReason.UNSUBSCRIBED,
}
"""Subtypes (`outcome.SUPPRESSION_SUB_TYPES`) with which SES says that it did not attempt to send."""

_BAD_ADDRESS_STATUSES = frozenset({"5.1.1", "5.1.2", "5.1.10", "5.4.4"})
"""Statuses of a bad address. SES reports some such bounces as Transient."""

_SOFT_STATUSES = ("4.1.", "4.2.", "5.1.", "5.2.")
"""Beginnings of statuses that are about the address; others are about the message, or the server."""


def _not_attempted(
    sub_type: str, policy: SuppressionPolicy
) -> tuple[SuppressionReason, SuppressionScope]:
    reason = _NOT_ATTEMPTED[sub_type]
    is_unsubscribe = reason is SuppressionReason.UNSUBSCRIBED
    return reason, policy.unsubscribed if is_unsubscribe else policy.bounced


def _kind_of_bounce(
    bounce: Bounce, stream: Stream, policy: SuppressionPolicy
) -> tuple[SuppressionReason, SuppressionScope, int | None] | None:
    """Return the reason, scope and end (ms) of the cause that a bounce makes, None if it makes none."""
    status = bounce.status or ""
    sub_type = bounce.sub_type
    if sub_type in _NOT_ATTEMPTED:
        return *_not_attempted(sub_type, policy), None
    if bounce.kind == "Permanent" and not status.startswith("4"):
        # policy, content, and a message too large for the system: not the fault of the address
        if status.startswith(("5.7.", "5.6.")) or status == "5.3.4":
            until = bounce.at + policy.blocked_days * DAY
            return SuppressionReason.BLOCKED, SuppressionScope.STREAM, until
        return SuppressionReason.BOUNCED, policy.bounced, None
    if bounce.kind == "Transient" and status in _BAD_ADDRESS_STATUSES:
        return SuppressionReason.BOUNCED, policy.bounced, None
    is_about_address = sub_type == "MailboxFull" or (
        sub_type in (None, "General") and status.startswith(_SOFT_STATUSES)
    )
    if stream.soft_bounces and is_about_address and bounce_outcome(bounce) is Outcome.SOFT_BOUNCED:
        return SuppressionReason.SOFT_BOUNCES, SuppressionScope.STREAM, None
    return None


def streams_in_scope(scope: str, stream: str, streams: Mapping[str, Stream]) -> Iterator[str]:
    """Yield the ids of the streams that keep a cause of one stream in their lists."""
    for other in streams.values():
        if (
            other.id == stream
            or scope == SuppressionScope.ALL
            or (scope == SuppressionScope.MARKETING and other.marketing)
        ):
            yield other.id


# Which items block


def active_suppression(
    item: Suppression, now: int, policy: SuppressionPolicy
) -> ActiveSuppression | None:
    """Return why the item blocks at `now` (epoch ms), or None."""
    soft_bounces, blocking = [], []
    for cause in unlifted_causes(item):
        # a soft bounce that has an end was imported: it escalated elsewhere
        if cause.reason == SuppressionReason.SOFT_BOUNCES and cause.until is None:
            soft_bounces.append(cause)
        elif cause.until is None or cause.until > now:
            blocking.append(cause)
    escalated = _escalated(soft_bounces, item)
    if escalated is not None:
        until = escalated.at + policy.soft_days * DAY
        if until > now:
            blocking.append(replace(escalated, until=until))
    if not blocking:
        return None
    shown = min(
        blocking, key=lambda cause: (_PRIORITY[SuppressionReason(cause.reason)], cause.at, cause.id)
    )
    is_lasting = any(cause.until is None for cause in blocking)
    ends = None if is_lasting else max(cause.until or 0 for cause in blocking)
    return ActiveSuppression(shown, min(cause.at for cause in blocking), ends)


def highest_priority(
    items: Iterable[Suppression], now: int, policy: SuppressionPolicy
) -> ActiveSuppression | None:
    """Return why any of the items blocks, such as those of an address and of its domain; None if none
    does. Of several, the first in the order of `SuppressionReason` is returned, then the oldest.
    """
    blocking = [
        active for item in items if (active := active_suppression(item, now, policy)) is not None
    ]
    return min(
        blocking,
        key=lambda active: (_PRIORITY[SuppressionReason(active.cause.reason)], active.since),
        default=None,
    )


def _escalated(soft_bounces: list[Cause], item: Suppression) -> Cause | None:
    """Return the latest soft bounce that completes an escalation (`SOFT_MESSAGES` …), or None."""
    positive_at = item.positive_at
    causes = [cause for cause in soft_bounces if positive_at is None or cause.at > positive_at]
    for last in range(len(causes) - 1, SOFT_MESSAGES - 2, -1):
        latest = causes[last]
        window = [cause for cause in causes[: last + 1] if latest.at - cause.at <= SOFT_WINDOW]
        if (
            latest.at - window[0].at >= SOFT_SPAN
            and len({cause.message_id for cause in window}) >= SOFT_MESSAGES
            and len({cause.at // DAY for cause in window}) >= SOFT_DAYS
        ):
            return latest
    return None


def with_counted(item: Suppression, now: int, policy: SuppressionPolicy) -> Suppression:
    """Return the item with `counted` brought up to date; the same object if nothing changes."""
    active = active_suppression(item, now, policy)
    counted = None if active is None else (active.since // DAY, active.cause.reason)
    return item if counted == item.counted else replace(item, counted=counted)

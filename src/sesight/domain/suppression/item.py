"""Whom a stream must not send to: which event suppresses which address, where and for how long.

An item is a join of causes and removals, so that the order of events does not matter; whether it is
active is derived. It does not expire with the events that caused it.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple, replace

from sesight.domain.address import normalize_address
from sesight.domain.engagement import Actor, classify_all
from sesight.domain.event import (
    UNATTRIBUTED,
    UNTAGGED,
    Bounce,
    Complaint,
    Delivery,
    Event,
    Report,
    Subscription,
)
from sesight.domain.outcome import Outcome, bounce_outcome, is_complaint
from sesight.domain.record import least
from sesight.domain.text import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from sesight.domain.record import Record
    from sesight.domain.stream import Stream


class SuppressionScope(StrEnum):
    """How far a cause reaches: into a row of each stream's table."""

    STREAM = "stream"
    MARKETING = "marketing"
    ALL = "all"


class SuppressionReason(StrEnum):
    """Why an address is suppressed; the earlier in this list, the sooner it is the one shown."""

    COMPLAINT = "complaint"
    """Its owner marked a message as spam."""
    COMPLAINT_CANDIDATE = "complaint-candidate"
    """It is one of several addresses of which one complained."""
    UNSUBSCRIBED = "unsubscribed"
    """Its owner unsubscribed."""
    BOUNCED = "bounced"
    """A message bounced permanently because of the address."""
    ACCOUNT_LIST = "account-list"
    """SES did not send because the address is on a suppression list of the account or tenant."""
    VALIDATION = "validation"
    """SES predicted that the address is bad: a prediction, easily undone."""
    MANUAL = "manual"
    """Somebody added it."""
    IMPORT = "import"
    """It came with an import."""
    SOFT_BOUNCES = "soft-bounces"
    """Several messages soft-bounced over days, nothing was delivered meanwhile."""
    BLOCKED = "blocked"
    """We or the message were refused for good, not the address: a short pause."""


_PRIORITY = {reason: n for n, reason in enumerate(SuppressionReason)}

BOUNCE_REASONS = frozenset(
    {
        SuppressionReason.BOUNCED,
        SuppressionReason.ACCOUNT_LIST,
        SuppressionReason.VALIDATION,
        SuppressionReason.SOFT_BOUNCES,
        SuppressionReason.BLOCKED,
    }
)
"""Reasons that a removal lifts for every message sent before it."""

CAUSES_KEPT = 32
"""Causes kept of an item, the latest ones of each reason, lasting and temporary ones apart: bounces
never push out a complaint, nor what ends what lasts.
"""

REMOVALS_KEPT = 250
"""Removals of an item beyond which nobody may remove it any more: all of them are kept."""

SOFT_MESSAGES = 3
SOFT_DAYS = 3
SOFT_SPAN = 7 * DAY
SOFT_WINDOW = 30 * DAY


class Cause(Struct, frozen=True, gc=False, array_like=True):
    """One thing that speaks for suppressing an address. `sent_at` is its message's, `until` when a
    temporary one ends (ms), `scope` how far it reached when it was spread.
    """

    at: int
    id: str
    reason: str
    sent_at: int
    scope: str = SuppressionScope.STREAM
    message_id: str | None = None
    campaign: str | None = None
    stream: str | None = None
    detail: str | None = None
    until: int | None = None


class Removal(Struct, frozen=True, gc=False, array_like=True):
    """One lifting of an item: the causes it names never return, unless somebody takes the removal
    back (`restored_at`, ms). One by which a person joined a `contact_list` again names none: it lifts
    their earlier unsubscribes of that list.
    """

    at: int
    id: str
    lifts: tuple[str, ...] = ()
    note: str | None = None
    restored_at: int | None = None
    contact_list: str | None = None


class Suppression(Struct, frozen=True, gc=False, array_like=True):
    """All that is known of one address in one stream. `positive_at` is the latest delivery or human
    engagement (kept while soft bounces are), `positive_sent_at` when its message was sent; `counted` is
    the (UTC day it began, reason) under which the item counts as active, None while it does not.
    """

    stream: str
    address: str
    causes: tuple[Cause, ...] = ()
    removals: tuple[Removal, ...] = ()
    positive_at: int | None = None
    spelling: str | None = None
    counted: tuple[int, str] | None = None
    positive_sent_at: int | None = None


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
    return Removal(held.at, _id_of_joining(name, stream.id), note=JOINED_AGAIN, contact_list=name)


def _id_of_joining(contact_list: str, stream: str) -> str:
    return f"joined:{contact_list}:{stream}"


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


_BY_CONTACT = "UnsubscribedRecipient"
_LISTED = {
    "OnAccountSuppressionList": SuppressionReason.ACCOUNT_LIST,
    "OnTenantSuppressionList": SuppressionReason.ACCOUNT_LIST,
    "EmailValidationSuppressed": SuppressionReason.VALIDATION,
    _BY_CONTACT: SuppressionReason.UNSUBSCRIBED,
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


def with_cause(item: Suppression | None, stream: str, address: str, cause: Cause) -> Suppression:
    """Return the item with a cause joined in; the same object if it was known.

    Two reports of one cause are joined field by field, as two of one occurrence are: of scopes the
    widest wins, which is also the least.
    """
    if item is None:
        return Suppression(stream, address, (cause,))
    held = {known.id: known for known in item.causes}
    known = held.get(cause.id)
    if known == cause:
        return item
    held[cause.id] = cause if known is None else Cause(*map(least, astuple(known), astuple(cause)))
    causes = _latest(held.values())
    return item if causes == item.causes else replace(item, causes=causes)


def with_removal(item: Suppression, removal: Removal) -> Suppression:
    """Return the item with a removal joined in; the same object if it was known.

    Two reports of one removal are joined: what either lifts is lifted, and it is taken back if one
    says so. None is ever forgotten, since then what it lifts would return (`REMOVALS_KEPT`).
    """
    held = {known.id: known for known in item.removals}
    known = held.get(removal.id)
    joined = removal if known is None else _joined(known, removal)
    if joined == known:
        return item
    held[removal.id] = joined
    removals = sorted(held.values(), key=lambda each: (each.at, each.id))
    return replace(item, removals=tuple(removals))


def _joined(one: Removal, other: Removal) -> Removal:
    # of joining a list again the latest time counts, which lifts what the earlier ones do
    when = min if one.contact_list is None else max
    return Removal(
        when(one.at, other.at),
        one.id,
        tuple(sorted({*one.lifts, *other.lifts})),
        least(one.note, other.note),
        least(one.restored_at, other.restored_at),
        one.contact_list,
    )


def with_positive_signal(
    item: Suppression, records: Iterable[Record], is_expired: Callable[[int], bool]
) -> Suppression:
    """Return the item with `positive_at` brought up to date: the latest delivery or human engagement of
    the address's records in the stream.

    It can become earlier: the Delivery that shows an open to be too soon may come after the open.
    But what a record said that is gone stays: `is_expired` tells whether one of that send time is.
    """
    signs = list(_good_signs(records))
    if item.positive_at is not None and (
        item.positive_sent_at is None or is_expired(item.positive_sent_at)
    ):
        signs.append((item.positive_at, item.positive_sent_at or 0))
    positive_at, positive_sent_at = max(signs, default=(None, None))
    if (positive_at, positive_sent_at) == (item.positive_at, item.positive_sent_at):
        return item
    return replace(item, positive_at=positive_at, positive_sent_at=positive_sent_at)


def _good_signs(records: Iterable[Record]) -> Iterator[tuple[int, int]]:
    """Yield when something good happened, and when its message was sent."""
    for record in records:
        for held in record.timeline:
            if isinstance(held, Delivery):
                yield held.at, record.sent_at
        for engagement, said in classify_all(record):
            if said.actor is Actor.HUMAN:
                yield engagement.at, record.sent_at


def _latest(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    ordered = sorted(causes, key=lambda held: (held.at, held.id))
    if len(ordered) <= CAUSES_KEPT:
        return tuple(ordered)
    kept: list[Cause] = []
    seen: Counter[tuple[str, bool]] = Counter()
    for held in reversed(ordered):
        kind = (held.reason, held.until is None)
        if seen[kind] < CAUSES_KEPT:
            seen[kind] += 1
            kept.append(held)
    return tuple(reversed(kept))


def has_soft_bounces(item: Suppression) -> bool:
    """Return whether soft bounces are among an item's causes, so that good signs matter to it."""
    return any(cause.reason == SuppressionReason.SOFT_BOUNCES for cause in item.causes)


def is_lifted(cause: Cause, removals: tuple[Removal, ...]) -> bool:
    """Return whether a removal holds against a cause.

    A named cause never returns; an unnamed one that bounced does if its message was sent at the
    time of the removal or after; an unnamed complaint or unsubscribe always does, but for those of a
    contact list before the person joined it again. A removal that was taken back holds against nothing.
    """
    return any(
        cause.id in removal.lifts
        or (
            cause.reason in BOUNCE_REASONS and cause.sent_at < removal.at
            if removal.contact_list is None
            else _is_rejoined(cause, removal)
        )
        for removal in removals
        if removal.restored_at is None
    )


def _is_rejoined(cause: Cause, removal: Removal) -> bool:
    """Return whether a cause is an unsubscribe of the list that the person joined again later."""
    name = removal.contact_list
    of_list = cause.message_id is not None and cause.detail in (name, _BY_CONTACT)
    if name is None or cause.stream is None or not of_list:
        return False
    of_stream = removal.id == _id_of_joining(name, cause.stream)
    return cause.reason == SuppressionReason.UNSUBSCRIBED and of_stream and cause.at < removal.at


def unlifted_causes(item: Suppression) -> tuple[Cause, ...]:
    """Return the causes that no removal holds against, those too that do not block now."""
    return tuple([held for held in item.causes if not is_lifted(held, item.removals)])


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


def suppression_keys(address: str) -> tuple[str, ...]:
    """Return what the items are known by that can block an address: itself, and its whole domain
    (`@` and the domain). A domain has only itself.
    """
    at = address.rfind("@")
    return (address, address[at:]) if at > 0 else (address,)


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

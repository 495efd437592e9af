"""Suppression items: what is known against sending to an address in one stream.

An item joins causes and removals, so the order in which events arrive does not matter. Whether it blocks
is derived from them (`sesight.domain.suppression.policy`). Items do not expire with the events that
caused them.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import astuple, replace

from sesight.domain.engagement import Actor, classify_all
from sesight.domain.event import Delivery
from sesight.domain.record import least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sesight.domain.record import Record


class SuppressionScope(StrEnum):
    """The streams that a cause suppresses in. Each of them keeps a copy in its own list."""

    STREAM = "stream"
    MARKETING = "marketing"
    ALL = "all"


class SuppressionReason(StrEnum):
    """Why an address is suppressed. If several reasons apply, the first in this order is shown."""

    COMPLAINT = "complaint"
    """The recipient marked a message as spam."""
    COMPLAINT_CANDIDATE = "complaint-candidate"
    """One of several recipients complained, and SES does not say which."""
    UNSUBSCRIBED = "unsubscribed"
    """The recipient unsubscribed."""
    BOUNCED = "bounced"
    """A message bounced permanently because of the address."""
    ACCOUNT_LIST = "account-list"
    """SES did not send because the address is on a suppression list of the account or tenant."""
    VALIDATION = "validation"
    """SES predicted that the address is bad. Predictions can be wrong: remove it if you know better."""
    MANUAL = "manual"
    """An operator added it."""
    IMPORT = "import"
    """It was imported from a file."""
    SOFT_BOUNCES = "soft-bounces"
    """Several messages soft-bounced over days, and none was delivered in between."""
    BLOCKED = "blocked"
    """The receiving server refused the sender or the message, not the address. Blocks for a short time."""


BOUNCE_REASONS = frozenset(
    {
        SuppressionReason.BOUNCED,
        SuppressionReason.ACCOUNT_LIST,
        SuppressionReason.VALIDATION,
        SuppressionReason.SOFT_BOUNCES,
        SuppressionReason.BLOCKED,
    }
)
"""Reasons of which a removal lifts every cause whose message was sent before it."""

CAUSES_KEPT = 32
"""Causes that an item keeps of each reason, the latest ones, lasting and temporary ones counted apart: a
bounce never displaces a complaint, nor a temporary cause a lasting one.
"""

REMOVALS_KEPT = 250
"""Removals after which an item can be removed no more. None is ever dropped: what it lifted would return."""

BY_CONTACT = "UnsubscribedRecipient"
"""The bounce subtype with which SES reports that the contact has unsubscribed."""


class Cause(Struct, frozen=True, gc=False, array_like=True):
    """One reason to suppress an address.

    `sent_at` is when the message it came from was sent, `scope` the scope the policy gave it then, and
    `until` the time (ms) at which a temporary cause ends.
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
    """One removal of an item from the list.

    The causes named in `lifts` never suppress again unless the removal is itself taken back
    (`restored_at`, ms). A removal with a `contact_list` was made by a contact who joined that list again:
    it names no causes and lifts their earlier unsubscribes from it.
    """

    at: int
    id: str
    lifts: tuple[str, ...] = ()
    note: str | None = None
    restored_at: int | None = None
    contact_list: str | None = None


class Suppression(Struct, frozen=True, gc=False, array_like=True):
    """Everything known against sending to one address, or `@` and a whole domain, in one stream.

    `positive_at` is the latest delivery or human engagement and `positive_sent_at` when that message was
    sent; both are kept only while the item has soft bounces. `counted` is the (UTC day, reason) under
    which an active item counts in the rollups, None for one that is not active.
    """

    stream: str
    address: str
    causes: tuple[Cause, ...] = ()
    removals: tuple[Removal, ...] = ()
    positive_at: int | None = None
    spelling: str | None = None
    counted: tuple[int, str] | None = None
    positive_sent_at: int | None = None


def suppression_keys(address: str) -> tuple[str, ...]:
    """Return the addresses of the items that can block an address: itself, and `@` and its domain."""
    at = address.rfind("@")
    return (address, address[at:]) if at > 0 else (address,)


# Joining causes and removals into an item


def with_cause(item: Suppression | None, stream: str, address: str, cause: Cause) -> Suppression:
    """Return the item with a cause joined in; the same object if nothing changes.

    Two reports of one cause are joined field by field, as two reports of an occurrence are. The widest
    scope wins: it is also the least.
    """
    if item is None:
        return Suppression(stream, address, (cause,))
    by_id = {known.id: known for known in item.causes}
    known = by_id.get(cause.id)
    if known == cause:
        return item
    by_id[cause.id] = cause if known is None else Cause(*map(least, astuple(known), astuple(cause)))
    causes = _latest(by_id.values())
    return item if causes == item.causes else replace(item, causes=causes)


def _latest(causes: Iterable[Cause]) -> tuple[Cause, ...]:
    ordered = sorted(causes, key=lambda cause: (cause.at, cause.id))
    if len(ordered) <= CAUSES_KEPT:
        return tuple(ordered)
    kept: list[Cause] = []
    counts: Counter[tuple[str, bool]] = Counter()
    for cause in reversed(ordered):
        kind = (cause.reason, cause.until is None)
        if counts[kind] < CAUSES_KEPT:
            counts[kind] += 1
            kept.append(cause)
    return tuple(reversed(kept))


def with_removal(item: Suppression, removal: Removal) -> Suppression:
    """Return the item with a removal joined in; the same object if nothing changes.

    Two reports of one removal are joined: what either lifts is lifted, and it is taken back if either
    says so.
    """
    by_id = {known.id: known for known in item.removals}
    known = by_id.get(removal.id)
    joined = removal if known is None else _joined(known, removal)
    if joined == known:
        return item
    by_id[removal.id] = joined
    removals = sorted(by_id.values(), key=lambda removal: (removal.at, removal.id))
    return replace(item, removals=tuple(removals))


def _joined(one: Removal, other: Removal) -> Removal:
    # of joining a list again the latest time counts: it lifts what the earlier ones lift, and more
    pick = min if one.contact_list is None else max
    return Removal(
        pick(one.at, other.at),
        one.id,
        tuple(sorted({*one.lifts, *other.lifts})),
        least(one.note, other.note),
        least(one.restored_at, other.restored_at),
        one.contact_list,
    )


def has_soft_bounces(item: Suppression) -> bool:
    """Return whether soft bounces are among an item's causes, so that positive signals matter to it."""
    return any(cause.reason == SuppressionReason.SOFT_BOUNCES for cause in item.causes)


def with_positive_signal(
    item: Suppression, records: Iterable[Record], is_expired: Callable[[int], bool]
) -> Suppression:
    """Return the item with `positive_at` brought up to date from the address's records in the stream.

    The time can move back: a Delivery that arrives after an open may show that the open came too soon to
    be human. A signal whose record has expired is kept; `is_expired` tells that from its send time.
    """
    signals = list(_positive_signals(records))
    if item.positive_at is not None and (
        item.positive_sent_at is None or is_expired(item.positive_sent_at)
    ):
        signals.append((item.positive_at, item.positive_sent_at or 0))
    positive_at, positive_sent_at = max(signals, default=(None, None))
    if (positive_at, positive_sent_at) == (item.positive_at, item.positive_sent_at):
        return item
    return replace(item, positive_at=positive_at, positive_sent_at=positive_sent_at)


def _positive_signals(records: Iterable[Record]) -> Iterator[tuple[int, int]]:
    """Yield the time of each delivery and human engagement, and when its message was sent."""
    for record in records:
        for occurrence in record.timeline:
            if isinstance(occurrence, Delivery):
                yield occurrence.at, record.sent_at
        for engagement, classification in classify_all(record.timeline):
            if classification.actor is Actor.HUMAN:
                yield engagement.at, record.sent_at


# Which causes still stand


def unlifted_causes(item: Suppression) -> tuple[Cause, ...]:
    """Return the causes that no removal lifts, whether or not they block now."""
    return tuple([cause for cause in item.causes if not is_lifted(cause, item.removals)])


def is_lifted(cause: Cause, removals: tuple[Removal, ...]) -> bool:
    """Return whether a removal lifts a cause.

    A removal lifts the causes it names, and every bounce whose message was sent before it. It lifts an
    unnamed complaint or unsubscribe only if the contact joined the contact list again later. A removal
    that was taken back lifts nothing.
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
    """Return whether a cause is an unsubscribe from the list that the contact joined again later."""
    name = removal.contact_list
    is_of_list = cause.message_id is not None and cause.detail in (name, BY_CONTACT)
    if name is None or cause.stream is None or not is_of_list:
        return False
    is_of_stream = removal.id == rejoined_id(name, cause.stream)
    is_unsubscribe = cause.reason == SuppressionReason.UNSUBSCRIBED
    return is_unsubscribe and is_of_stream and cause.at < removal.at


def rejoined_id(contact_list: str, stream: str) -> str:
    """Return the id of the removal that records that a contact joined a list again."""
    return f"joined:{contact_list}:{stream}"

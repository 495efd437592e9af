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

from sesight.domain.engagement import Actor, classify_all
from sesight.domain.event import (
    Delivery,
)
from sesight.domain.record import least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sesight.domain.record import Record


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
BY_CONTACT = "UnsubscribedRecipient"


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
        for engagement, said in classify_all(record.timeline):
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


def rejoined_id(contact_list: str, stream: str) -> str:
    """Return the id of the removal that records that a contact joined a list again."""
    return f"joined:{contact_list}:{stream}"


def _is_rejoined(cause: Cause, removal: Removal) -> bool:
    """Return whether a cause is an unsubscribe of the list that the person joined again later."""
    name = removal.contact_list
    of_list = cause.message_id is not None and cause.detail in (name, BY_CONTACT)
    if name is None or cause.stream is None or not of_list:
        return False
    of_stream = removal.id == rejoined_id(name, cause.stream)
    return cause.reason == SuppressionReason.UNSUBSCRIBED and of_stream and cause.at < removal.at


def unlifted_causes(item: Suppression) -> tuple[Cause, ...]:
    """Return the causes that no removal holds against, those too that do not block now."""
    return tuple([held for held in item.causes if not is_lifted(held, item.removals)])


def suppression_keys(address: str) -> tuple[str, ...]:
    """Return what the items are known by that can block an address: itself, and its whole domain
    (`@` and the domain). A domain has only itself.
    """
    at = address.rfind("@")
    return (address, address[at:]) if at > 0 else (address,)

"""Events: what happened to a message, normalized from what a provider reports.

Times are epoch milliseconds, UTC. A time that cannot be read is replaced by the send time of the message and
flagged in `clock`. Strings were cleaned and cut (`sesight.domain.text`) when they were read.
"""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, ClassVar

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable

UNATTRIBUTED = "*"
"""The recipient of the record that belongs to a message and to none of its recipients."""

UNTAGGED = "~untagged"
"""The campaign of a message without any of the campaign tags."""

CAMPAIGN_TAGS = ("campaign_id", "campaign_name", "campaign")
"""The tags that name a campaign; the first one present is used."""

TAGS_KEPT = 50
"""The number of tag pairs kept of a record; SES documents no maximum. See `kept_tags`."""

_KEPT_FIRST = frozenset(
    (
        *CAMPAIGN_TAGS,
        "campaign_attempt",
        "campaign_month",
        "campaign_step",
        "campaign_type",
        "campaign_variant",
    )
)


class EventType(StrEnum):
    """The types of events: those of SES, and Accepted, which Sesight's own sender reports."""

    ACCEPTED = "Accepted"
    """Sesight handed the message to the provider and received a message id."""
    SEND = "Send"
    """The provider accepted the message and will try to deliver it."""
    DELIVERY_DELAY = "DeliveryDelay"
    """A temporary problem: the provider keeps trying, and a final event follows."""
    DELIVERY = "Delivery"
    """The recipient's server accepted the message. This does not mean that it reached the inbox."""
    BOUNCE = "Bounce"
    """The message was refused for good, the provider gave up, or an auto-reply arrived."""
    COMPLAINT = "Complaint"
    """The mailbox provider reports that a recipient marked the message as spam."""
    OPEN = "Open"
    """The tracking pixel was fetched, by a human or by a machine."""
    CLICK = "Click"
    """A tracked link was fetched, by a human or by a machine."""
    SUBSCRIPTION = "Subscription"
    """A contact changed its subscription preferences."""
    REJECT = "Reject"
    """The provider accepted the message and then refused to send it, because of a virus."""
    RENDERING_FAILURE = "RenderingFailure"
    """The template could not be rendered; nothing was sent."""


class Disposition(StrEnum):
    """What intake did with an event, or with an envelope that holds none. They add up to what was read."""

    CREATED = "created"
    """The event created a record."""
    UPDATED = "updated"
    """The event changed a record."""
    DUPLICATE = "duplicate"
    """Everything that the event says was known already."""
    EXPIRED = "expired"
    """The event is past the retention of its message. It is logged; the totals are already final."""
    IGNORED = "ignored"
    """Not an event to count: a setup message, another service's notification, or an ignored configuration set."""
    CONFIRMED = "confirmed"
    """A topic subscription was confirmed."""
    QUARANTINED = "quarantined"
    """Trusted, but not understood or not routable: stored with the reason, and replayable."""
    REFUSED = "refused"
    """Not accepted: not trusted, or it cannot be stored now and the sender must retry."""


class Occurrence(Struct, frozen=True, gc=False, array_like=True):
    """One event on a timeline. `at` is when it happened; subclasses say what happened."""

    at: int
    clock: str | None = None
    """None: the provider's own time. "sent": it has none, `at` is the send time. "zoneless": UTC was assumed."""

    type: ClassVar[EventType]
    RANK: ClassVar[int]
    """The position of the type on a timeline."""
    KEY: ClassVar[tuple[str, ...]] = ()

    @property
    def key(self) -> tuple[tuple[bool, str], ...]:
        """Return what distinguishes this occurrence from others of its type at the same time."""
        values = [getattr(self, name) for name in self.KEY]
        return tuple([(value is not None, value or "") for value in values])


class Accepted(Occurrence, frozen=True, gc=False, tag=0):
    """Sesight handed the message to the provider."""

    type = EventType.ACCEPTED
    RANK = 0


class Send(Occurrence, frozen=True, gc=False, tag=1):
    """The provider accepted the message; the time is the send time."""

    type = EventType.SEND
    RANK = 1


class DeliveryDelay(Occurrence, frozen=True, gc=False, tag=2):
    """`kind` is the delayType of SES, `until` the time (ms) at which SES gives up."""

    kind: str | None = None
    reply: str | None = None
    status: str | None = None
    mta: str | None = None
    until: int | None = None

    type = EventType.DELIVERY_DELAY
    RANK = 2


class Delivery(Occurrence, frozen=True, gc=False, tag=3):
    """`reply` is the server's SMTP reply, `millis` the time that delivery took (0 to 14 days, else None)."""

    reply: str | None = None
    mta: str | None = None
    millis: int | None = None

    type = EventType.DELIVERY
    RANK = 3


_HARDNESS = {"5": 0}


class Bounce(Occurrence, frozen=True, gc=False, tag=4):
    """`kind` and `sub_type` are as SES writes them. `final` is the address that bounced, if it is not the recipient."""

    kind: str | None = None
    sub_type: str | None = None
    reply: str | None = None
    status: str | None = None
    action: str | None = None
    mta: str | None = None
    final: str | None = None

    type = EventType.BOUNCE
    RANK = 4
    KEY = ("kind", "sub_type")

    def harder(self, other: Bounce) -> str | None:
        """Return the harder of the statuses of two reports of one bounce, so that a recipient that is named twice
        does not get the milder one.
        """
        # without a status a permanent bounce is one, and any other may be an auto-reply
        nothing = 1 if self.kind == "Permanent" else 3
        return min(
            self.status,
            other.status,
            key=lambda status: (
                nothing if status is None else _HARDNESS.get(status[:1], 2),
                status or "",
            ),
        )

    @property
    def reported(self) -> bool:
        """Return whether the bounce has a delivery report: an action, a status or a reporting MTA."""
        return bool(self.action or self.status or self.mta)


class Complaint(Occurrence, frozen=True, gc=False, tag=5):
    """`kind` is the feedback type (abuse, not-spam …). `candidates` are the possible complainants, if several."""

    kind: str | None = None
    sub_type: str | None = None
    agent: str | None = None
    candidates: tuple[str, ...] | None = None

    type = EventType.COMPLAINT
    RANK = 5


class Open(Occurrence, frozen=True, gc=False, tag=6):
    """`bot` is the isBotEvent of SES: Likely, Unlikely or None. `ip` is cut to /24 or /48."""

    agent: str | None = None
    ip: str | None = None
    bot: str | None = None

    type = EventType.OPEN
    RANK = 6
    KEY = ("agent", "ip")


class Click(Occurrence, frozen=True, gc=False, tag=7):
    """`link` is the key of the link (`sesight.domain.link`), never the URL with its query."""

    agent: str | None = None
    ip: str | None = None
    bot: str | None = None
    link: str | None = None

    type = EventType.CLICK
    RANK = 7
    KEY = ("link", "agent", "ip")


class Subscription(Occurrence, frozen=True, gc=False, tag=8):
    """`left` names what the contact unsubscribed from: topics of the list, or `*` for the whole list. `joined`
    names what the contact is subscribed to: topics, and `*` if it is unsubscribed from nothing.
    """

    contact_list: str | None = None
    left: tuple[str, ...] | None = None
    source: str | None = None
    joined: tuple[str, ...] | None = None

    type = EventType.SUBSCRIPTION
    RANK = 8
    KEY = ("contact_list",)


class Reject(Occurrence, frozen=True, gc=False, tag=9):
    """`reason` is as SES writes it, such as "Bad content". SES gives no time of its own."""

    reason: str | None = None

    type = EventType.REJECT
    RANK = 9


class RenderingFailure(Occurrence, frozen=True, gc=False, tag=10):
    """`error` is SES's sentence about the template. SES gives no time of its own."""

    error: str | None = None
    template: str | None = None

    type = EventType.RENDERING_FAILURE
    RANK = 10


AnyOccurrence = (
    Accepted
    | Send
    | DeliveryDelay
    | Delivery
    | Bounce
    | Complaint
    | Open
    | Click
    | Subscription
    | Reject
    | RenderingFailure
)


class Identity(Struct, frozen=True, gc=False, array_like=True):
    """What identifies a message and is the same for all its recipients, joined over all its events.

    `tags` are the sender's own tags as sorted (name, value) pairs; a name with several values has several
    pairs. `isp` is the name that SES gives the mailbox provider.
    """

    sent_at: int
    sender: str | None = None
    subject: str | None = None
    template: str | None = None
    send_id: str | None = None
    isp: str | None = None
    tags: tuple[tuple[str, str], ...] = ()
    provider: str = "ses"


class Report(Struct, frozen=True, gc=False, array_like=True):
    """One event as it concerns one recipient: an address, or `*` if no recipient can be named.

    `spelling` is the address as the sender wrote it, if it differs from the normalized one. `mailable` is
    False if the event names no valid address: it then suppresses nothing.
    """

    recipient: str
    occurrence: AnyOccurrence
    spelling: str | None = None
    mailable: bool = True


class Event(Struct, frozen=True, gc=False, array_like=True):
    """One event of a provider, normalized, with a report for each recipient that it concerns."""

    message_id: str
    identity: Identity
    reports: tuple[Report, ...]
    configuration_set: str | None = None
    account: str | None = None

    @property
    def type(self) -> EventType:
        """Return the type of the event, the same in all its reports."""
        return self.reports[0].occurrence.type


def kept_tags(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the tag pairs to keep, sorted: first those that name and divide campaigns, then the least ones."""
    ordered = sorted(set(pairs))
    if len(ordered) > TAGS_KEPT:
        ordered.sort(key=lambda pair: pair[0] not in _KEPT_FIRST)
        ordered = sorted(ordered[:TAGS_KEPT])
    return tuple(ordered)


@lru_cache(4_096)
def campaign_of(tags: tuple[tuple[str, str], ...]) -> str:
    """Return the campaign that sorted tags name: the least value of the first campaign tag present."""
    for tag in CAMPAIGN_TAGS:
        for name, value in tags:
            if name == tag and value.strip():  # an empty name would be the row of the stream
                return value
    return UNTAGGED


def tag_value(tags: tuple[tuple[str, str], ...], tag: str) -> str | None:
    """Return the least value of a tag that is not blank, or None."""
    for name, value in tags:
        if name == tag and value.strip():
            return value
    return None


_ALTERED = re.compile(r"[A-Za-z0-9_-]+-(?=[0-9]*[a-f])[0-9a-f]{8}")


def is_altered(value: str) -> bool:
    """Return whether a tag value looks altered to fit SES's rules: it ends in `-` and 8 hex digits of which one is
    a letter (`sesight.send.tags`).
    """
    return _ALTERED.fullmatch(value) is not None


def better_name(one: str | None, other: str | None) -> str | None:
    """Return the better of two names of a campaign: any before None, one as its owner wrote it before one that
    was altered to fit a tag, then the lesser.
    """
    if one is None or other is None:
        return other if one is None else one
    return min(one, other, key=lambda name: (is_altered(name), name))


def campaign_name(tags: tuple[tuple[str, str], ...]) -> str | None:
    """Return the name that tags give a campaign, or None."""
    best = None
    for name, value in tags:
        if name == "campaign_name" and value.strip():
            best = better_name(best, value)
    return best

"""The words: what happened to a message, normalised from whatever a provider said.

Times are epoch milliseconds, UTC. A time that could not be read is replaced by the message's send
time and flagged in `clock`. Strings were cleaned and cut by `sesight.domain.text` on the way in.
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
"""The recipient of a record that belongs to a message and to none of its recipients."""

UNTAGGED = "~untagged"
"""The campaign of a message that carries none of the campaign tags."""

CAMPAIGN_TAGS = ("campaign_id", "campaign_name", "campaign")
"""Tags that name a campaign; the first one present wins."""

TAGS_KEPT = 50
"""Tag pairs kept of a record; SES publishes no maximum. See `kept_tags`."""

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
    """What a provider can say happened. SES's nouns, and our own sender's Accepted."""

    ACCEPTED = "Accepted"
    """Our sender handed the message to the provider and got a message id back."""
    SEND = "Send"
    """The provider accepted the message and will try to deliver it."""
    DELIVERY_DELAY = "DeliveryDelay"
    """A temporary problem; the provider goes on trying and a final event follows."""
    DELIVERY = "Delivery"
    """The recipient's server accepted the message (never: it reached the inbox)."""
    BOUNCE = "Bounce"
    """The message was refused for good, or the provider gave up, or an auto-reply came back."""
    COMPLAINT = "Complaint"
    """The mailbox provider reports that somebody marked the message as spam."""
    OPEN = "Open"
    """The tracking pixel was fetched, by a person or by a machine."""
    CLICK = "Click"
    """A tracked link was fetched, by a person or by a machine."""
    SUBSCRIPTION = "Subscription"
    """A contact changed its subscription preferences."""
    REJECT = "Reject"
    """The provider accepted the message and then refused to send it (a virus)."""
    RENDERING_FAILURE = "RenderingFailure"
    """The template could not be rendered; nothing was sent."""


class Disposition(StrEnum):
    """What intake did with one event, or with an envelope that holds none. They sum to what was read."""

    CREATED = "created"
    """The event made a record that did not exist."""
    UPDATED = "updated"
    """The event taught an existing record something."""
    DUPLICATE = "duplicate"
    """Everything the event says was known."""
    EXPIRED = "expired"
    """The event is past its message's retention: logged and counted, its totals are kept already."""
    IGNORED = "ignored"
    """Nothing of ours: a set-up message, another service's notice, a configuration set to ignore."""
    CONFIRMED = "confirmed"
    """A topic subscription was confirmed."""
    QUARANTINED = "quarantined"
    """Trusted, but not understood or not routable: kept with its reason, visible and replayable."""
    REFUSED = "refused"
    """Not taken: not trusted, or it cannot be stored now and the sender must try again."""


class Occurrence(Struct, frozen=True, gc=False, array_like=True):
    """One event as kept on a timeline. `at` is when it happened; subclasses say what and how."""

    at: int
    clock: str | None = None
    """None: the provider's own time. "sent": it had none, `at` is the send time. "zoneless": UTC assumed."""

    type: ClassVar[EventType]
    RANK: ClassVar[int]
    """The type's place on a timeline."""
    KEY: ClassVar[tuple[str, ...]] = ()

    @property
    def key(self) -> tuple[tuple[bool, str], ...]:
        """Return what tells this occurrence from another of its type at the same time."""
        values = [getattr(self, name) for name in self.KEY]
        return tuple([(value is not None, value or "") for value in values])


class Accepted(Occurrence, frozen=True, gc=False, tag=0):
    """The message was handed over by our own sender."""

    type = EventType.ACCEPTED
    RANK = 0


class Send(Occurrence, frozen=True, gc=False, tag=1):
    """The provider accepted the message; its time is the send time."""

    type = EventType.SEND
    RANK = 1


class DeliveryDelay(Occurrence, frozen=True, gc=False, tag=2):
    """`kind` is SES's delayType, `until` when SES gives up (ms)."""

    kind: str | None = None
    reply: str | None = None
    status: str | None = None
    mta: str | None = None
    until: int | None = None

    type = EventType.DELIVERY_DELAY
    RANK = 2


class Delivery(Occurrence, frozen=True, gc=False, tag=3):
    """`reply` is the server's SMTP answer, `millis` what delivery took (0 to 14 days, else None)."""

    reply: str | None = None
    mta: str | None = None
    millis: int | None = None

    type = EventType.DELIVERY
    RANK = 3


_HARDNESS = {"5": 0}


class Bounce(Occurrence, frozen=True, gc=False, tag=4):
    """`kind` and `sub_type` are SES's words verbatim; `final` the address that bounced if not the one sent to."""

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
        """Return the status of two reports of one bounce that is the harder for its recipient, so
        that who is named twice has not the milder.
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
        """Return whether a delivery report came with it: action, status or reporting MTA."""
        return bool(self.action or self.status or self.mta)


class Complaint(Occurrence, frozen=True, gc=False, tag=5):
    """`kind` is the feedback type (abuse, not-spam …); `candidates` who may have complained, if several."""

    kind: str | None = None
    sub_type: str | None = None
    agent: str | None = None
    candidates: tuple[str, ...] | None = None

    type = EventType.COMPLAINT
    RANK = 5


class Open(Occurrence, frozen=True, gc=False, tag=6):
    """`bot` is SES's isBotEvent: Likely, Unlikely or None. `ip` is cut to /24 or /48."""

    agent: str | None = None
    ip: str | None = None
    bot: str | None = None

    type = EventType.OPEN
    RANK = 6
    KEY = ("agent", "ip")


class Click(Occurrence, frozen=True, gc=False, tag=7):
    """`link` is the link's key (`sesight.domain.link`), never the address with its query."""

    agent: str | None = None
    ip: str | None = None
    bot: str | None = None
    link: str | None = None

    type = EventType.CLICK
    RANK = 7
    KEY = ("link", "agent", "ip")


class Subscription(Occurrence, frozen=True, gc=False, tag=8):
    """`left` names what the contact left by this: topics of the list, or `*` for all of it. `joined`
    names what it is back in: topics, and `*` where it is out of nothing any more.
    """

    contact_list: str | None = None
    left: tuple[str, ...] | None = None
    source: str | None = None
    joined: tuple[str, ...] | None = None

    type = EventType.SUBSCRIPTION
    RANK = 8
    KEY = ("contact_list",)


class Reject(Occurrence, frozen=True, gc=False, tag=9):
    """`reason` is SES's, such as "Bad content". SES gives no time of its own."""

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
    """Who a message is: the same for all its recipients, joined over all its events.

    `tags` are the sender's own, as sorted (name, value) pairs; a name with several values has
    several pairs. `isp` is SES's word for the mailbox provider.
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
    """One event as it concerns one recipient: an address, or `*` where nobody can be named.

    `spelling` is the address as the sender wrote it, where that differs from the normalised one;
    `mailable` is False where the event names nobody: it suppresses nobody.
    """

    recipient: str
    occurrence: AnyOccurrence
    spelling: str | None = None
    mailable: bool = True


class Event(Struct, frozen=True, gc=False, array_like=True):
    """One thing the provider says happened, normalised, told to each recipient it concerns."""

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
    """Return the tag pairs that are kept of some, sorted: those that name and divide campaigns first,
    then the least ones.
    """
    ordered = sorted(set(pairs))
    if len(ordered) > TAGS_KEPT:
        ordered.sort(key=lambda pair: pair[0] not in _KEPT_FIRST)
        ordered = sorted(ordered[:TAGS_KEPT])
    return tuple(ordered)


@lru_cache(4_096)
def campaign_of(tags: tuple[tuple[str, str], ...]) -> str:
    """Return the campaign that sorted tags name: the least value of the first campaign tag present."""
    for wanted in CAMPAIGN_TAGS:
        for name, value in tags:
            if name == wanted and value.strip():  # an empty name would be the stream's own row
                return value
    return UNTAGGED


def tag_value(tags: tuple[tuple[str, str], ...], wanted: str) -> str | None:
    """Return the least value of the tag that is not blank, or None."""
    for name, value in tags:
        if name == wanted and value.strip():
            return value
    return None


_ALTERED = re.compile(r"[A-Za-z0-9_-]+-(?=[0-9]*[a-f])[0-9a-f]{8}")


def is_altered(value: str) -> bool:
    """Return whether a tag's value looks like one that was altered to fit: it ends in `-` and 8 hex
    digits with a letter among them (`sesight.send.tags`).
    """
    return _ALTERED.fullmatch(value) is not None


def better_name(one: str | None, other: str | None) -> str | None:
    """Return which of two names of a campaign to show: any before none, one as its owner wrote it
    before one that was altered to fit a tag, then the lesser.
    """
    if one is None or other is None:
        return other if one is None else one
    return min(one, other, key=lambda name: (is_altered(name), name))


def campaign_name(tags: tuple[tuple[str, str], ...]) -> str | None:
    """Return the name that tags give a campaign, or None."""
    found = None
    for name, value in tags:
        if name == "campaign_name" and value.strip():
            found = better_name(found, value)
    return found

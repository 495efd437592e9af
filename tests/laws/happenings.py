"""Strategies: what may happen to a few messages, made so that events collide in every way they can.

Times are coarse and few, user agents and links too, so that two events often speak of one occurrence
and differ in a detail. Tags come late or never, feedback notifications know no configuration set and
cut the send time to seconds, one address is a test's, and one message is past retention.
"""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec.structs import replace

from sesight.domain.engagement import GMAIL_PREFETCH
from sesight.domain.event import (
    UNATTRIBUTED,
    AnyOccurrence,
    Bounce,
    Click,
    Complaint,
    Delivery,
    DeliveryDelay,
    Event,
    Identity,
    Open,
    Reject,
    RenderingFailure,
    Report,
    Send,
    Subscription,
)
from sesight.domain.timestamps import DAY, HOUR
from sesight.ingest.reading import EventReading, Reading
from tests.builders import NOW, OUTLOOK

SIMULATOR = "bounce@simulator.amazonses.com"
MESSAGES: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "m-1": ("outreach-tracking", NOW - 9 * DAY + 412, ("ana@gmail.com",)),
    "m-2": ("outreach-tracking", NOW - 5 * DAY + 999, ("ana@gmail.com",)),
    "m-3": ("outreach-tracking", NOW - 1 * DAY, ("ana@gmail.com", "bo@yahoo.com", SIMULATOR)),
    "m-4": ("finance-tracking", NOW - 30 * DAY - 1, ("bo@yahoo.com",)),
    "m-5": ("outreach-tracking", NOW - 99 * DAY, ("ana@gmail.com",)),
    "m-7": ("outreach-tracking", NOW - 1 * DAY, ("ana@gmail.com",)),
    "m-6": ("somebody-elses", NOW - DAY, ("ana@gmail.com",)),
}
"""Messages with their configuration set, send time and recipients."""

SPELLINGS = {"ana@gmail.com": ("Ana@gmail.com", "ANA@gmail.com")}

AGENTS = (None, "", "Mozilla/5.0", OUTLOOK, GMAIL_PREFETCH, "unheard of", "Thunderbird/140.0")
NETWORKS = (None, "203.0.113.0", "198.51.100.0")
BOTS = (None, None, "Likely", "Unlikely")
LINKS = (None, "https://example.com/a", "https://example.com/b")
REPLIES = (None, "250 OK - gsmtp", "smtp; 550 user unknown", "mx.outlook.com")
AFTER = (0, 1, 588, -1_000, 5_000, 9_999, 10_000, 12_000, HOUR, 80 * HOUR, 3 * DAY, 8 * DAY)
CLOCKS = (None, None, None, "zoneless", "sent")
KINDS = ("Permanent", "Transient", "Undetermined", None)
SUB_TYPES = ("General", "MailboxFull", "OnAccountSuppressionList", "UnsubscribedRecipient")
STATUSES = (None, "5.1.1", "5.7.1", "4.2.2", "4.4.7")
TAG_SETS: tuple[tuple[tuple[str, str], ...], ...] = (
    (),
    (),
    (("campaign_id", "winter"), ("campaign_step", "1")),
    (("campaign_id", "winter"), ("campaign_step", "1")),
    (("campaign_name", "Alpha"),),
    (("campaign_id", ""), ("campaign_month", "2026-10"), ("campaign_step", "2")),
)


class Choice:
    """Decisions, one a byte: a whole event is one draw, which is ten times faster than one a field."""

    def __init__(self, data: bytes) -> None:
        """Keep the bytes."""
        self._bytes = iter(data)

    def of(self, options: Any) -> Any:
        """Return one of the options."""
        return options[next(self._bytes) % len(options)]


def _occurrence(choose: Choice, sent_at: int) -> AnyOccurrence:
    kind = choose.of(
        (
            *(Send, Delivery, Delivery, DeliveryDelay, Reject, RenderingFailure),
            *(Bounce, Bounce, Bounce, Complaint, Complaint, Subscription),
            *(Open, Open, Open, Click, Click, Click),
        )
    )
    at = sent_at + choose.of(AFTER)
    clock = choose.of(CLOCKS)
    if kind is Send:
        return Send(sent_at)
    if kind is Reject:
        return Reject(sent_at, "sent", "Bad content")
    if kind is RenderingFailure:
        return RenderingFailure(sent_at, "sent", "no name", "t-1")
    if kind is Delivery:
        return Delivery(at, clock, choose.of(REPLIES), None, choose.of((None, 588, 1_278)))
    if kind is DeliveryDelay:
        return DeliveryDelay(at, clock, choose.of(("General", "MailboxFull")), choose.of(REPLIES))
    if kind is Bounce:
        return Bounce(
            at,
            clock,
            choose.of(KINDS),
            choose.of(SUB_TYPES),
            choose.of(REPLIES),
            choose.of(STATUSES),
            choose.of((None, "failed")),
        )
    if kind is Complaint:
        sub_type = choose.of((None, None, "OnAccountSuppressionList", "UnsubscribedRecipient"))
        return Complaint(at, clock, choose.of((None, "abuse", "abuse", "not-spam")), sub_type)
    if kind is Subscription:
        lists = choose.of(("news", None))
        left, joined = choose.of((((), ()), (("*",), ()), (("digest",), ()), ((), ("*", "digest"))))
        return Subscription(at, clock, lists, left, None, joined)
    agent, ip, bot = choose.of(AGENTS), choose.of(NETWORKS), choose.of(BOTS)
    if kind is Open:
        return Open(at, clock, agent, ip, bot)
    return Click(at, clock, agent, ip, bot, choose.of(LINKS))


def _reports(
    choose: Choice, occurrence: AnyOccurrence, recipients: tuple[str, ...]
) -> tuple[Report, ...]:
    """Report to whom an event of a message to several names: all, some, or nobody."""
    spelled, whose = choose.of((0, 0, 0, 1, 2)), choose.of((0, 1, 2, 3))
    if len(recipients) > 1:
        if isinstance(occurrence, (Open, Click, Subscription)):
            recipients = (UNATTRIBUTED,)
        elif not isinstance(occurrence, (Send, Reject, RenderingFailure)):
            recipients = ((UNATTRIBUTED,), recipients[:1], recipients[1:], recipients)[whose]
    if isinstance(occurrence, Complaint) and len(recipients) > 1:
        return (Report(UNATTRIBUTED, replace(occurrence, candidates=recipients)),)
    return tuple(
        Report(
            to,
            occurrence,
            SPELLINGS[to][spelled - 1] if spelled and to in SPELLINGS else None,
            to != UNATTRIBUTED,
        )
        for to in recipients
    )


def _event(data: bytes, of: tuple[str, ...]) -> Event:
    choose = Choice(data)
    message = choose.of(of)
    configuration_set, sent_at, recipients = MESSAGES[message]
    occurrence = _occurrence(choose, sent_at)
    reports = _reports(choose, occurrence, recipients)
    feedback = choose.of((False, False, True)) and isinstance(
        occurrence, (Bounce, Complaint, Delivery)
    )
    identity = Identity(
        sent_at // 1_000 * 1_000 if feedback else sent_at,
        "news@news.example.com",
        choose.of((None, "Winter", "Winter!")),
        "t-1" if isinstance(occurrence, RenderingFailure) else None,
        choose.of((None, None, None, "s-1")),
        choose.of((None, None, None, None, "Gmail")),
        () if feedback else choose.of(TAG_SETS),
    )
    return Event(message, identity, reports, None if feedback else configuration_set)


def events(of: tuple[str, ...] = tuple(MESSAGES)) -> st.SearchStrategy[Event]:
    """Return a strategy for one event of one of the messages."""
    return st.binary(min_size=20, max_size=20).map(lambda data: _event(data, of))


def histories(most: int = 16) -> st.SearchStrategy[list[Event]]:
    """Return a strategy for the events of a few messages, in some order."""
    return st.lists(events(), min_size=1, max_size=most)


def some_events(number: int) -> list[Event]:
    """Return so many events, the same each time."""
    return [_event(Random(n).randbytes(20), tuple(MESSAGES)) for n in range(number)]


seeds = st.integers(0, 2**32)
"""What decides order, repetition and batches (`again`)."""

_encode = msgspec.msgpack.Encoder().encode


def reading(event: Event) -> Reading:
    """Return an event as read: its bytes are its own, so that the quarantine knows it again."""
    return EventReading("file", event, body=_encode(event))


def again(told: list[Event], seed: int) -> list[list[Event]]:
    """Return the same events in another order, some of them several times, cut into batches."""
    random = Random(seed)
    shuffled = told + random.choices(told, k=random.randrange(len(told) + 1))
    random.shuffle(shuffled)
    batches: list[list[Event]] = []
    while shuffled:
        size = random.choice((1, 2, 5, 99))
        batches.append(shuffled[:size])
        shuffled = shuffled[size:]
    return batches

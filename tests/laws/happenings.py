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

from sesight.domain.engagement import GMAIL_PREFETCH
from sesight.domain.event import (
    EVERYBODY,
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
from sesight.domain.text import DAY, HOUR
from sesight.ingest.reading import Reading
from tests.builders import NOW, OUTLOOK

SIMULATOR = "bounce@simulator.amazonses.com"
MESSAGES: dict[str, tuple[str, int, tuple[str, ...]]] = {
    "m-1": ("outreach-tracking", NOW - 9 * DAY + 412, ("ana@gmail.com",)),
    "m-2": ("outreach-tracking", NOW - 5 * DAY + 999, ("ana@gmail.com",)),
    "m-3": ("outreach-tracking", NOW - 1 * DAY, ("ana@gmail.com", "bo@yahoo.com", SIMULATOR)),
    "m-4": ("finance-tracking", NOW - 30 * DAY - 1, ("bo@yahoo.com",)),
    "m-5": ("outreach-tracking", NOW - 99 * DAY, ("ana@gmail.com",)),
    "m-6": ("somebody-elses", NOW - DAY, ("ana@gmail.com",)),
}
"""Messages with their configuration set, send time and recipients."""

SPELLINGS = {"ana@gmail.com": ("Ana@gmail.com", "ANA@gmail.com")}

few = st.sampled_from
agents = few([None, "", "Mozilla/5.0", OUTLOOK, GMAIL_PREFETCH, "unheard of", "Thunderbird/140.0"])
networks = few([None, "203.0.113.0", "198.51.100.0"])
bots = few([None, None, "Likely", "Unlikely"])
links = few([None, "https://example.com/a", "https://example.com/b"])
replies = few([None, "250 OK - gsmtp", "smtp; 550 user unknown", "mx.outlook.com"])
after = few([-1_000, 0, 1, 588, 5_000, 9_999, 10_000, 12_000, HOUR, 80 * HOUR, 3 * DAY, 8 * DAY])
clocks = few([None, None, None, "zoneless", "sent"])
TAG_SETS: list[tuple[tuple[str, str], ...]] = [
    (),
    (),
    (("campaign_id", "winter"), ("campaign_step", "1")),
    (("campaign_id", "winter"), ("campaign_step", "1")),
    (("campaign_name", "Alpha"),),
    (("campaign_id", ""), ("campaign_month", "2026-10"), ("campaign_step", "2")),
]

opens = st.builds(Open, at=after, clock=clocks, agent=agents, ip=networks, bot=bots)
clicks = st.builds(Click, at=after, clock=clocks, agent=agents, ip=networks, bot=bots, link=links)
bounces = st.builds(
    Bounce,
    at=after,
    clock=clocks,
    kind=few(["Permanent", "Transient", "Undetermined", None]),
    sub_type=few(["General", "MailboxFull", "OnAccountSuppressionList", "UnsubscribedRecipient"]),
    reply=replies,
    status=few([None, "5.1.1", "5.7.1", "4.2.2", "4.4.7"]),
    action=few([None, "failed"]),
)
deliveries = st.builds(
    Delivery, at=after, clock=clocks, reply=replies, millis=few([None, 588, 1_278])
)
delays = st.builds(DeliveryDelay, at=after, kind=few(["General", "MailboxFull"]), reply=replies)
complaints = st.builds(
    Complaint,
    at=after,
    clock=clocks,
    kind=few([None, "abuse", "not-spam"]),
    sub_type=few([None, None, "OnAccountSuppressionList", "UnsubscribedRecipient"]),
)
subscriptions = st.builds(
    Subscription, at=after, contact_list=few(["news", None]), left=few([(), ("*",), ("digest",)])
)
others = few(
    [
        Send(0),
        Send(0),
        Reject(0, clock="sent", reason="Bad content"),
        RenderingFailure(0, clock="sent", error="no name", template="t-1"),
    ]
)
happenings = st.one_of(
    opens, clicks, bounces, deliveries, delays, complaints, subscriptions, others
)


def _whose(occurrence: AnyOccurrence, recipients: tuple[str, ...], pick: int) -> tuple[str, ...]:
    """Return whom an event names: of several, all, some, or nobody, as SES does for its type."""
    if len(recipients) == 1:
        return recipients
    if isinstance(occurrence, (Open, Click, Subscription)):
        return (EVERYBODY,)
    if isinstance(occurrence, (Send, Reject, RenderingFailure)):
        return recipients
    return [(EVERYBODY,), recipients[:1], recipients[1:], recipients][pick % 4]


@st.composite
def events(draw: Any, of: tuple[str, ...] = tuple(MESSAGES)) -> Event:
    """Draw one event of one of the messages."""
    message = draw(few(of))
    configuration_set, sent_at, recipients = MESSAGES[message]
    occurrence = draw(happenings)
    pick = draw(st.integers(0, 23))
    feedback = isinstance(occurrence, (Bounce, Complaint, Delivery)) and pick % 3 == 0
    tags = () if feedback else draw(few(TAG_SETS))
    if feedback:
        sent_at = sent_at // 1_000 * 1_000
    occurrence = msgspec.structs.replace(occurrence, at=MESSAGES[message][1] + occurrence.at)
    whose = _whose(occurrence, recipients, pick)
    if isinstance(occurrence, Complaint) and len(whose) > 1:
        occurrence = msgspec.structs.replace(occurrence, candidates=whose)
        whose = (EVERYBODY,)
    reports = tuple(
        Report(
            to,
            occurrence,
            SPELLINGS[to][pick % 2] if to in SPELLINGS and pick % 5 == 0 else None,
            to != EVERYBODY,
        )
        for to in whose
    )
    if isinstance(occurrence, Complaint) and occurrence.candidates:
        reports = (Report(EVERYBODY, occurrence),)
    identity = Identity(
        sent_at,
        "news@news.example.com",
        "Winter" if pick % 2 else None,
        "t-1" if isinstance(occurrence, RenderingFailure) else None,
        f"s-{pick % 2}" if pick % 7 == 0 else None,
        "Gmail" if pick % 11 == 0 else None,
        tags,
    )
    return Event(message, identity, reports, None if feedback else configuration_set)


def histories(most: int = 16) -> Any:
    """Return a strategy for the events of a few messages, in some order."""
    return st.lists(events(), min_size=1, max_size=most)


_encode = msgspec.msgpack.Encoder().encode


def reading(event: Event) -> Reading:
    """Return an event as read: its bytes are its own, so that the quarantine knows it again."""
    return Reading("file", event, body=_encode(event))


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

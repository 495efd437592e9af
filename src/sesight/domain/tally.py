"""What a record counts as.

Totals are the sum of tallies. A record keeps the tally it was counted as, so that a commit adds
`tally after` less `tally before` and any change of rules moves totals only through records.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.address import domain_of
from sesight.domain.engagement import RULES_VERSION, Actor
from sesight.domain.event import Click, EventType, campaign_of, tag_value
from sesight.domain.mailbox import mailbox_of
from sesight.domain.outcome import PENDING, Facts, Outcome, derive_facts
from sesight.domain.reason import reason_of
from sesight.domain.text import DAY, HOUR, day_name

if TYPE_CHECKING:
    from sesight.domain.record import Record
    from sesight.domain.stream import Stream

OUTCOMES = ("delivered", "softBounced", "bounced", "suppressed", "rejected", "failed", "pending")
"""Outcome counters: exclusive, they sum to `recipients`."""

FACTS = (
    "sent",
    "attempted",
    "reached",
    "everDelayed",
    "autoReplied",
    "complained",
    "unsubscribed",
    "opened",
    "humanOpened",
    "unknownOpened",
    "machineOnlyOpened",
    "clicked",
    "humanClicked",
    "unknownClicked",
    "machineOnlyClicked",
    "capped",
)
"""Counters of records for which something holds; `capped`: its events were too many to keep all."""

EVENTS = (
    "opens",
    "clicks",
    "machineOpens",
    "machineClicks",
    "unattributedOpens",
    "unattributedClicks",
)
"""Counters of events, at most 32 of a type a record."""

COUNTERS = ("recipients", *OUTCOMES, *FACTS, *EVENTS)
"""Every counter, in the order of a rollup row."""

LAST_AGE = 72
"""The age bucket of everything later than 71 hours after the send."""

_AT = {name: n for n, name in enumerate(COUNTERS)}
_BIT = {name: 1 << n for n, name in enumerate(FACTS)}
_CLASS = {
    Outcome.DELIVERED: "delivered",
    Outcome.SOFT_BOUNCED: "softBounced",
    Outcome.BOUNCED: "bounced",
    Outcome.SUPPRESSED: "suppressed",
    Outcome.REJECTED: "rejected",
    Outcome.FAILED: "failed",
    **dict.fromkeys(PENDING, "pending"),
}


REACHED = _BIT["reached"]
"""The bit of `Tally.facts` for `reached`."""


class TallyDimensions(Struct, frozen=True, gc=False, array_like=True):
    """Under which heads a record counts."""

    stream: str
    campaign: str
    day: int
    mailbox: str
    sender_domain: str | None = None
    template: str | None = None
    month: int | None = None
    attempt: str | None = None
    reason: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


class LinkTally(Struct, frozen=True, gc=False, array_like=True):
    """Clicks of one link by one recipient; `human` is 1 if a person clicked it."""

    link: str
    human: int
    clicks: int
    machine_clicks: int


class Tally(Struct, frozen=True, gc=False, array_like=True):
    """What one record counts as. `dimensions` None: it counts nowhere (a test recipient).

    `facts` has a bit for each of `FACTS`; `events` is empty or holds the counters of `EVENTS`;
    `ages` holds the age in hours of the first delivery, human open, machine-only open and human
    click, empty when there is none of them.
    """

    rules: int
    dimensions: TallyDimensions | None = None
    hour: int = 0
    outcome: int = -1
    facts: int = 0
    events: tuple[int, ...] = ()
    ages: tuple[int | None, ...] = ()
    links: tuple[LinkTally, ...] = ()


class Counting(Struct, frozen=True, eq=False):
    """What the settings say of counting: the streams by id, up to three tags to break campaigns down
    by, and recipients that never count (addresses, or domains starting with `@`).
    """

    streams: dict[str, Stream]
    tags: tuple[str, ...] = ()
    test_recipients: frozenset[str] = frozenset({"@simulator.amazonses.com"})
    rules: int = RULES_VERSION

    def is_test(self, address: str) -> bool:
        """Return whether an address is for tests: it never counts and never suppresses."""
        domain = address[address.rfind("@") :]
        return domain in self.test_recipients or address in self.test_recipients


def tally_of(record: Record, counting: Counting) -> Tally:
    """Return what a record counts as."""
    if counting.is_test(record.recipient):
        return Tally(counting.rules)
    said = derive_facts(record)
    place = _place(record, said, counting)
    hour = record.identity.sent_at // HOUR % 24
    if record.is_unattributed:
        return _unattributed(record, said, place, hour, counting.rules)
    if not said.engagements or not said.reached:
        bits = _bits(said, record.capped)
        ages = _ages(record.identity.sent_at, said.delivered_at, None, None, None)
        return Tally(counting.rules, place, hour, said.outcome, bits, (), ages)
    return _engaged(record, said, place, hour, counting.rules)


def _place(record: Record, said: Facts, counting: Counting) -> TallyDimensions:
    identity = record.identity
    return _place_of(
        record.stream,
        identity.sender,
        identity.template,
        identity.tags,
        identity.sent_at // DAY,
        mailbox_of(record),
        reason_of(said) if said.decisive is not None else None,
        counting,
    )


@lru_cache(16_384)
def _place_of(
    stream: str,
    sender: str | None,
    template: str | None,
    tags: tuple[tuple[str, str], ...],
    day: int,
    mailbox: str,
    reason: str | None,
    counting: Counting,
) -> TallyDimensions:
    """Return the place that the messages of one campaign, day, mailbox and reason share."""
    month = attempt = None
    of = counting.streams.get(stream)
    if of is not None and of.months:
        named = tag_value(tags, "campaign_month")
        month = (month_number(named) if named else None) or month_number(day_name(day)[:7])
        attempt = "first" if tag_value(tags, "campaign_attempt") in (None, "1") else "resend"
    return TallyDimensions(
        stream,
        campaign_of(tags),
        day,
        mailbox,
        domain_of(sender) if sender else None,
        template,
        month,
        attempt,
        reason,
        tuple([pair for pair in tags if pair[0] in counting.tags]),
    )


def month_number(name: str) -> int | None:
    """Read YYYY-MM as year * 12 + month - 1; None if it is no month."""
    year, dash, month = name.partition("-")
    if dash and len(year) == 4 and len(month) == 2 and (year + month).isdecimal():
        number = int(month)
        if 1 <= number <= 12:
            return int(year) * 12 + number - 1
    return None


def month_name(number: int) -> str:
    """Write a month number as YYYY-MM."""
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def _bits(said: Facts, capped: int) -> int:
    bits = 0
    if said.sent:
        bits = _BIT["sent"]
        if said.outcome not in _UNATTEMPTED:
            bits |= _BIT["attempted"]
    if said.reached:
        bits |= _BIT["reached"]
    if said.delayed_at is not None:
        bits |= _BIT["everDelayed"]
    if said.auto_replied:
        bits |= _BIT["autoReplied"]
    if said.complained_at is not None:
        bits |= _BIT["complained"]
    if said.unsubscribed_at is not None:
        bits |= _BIT["unsubscribed"]
    if capped:
        bits |= _BIT["capped"]
    return bits


_UNATTEMPTED = frozenset({Outcome.SUPPRESSED, Outcome.REJECTED, Outcome.FAILED})


def _age(at: int | None, sent_at: int) -> int | None:
    if at is None:
        return None
    age = (at - sent_at) // HOUR
    if age < 0:
        return 0
    return min(LAST_AGE, age)


def _ages(
    sent_at: int,
    delivered: int | None,
    human_open: int | None,
    machine_open: int | None,
    human_click: int | None,
) -> tuple[int | None, ...]:
    if delivered is human_open is machine_open is human_click is None:
        return ()
    return (
        _age(delivered, sent_at),
        _age(human_open, sent_at),
        _age(machine_open, sent_at),
        _age(human_click, sent_at),
    )


def _earlier(one: int | None, other: int) -> int:
    return other if one is None or other < one else one


def _engaged(record: Record, said: Facts, place: TallyDimensions, hour: int, rules: int) -> Tally:
    opens = clicks = machine_opens = machine_clicks = 0
    human_open = unknown_open = machine_open = None
    human_click = unknown_click = machine_click = None
    links: dict[str, list[int]] = {}
    for held, verdict in said.engagements:
        who = verdict.actor
        at = held.at
        if isinstance(held, Click):
            clicks += 1
            of_link = links.setdefault(held.link or "~unreadable", [0, 0, 0])
            of_link[1] += 1
            if who is Actor.HUMAN:
                human_click = _earlier(human_click, at)
                of_link[0] = 1
            elif who is Actor.UNKNOWN:
                unknown_click = _earlier(unknown_click, at)
            else:
                machine_clicks += 1
                of_link[2] += 1
                machine_click = _earlier(machine_click, at)
        else:
            opens += 1
            if who is Actor.MACHINE:
                machine_opens += 1
        # a click implies an open of its own class
        if who is Actor.HUMAN:
            human_open = _earlier(human_open, at)
        elif who is Actor.UNKNOWN:
            unknown_open = _earlier(unknown_open, at)
        else:
            machine_open = _earlier(machine_open, at)
    bits = _bits(said, record.capped)
    bits |= _best(_OPENED, human_open, unknown_open, machine_open)
    bits |= _best(_CLICKED, human_click, unknown_click, machine_click)
    machine_only = machine_open if human_open is None and unknown_open is None else None
    return Tally(
        rules,
        place,
        hour,
        said.outcome,
        bits,
        (opens, clicks, machine_opens, machine_clicks, 0, 0),
        _ages(record.identity.sent_at, said.delivered_at, human_open, machine_only, human_click),
        tuple([LinkTally(link, *links[link]) for link in sorted(links)]) if links else (),
    )


_OPENED = tuple(
    _BIT["opened"] | _BIT[name] for name in ("humanOpened", "unknownOpened", "machineOnlyOpened")
)
_CLICKED = tuple(
    _BIT["clicked"] | _BIT[name]
    for name in ("humanClicked", "unknownClicked", "machineOnlyClicked")
)


def _best(
    bits: tuple[int, ...], human: int | None, unknown: int | None, machine: int | None
) -> int:
    """Return the bits of the best verdict there is: a person, then nobody can say, then a machine."""
    if human is not None:
        return bits[0]
    if unknown is not None:
        return bits[1]
    return bits[2] if machine is not None else 0


def _unattributed(
    record: Record, said: Facts, place: TallyDimensions, hour: int, rules: int
) -> Tally:
    """Count what belongs to a message and to nobody: opens, clicks, and one complaint."""
    opens = sum(held.type is EventType.OPEN for held in record.timeline)
    clicks = sum(held.type is EventType.CLICK for held in record.timeline)
    bits = _BIT["complained"] if said.complained_at is not None else 0
    if record.capped:
        bits |= _BIT["capped"]
    return Tally(rules, place, hour, -1, bits, (0, 0, 0, 0, opens, clicks))


@lru_cache(4_096)
def flags(outcome: int, bits: int) -> tuple[int, ...]:
    """Return the counters of an outcome and facts, in the order of `COUNTERS`; those of events are 0."""
    counts = [0] * len(COUNTERS)
    if outcome >= 0:
        counts[_AT["recipients"]] = 1
        counts[_AT[_CLASS[Outcome(outcome)]]] = 1
    for name, bit in _BIT.items():
        if bits & bit:
            counts[_AT[name]] = 1
    return tuple(counts)


_EVENTS_AT = len(COUNTERS) - len(EVENTS)


def counts(tally: Tally) -> tuple[int, ...]:
    """Return the counters of a tally, in the order of `COUNTERS`."""
    counted = flags(tally.outcome, tally.facts)
    return counted[:_EVENTS_AT] + tally.events if tally.events else counted

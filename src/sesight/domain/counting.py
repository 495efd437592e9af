"""Counting: what a record counts as, by the rules and the settings."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.address import domain_of
from sesight.domain.engagement import RULES_VERSION, Actor
from sesight.domain.event import Click, EventType, campaign_of, tag_value
from sesight.domain.mailbox import mailbox_of
from sesight.domain.outcome import Facts, Outcome, derive_facts
from sesight.domain.reason import reason_of
from sesight.domain.tally import FACT_BIT, LAST_AGE, LinkTally, Tally, TallyDimensions
from sesight.domain.timestamps import DAY, HOUR, day_name, month_number

if TYPE_CHECKING:
    from sesight.domain.record import Record
    from sesight.domain.stream import Stream


class Counting(Struct, frozen=True, eq=False):
    """The settings of counting: the streams by id, up to three tags by which campaigns are broken down, and the
    recipients (addresses, or domains that start with `@`) that never count.
    """

    streams: dict[str, Stream]
    tags: tuple[str, ...] = ()
    test_recipients: frozenset[str] = frozenset({"@simulator.amazonses.com"})
    rules: int = RULES_VERSION

    def is_test(self, address: str) -> bool:
        """Return whether an address is a test recipient, which never counts and never suppresses."""
        domain = address[address.rfind("@") :]
        return domain in self.test_recipients or address in self.test_recipients


def tally_of(record: Record, counting: Counting) -> Tally:
    """Return what a record counts as."""
    if counting.is_test(record.recipient):
        return Tally(counting.rules)
    facts = derive_facts(record.timeline)
    dimensions = _dimensions(record, facts, counting)
    hour = record.identity.sent_at // HOUR % 24
    if record.is_unattributed:
        return _unattributed(record, facts, dimensions, hour, counting.rules)
    if not facts.engagements or not facts.reached:
        bits = _bits(facts, record.capped)
        ages = _ages(record.identity.sent_at, facts.delivered_at, None, None, None)
        return Tally(counting.rules, dimensions, hour, facts.outcome, bits, (), ages)
    return _engaged(record, facts, dimensions, hour, counting.rules)


def _dimensions(record: Record, facts: Facts, counting: Counting) -> TallyDimensions:
    identity = record.identity
    return _dimensions_of(
        record.stream,
        identity.sender,
        identity.template,
        identity.tags,
        identity.sent_at // DAY,
        mailbox_of(record),
        reason_of(facts) if facts.decisive is not None else None,
        counting,
    )


@lru_cache(16_384)
def _dimensions_of(
    stream: str,
    sender: str | None,
    template: str | None,
    tags: tuple[tuple[str, str], ...],
    day: int,
    mailbox: str,
    reason: str | None,
    counting: Counting,
) -> TallyDimensions:
    """Return the dimensions that the messages of one campaign, day, mailbox and reason share."""
    month = attempt = None
    settings = counting.streams.get(stream)
    if settings is not None and settings.months:
        tag_month = tag_value(tags, "campaign_month")
        month = (month_number(tag_month) if tag_month else None) or month_number(day_name(day)[:7])
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


def _bits(facts: Facts, capped: int) -> int:
    bits = 0
    if facts.sent:
        bits = FACT_BIT["sent"]
        if facts.outcome not in _UNATTEMPTED:
            bits |= FACT_BIT["attempted"]
    if facts.reached:
        bits |= FACT_BIT["reached"]
    if facts.delayed_at is not None:
        bits |= FACT_BIT["everDelayed"]
    if facts.auto_replied:
        bits |= FACT_BIT["autoReplied"]
    if facts.complained_at is not None:
        bits |= FACT_BIT["complained"]
    if facts.unsubscribed_at is not None:
        bits |= FACT_BIT["unsubscribed"]
    if capped:
        bits |= FACT_BIT["capped"]
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


def _engaged(
    record: Record, facts: Facts, dimensions: TallyDimensions, hour: int, rules: int
) -> Tally:
    opens = clicks = machine_opens = machine_clicks = 0
    human_open = unknown_open = machine_open = None
    human_click = unknown_click = machine_click = None
    links: dict[str, list[int]] = {}
    for engagement, classification in facts.engagements:
        who = classification.actor
        at = engagement.at
        if isinstance(engagement, Click):
            clicks += 1
            link_counts = links.setdefault(engagement.link or "~unreadable", [0, 0, 0])
            link_counts[1] += 1
            if who is Actor.HUMAN:
                human_click = _earlier(human_click, at)
                link_counts[0] = 1
            elif who is Actor.UNKNOWN:
                unknown_click = _earlier(unknown_click, at)
            else:
                machine_clicks += 1
                link_counts[2] += 1
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
    bits = _bits(facts, record.capped)
    bits |= _best(_OPENED, human_open, unknown_open, machine_open)
    bits |= _best(_CLICKED, human_click, unknown_click, machine_click)
    machine_only = machine_open if human_open is None and unknown_open is None else None
    return Tally(
        rules,
        dimensions,
        hour,
        facts.outcome,
        bits,
        (opens, clicks, machine_opens, machine_clicks, 0, 0),
        _ages(record.identity.sent_at, facts.delivered_at, human_open, machine_only, human_click),
        tuple([LinkTally(link, *links[link]) for link in sorted(links)]) if links else (),
    )


_OPENED = tuple(
    FACT_BIT["opened"] | FACT_BIT[name]
    for name in ("humanOpened", "unknownOpened", "machineOnlyOpened")
)
_CLICKED = tuple(
    FACT_BIT["clicked"] | FACT_BIT[name]
    for name in ("humanClicked", "unknownClicked", "machineOnlyClicked")
)


def _best(
    bits: tuple[int, ...], human: int | None, unknown: int | None, machine: int | None
) -> int:
    """Return the bits of the best classification: human before unknown before machine."""
    if human is not None:
        return bits[0]
    if unknown is not None:
        return bits[1]
    return bits[2] if machine is not None else 0


def _unattributed(
    record: Record, facts: Facts, dimensions: TallyDimensions, hour: int, rules: int
) -> Tally:
    """Count what belongs to a message and to none of its recipients: opens, clicks, and one complaint."""
    opens = sum(occurrence.type is EventType.OPEN for occurrence in record.timeline)
    clicks = sum(occurrence.type is EventType.CLICK for occurrence in record.timeline)
    bits = FACT_BIT["complained"] if facts.complained_at is not None else 0
    if record.capped:
        bits |= FACT_BIT["capped"]
    return Tally(rules, dimensions, hour, -1, bits, (0, 0, 0, 0, opens, clicks))

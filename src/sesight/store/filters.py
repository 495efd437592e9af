"""What a filter means: its words, and the tests that a record has to pass."""

from __future__ import annotations

from collections.abc import Callable

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import EventType
from sesight.domain.outcome import NOT_DELIVERED, PENDING, Outcome, derive_facts
from sesight.domain.ports import RecordFilter
from sesight.domain.record import Record
from sesight.store import attention

PATIENCE = 10
"""Rows looked at per row asked for, before a page stops short with `searched_to`."""

GROUPS = {
    "not_delivered": frozenset(outcome.word for outcome in NOT_DELIVERED),
    "pending": frozenset(outcome.word for outcome in PENDING),
}
"""Words for several outcomes."""

WORDS = frozenset({*[outcome.word for outcome in Outcome], *attention.FACTS})
"""Words an outcome filter knows, beside the groups."""

_EVENTS = {str(event): event for event in EventType}

Test = Callable[[Record], bool]


def outcomes(wanted: RecordFilter) -> frozenset[str]:
    """Return the outcome words that a filter names, groups as their words. Raises InvalidRequest."""
    words: set[str] = set()
    for word in wanted.outcomes:
        words |= GROUPS.get(word, {word})
    if unknown := words - WORDS:
        raise InvalidRequest(f"There is no outcome {min(unknown)!r}.")
    return frozenset(words)


def event(wanted: RecordFilter) -> EventType | None:
    """Return the event type that a filter names. Raises InvalidRequest."""
    if wanted.event is None:
        return None
    if wanted.event not in _EVENTS:
        raise InvalidRequest(f"There is no event {wanted.event!r}.")
    return _EVENTS[wanted.event]


def kinds(outcomes: frozenset[str], event: EventType | None) -> list[int]:
    """Return the kinds of rare facts of which every record that is sought has one, empty if it may
    have none.
    """
    if outcomes and outcomes <= attention.KINDS.keys():
        return [attention.KINDS[word] for word in outcomes]
    if event in attention.EVENTS:
        return [attention.EVENTS[event]]
    if outcomes == {"delayed"}:
        return [attention.EVENTS[EventType.DELIVERY_DELAY]]
    return []


def sent_within(since: int | None, until: int | None) -> Test:
    """Sent within a half-open range (ms)."""

    def test(record: Record) -> bool:
        at = record.identity.sent_at
        return (since is None or at >= since) and (until is None or at < until)

    return test


def has_outcome(words: frozenset[str]) -> Test:
    """Has one of the outcomes, or facts beside it."""

    def test(record: Record) -> bool:
        said = derive_facts(record.timeline)
        return (
            (said.outcome.word in words and not record.is_unattributed)
            or (said.complained_at is not None and "complained" in words)
            or (said.unsubscribed_at is not None and "unsubscribed" in words)
        )

    return test


def has_event(event: EventType) -> Test:
    """Has an event of the type."""
    return lambda record: any(held.type is event for held in record.timeline)


def is_to(address: str) -> Test:
    """Is to the address."""
    return lambda record: record.recipient == address


def in_campaign(campaign: str) -> Test:
    """Is of the campaign."""
    return lambda record: record.campaign == campaign


def in_month(month: int) -> Test:
    """Is of the statement month."""

    def test(record: Record) -> bool:
        place = record.tally.dimensions if record.tally is not None else None
        return place is not None and place.month == month

    return test


def tests(wanted: RecordFilter) -> list[Test]:
    """Return every test that a record of a filter passes. Raises InvalidRequest for unknown words."""
    found: list[Test] = []
    said, kind = outcomes(wanted), event(wanted)
    if wanted.since is not None or wanted.until is not None:
        found.append(sent_within(wanted.since, wanted.until))
    if wanted.provider is not None:
        found.append(has_provider(wanted.provider))
    if said:
        found.append(has_outcome(said))
    if kind is not None:
        found.append(has_event(kind))
    if wanted.month is not None:
        found.append(in_month(wanted.month))
    if wanted.address is not None:
        found.append(is_to(wanted.address))
    if wanted.campaign is not None:
        found.append(in_campaign(wanted.campaign))
    return found


def has_provider(provider: str) -> Test:
    """Was sent by the provider."""
    return lambda record: record.identity.provider == provider

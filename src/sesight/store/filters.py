"""Filters of the message log: their words, and the predicates that a record has to pass."""

from __future__ import annotations

from collections.abc import Callable

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import EventType
from sesight.domain.outcome import NOT_DELIVERED, PENDING, Outcome, derive_facts
from sesight.domain.ports import RecordFilter
from sesight.domain.record import Record
from sesight.store import attention

GROUPS = {
    "not_delivered": frozenset(outcome.word for outcome in NOT_DELIVERED),
    "pending": frozenset(outcome.word for outcome in PENDING),
}
"""Words that stand for several outcomes."""

WORDS = frozenset({*[outcome.word for outcome in Outcome], *attention.FACTS})
"""Words of an outcome filter, beside the groups."""

_EVENTS = {str(event): event for event in EventType}

Predicate = Callable[[Record], bool]


def outcomes(filter_: RecordFilter) -> frozenset[str]:
    """Return the outcome words of a filter, groups as their words. Raises InvalidRequest."""
    words: set[str] = set()
    for word in filter_.outcomes:
        words |= GROUPS.get(word, {word})
    if unknown := words - WORDS:
        raise InvalidRequest(f"There is no outcome {min(unknown)!r}.")
    return frozenset(words)


def event(filter_: RecordFilter) -> EventType | None:
    """Return the event type of a filter. Raises InvalidRequest."""
    if filter_.event is None:
        return None
    if filter_.event not in _EVENTS:
        raise InvalidRequest(f"There is no event {filter_.event!r}.")
    return _EVENTS[filter_.event]


def kinds(outcomes: frozenset[str], event: EventType | None) -> list[int]:
    """Return kinds of rare facts of which every record in question has at least one; empty if the
    filter also matches ordinary records.
    """
    if outcomes and outcomes <= attention.KINDS.keys():
        return [attention.KINDS[word] for word in outcomes]
    if event in attention.EVENTS:
        return [attention.EVENTS[event]]
    if outcomes == {"delayed"}:
        return [attention.EVENTS[EventType.DELIVERY_DELAY]]
    return []


def sent_within(since: int | None, until: int | None) -> Predicate:
    """Match records sent within a half-open range (ms)."""

    def predicate(record: Record) -> bool:
        at = record.identity.sent_at
        return (since is None or at >= since) and (until is None or at < until)

    return predicate


def has_outcome(words: frozenset[str]) -> Predicate:
    """Match records that have one of the outcomes or facts."""

    def predicate(record: Record) -> bool:
        record_facts = derive_facts(record.timeline)
        return (
            (record_facts.outcome.word in words and not record.is_unattributed)
            or (record_facts.complained_at is not None and "complained" in words)
            or (record_facts.unsubscribed_at is not None and "unsubscribed" in words)
        )

    return predicate


def has_event(event: EventType) -> Predicate:
    """Match records that have an event of the type."""
    return lambda record: any(occurrence.type is event for occurrence in record.timeline)


def is_to(address: str) -> Predicate:
    """Match records of the address."""
    return lambda record: record.recipient == address


def in_campaign(campaign: str) -> Predicate:
    """Match records of the campaign."""
    return lambda record: record.campaign == campaign


def in_month(month: int) -> Predicate:
    """Match records of the statement month."""

    def predicate(record: Record) -> bool:
        place = record.tally.dimensions if record.tally is not None else None
        return place is not None and place.month == month

    return predicate


def has_provider(provider: str) -> Predicate:
    """Match records sent by the provider."""
    return lambda record: record.identity.provider == provider


def predicates(filter_: RecordFilter) -> list[Predicate]:
    """Return every predicate of a filter. Raises InvalidRequest for unknown words."""
    checks: list[Predicate] = []
    words, event_type = outcomes(filter_), event(filter_)
    if filter_.since is not None or filter_.until is not None:
        checks.append(sent_within(filter_.since, filter_.until))
    if filter_.provider is not None:
        checks.append(has_provider(filter_.provider))
    if words:
        checks.append(has_outcome(words))
    if event_type is not None:
        checks.append(has_event(event_type))
    if filter_.month is not None:
        checks.append(in_month(filter_.month))
    if filter_.address is not None:
        checks.append(is_to(filter_.address))
    if filter_.campaign is not None:
        checks.append(in_campaign(filter_.campaign))
    return checks

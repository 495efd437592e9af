"""Rare facts of records: the message log finds those records by an index of their own."""

from __future__ import annotations

from sesight.domain.event import EventType
from sesight.domain.outcome import Outcome, derive_facts
from sesight.domain.record import Record

# The numbers are stored in both stores' indexes: never change one.
OUTCOMES = {
    "soft_bounced": 1,
    "bounced": 2,
    "suppressed": 3,
    "rejected": 4,
    "failed": 5,
}
"""Rare outcomes, each with the number of its kind."""

FACTS = {"complained": 6, "unsubscribed": 7}
"""Rare facts beside the outcome, each with the number of its kind."""

EVENTS = {
    EventType.BOUNCE: 8,
    EventType.COMPLAINT: 9,
    EventType.SUBSCRIPTION: 10,
    EventType.REJECT: 11,
    EventType.RENDERING_FAILURE: 12,
    EventType.DELIVERY_DELAY: 13,
}
"""Rare event types, each with the number of its kind: a bounce that is no outcome is found by this."""

KINDS: dict[str, int] = {**OUTCOMES, **FACTS, **{str(event): n for event, n in EVENTS.items()}}
"""Every kind by its word."""

_BY_OUTCOME = {Outcome[word.upper()]: kind for word, kind in OUTCOMES.items()}
_TYPES = frozenset(EVENTS)


def kinds_of(record: Record) -> set[int]:
    """Return the kinds of a record; empty for an ordinary one."""
    kinds = {EVENTS[occurrence.type] for occurrence in record.timeline if occurrence.type in _TYPES}
    if kinds:
        record_facts = derive_facts(record.timeline)
        if record_facts.outcome in _BY_OUTCOME and not record.is_unattributed:
            kinds.add(_BY_OUTCOME[record_facts.outcome])
        if record_facts.complained_at is not None:
            kinds.add(FACTS["complained"])
        if record_facts.unsubscribed_at is not None:
            kinds.add(FACTS["unsubscribed"])
    return kinds

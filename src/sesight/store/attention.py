"""Rare facts of records, by which the message log finds a needle without reading the hay."""

from __future__ import annotations

from sesight.domain.event import EventType
from sesight.domain.outcome import Outcome, derive_facts
from sesight.domain.record import Record

OUTCOMES = {
    "soft_bounced": 1,
    "bounced": 2,
    "suppressed": 3,
    "rejected": 4,
    "failed": 5,
}
"""Outcomes that are rare, with their kind."""

FACTS = {"complained": 6, "unsubscribed": 7}
"""Facts beside the outcome that are rare, with their kind."""

EVENTS = {
    EventType.BOUNCE: 8,
    EventType.COMPLAINT: 9,
    EventType.SUBSCRIPTION: 10,
    EventType.REJECT: 11,
    EventType.RENDERING_FAILURE: 12,
    EventType.DELIVERY_DELAY: 13,
}
"""Event types that are rare, with their kind: a bounce that is no outcome is found by this one."""

KINDS: dict[str, int] = {**OUTCOMES, **FACTS, **{str(event): n for event, n in EVENTS.items()}}
"""Every kind by its word."""

_BY_OUTCOME = {Outcome[word.upper()]: kind for word, kind in OUTCOMES.items()}
_TYPES = frozenset(EVENTS)


def kinds_of(record: Record) -> set[int]:
    """Return the kinds of a record; empty for an ordinary one."""
    found = {EVENTS[held.type] for held in record.timeline if held.type in _TYPES}
    if found:
        said = derive_facts(record.timeline)
        if said.outcome in _BY_OUTCOME and not record.is_unattributed:
            found.add(_BY_OUTCOME[said.outcome])
        if said.complained_at is not None:
            found.add(FACTS["complained"])
        if said.unsubscribed_at is not None:
            found.add(FACTS["unsubscribed"])
    return found

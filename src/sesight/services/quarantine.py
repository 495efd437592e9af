"""The quarantine's second chance: bodies read again, by today's code and settings."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import Disposition, Event
from sesight.domain.ports import Changes
from sesight.domain.quarantine import QUARANTINE_REASONS
from sesight.domain.timestamps import DAY
from sesight.ingest.batch_quarantine import FUTURE
from sesight.ingest.reader import read
from sesight.ingest.reading import EventReading, Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from sesight.domain.ports import Store
    from sesight.domain.quarantine import Quarantined
    from sesight.ingest.pipeline import Pipeline

ORIGIN = "quarantine"
"""The origin of readings from the quarantine."""

_decode_event = msgspec.msgpack.Decoder(Event).decode

AT_ONCE = 200
"""Bodies tried in one transaction."""

_KEPT = frozenset({Disposition.QUARANTINED, Disposition.REFUSED})


class Retried(Struct, frozen=True):
    """What trying again did: how many bodies, how many of them were let go, what became of their
    events, and the reasons of those that stay.
    """

    bodies: int
    released: int
    dispositions: dict[str, int]
    reasons: dict[str, int]


def take_due(store: Store, pipeline: Pipeline, now: int) -> None:
    """Take events of messages that were not sent yet when they came, by a clock that was behind, and are
    now. Raises StoreUnavailable.
    """
    count = store.quarantine_counts().get(FUTURE, 0)
    waiting = iter(store.quarantine(count, FUTURE) if count else ())
    while held := list(islice(waiting, AT_ONCE)):
        events = {each.id: _decode_event(each.event) for each in held if each.event is not None}
        due = [each for each in held if each.id in events]
        due = [each for each in due if events[each.id].identity.sent_at <= now + DAY]
        readings = [EventReading(ORIGIN, events[each.id], body=each.body) for each in due]
        processed = pipeline.process(readings) if readings else []
        taken = [
            each.id
            for each, one in zip(due, processed, strict=True)
            if one.disposition not in _KEPT
        ]
        if taken:
            store.transact(lambda _, gone=taken: Changes({}, {}, {}, {}, [], gone))  # type: ignore[misc]


def every(
    store: Store, reason: str | None = None, limit: int | None = None
) -> Iterator[Quarantined]:
    """Yield every quarantined body once, of one reason or reason by reason, also if it gets another
    reason meanwhile; of each reason the newest `limit`.
    """
    seen: set[str] = set()
    for name in sorted(store.quarantine_counts()):
        if reason is None or name == reason:
            count = store.quarantine_counts().get(name, 0)
            for held in store.quarantine(count if limit is None else min(count, limit), name):
                if held.id not in seen:
                    seen.add(held.id)
                    yield held


def retry(
    store: Store,
    pipeline: Pipeline,
    known_sets: Collection[str],
    reason: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    limit: int | None = None,
) -> Retried:
    """Feed quarantined bodies in again, the newest `limit` of each reason, and let those go of which
    nothing is quarantined anew.

    A body is let go only after its events are committed: were the process to end between, trying
    again finds duplicates. Raises InvalidRequest for a reason that there is not, and StoreUnavailable.
    """
    counts = store.quarantine_counts()
    known = sorted({*QUARANTINE_REASONS, *counts})
    if reason is not None and reason not in known:
        raise InvalidRequest(f"There is no reason {reason!r}; the reasons are {', '.join(known)}.")
    total = sum(counts.values()) if reason is None else counts.get(reason, 0)
    waiting = every(store, reason, limit)
    bodies = released = 0
    dispositions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    while held := list(islice(waiting, AT_ONCE)):
        readings: list[Reading] = []
        ends = []
        for each in held:
            if each.reason == FUTURE and each.event is not None:
                readings.append(EventReading(ORIGIN, _decode_event(each.event), body=each.body))
            else:
                readings += read(each.body, ORIGIN, known_sets=known_sets)
            ends.append(len(readings))
        processed = pipeline.process(readings)
        dispositions.update([one.disposition.value for one in processed])
        begin, taken = 0, []
        for each, end in zip(held, ends, strict=True):
            kept = [one for one in processed[begin:end] if one.disposition in _KEPT]
            reasons.update([one.reason or one.disposition.value for one in kept])
            if end > begin and not kept:
                taken.append(each.id)
            begin = end
        if taken:
            store.transact(lambda _, gone=taken: Changes({}, {}, {}, {}, [], gone))  # type: ignore[misc]
        bodies += len(held)
        released += len(taken)
        if progress is not None:
            progress(bodies, total)
    return Retried(
        bodies, released, dict(sorted(dispositions.items())), dict(sorted(reasons.items()))
    )

"""Retry of the quarantine: its bodies are read again, by today's code and settings."""

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

BATCH_BODIES = 200
"""Bodies processed in one transaction."""

_STAYING = frozenset({Disposition.QUARANTINED, Disposition.REFUSED})
"""Dispositions of events whose body stays in the quarantine."""


class RetryResult(Struct, frozen=True):
    """The result of a retry: how many bodies were read, how many of them were released, the dispositions of
    their events, and the reasons of the events that keep a body in the quarantine.
    """

    bodies: int
    released: int
    dispositions: dict[str, int]
    reasons: dict[str, int]


def take_due(store: Store, pipeline: Pipeline, now: int) -> None:
    """Process events that were quarantined because their message was sent in the future, by a clock that was
    behind, and are due at `now` (ms). Raises StoreUnavailable.
    """
    count = store.quarantine_counts().get(FUTURE, 0)
    waiting = iter(store.quarantine(count, FUTURE) if count else ())
    while batch := list(islice(waiting, BATCH_BODIES)):
        events = {body.id: _decode_event(body.event) for body in batch if body.event is not None}
        due = [
            body
            for body in batch
            if body.id in events and events[body.id].identity.sent_at <= now + DAY
        ]
        readings = [EventReading(ORIGIN, events[body.id], body=body.body) for body in due]
        processed = pipeline.process(readings) if readings else []
        _release(
            store,
            [
                body.id
                for body, result in zip(due, processed, strict=True)
                if result.disposition not in _STAYING
            ],
        )


def quarantined_bodies(
    store: Store, reason: str | None = None, limit: int | None = None
) -> Iterator[Quarantined]:
    """Yield every quarantined body once, reason by reason, or only those of one reason; of each reason the
    newest `limit`. A body whose reason changes meanwhile is not yielded again.
    """
    seen: set[str] = set()
    for name in sorted(store.quarantine_counts()):
        if reason is None or name == reason:
            count = store.quarantine_counts().get(name, 0)
            for body in store.quarantine(count if limit is None else min(count, limit), name):
                if body.id not in seen:
                    seen.add(body.id)
                    yield body


def retry(
    store: Store,
    pipeline: Pipeline,
    known_sets: Collection[str],
    reason: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    limit: int | None = None,
) -> RetryResult:
    """Process quarantined bodies again, the newest `limit` of each reason, and release those of which no
    event is quarantined again.

    A body is released only after its events are committed: if the process ends in between, the next retry
    finds duplicates. `progress` is called with the bodies read so far and their total. Raises InvalidRequest
    for an unknown reason, and StoreUnavailable.
    """
    counts = store.quarantine_counts()
    known = sorted({*QUARANTINE_REASONS, *counts})
    if reason is not None and reason not in known:
        raise InvalidRequest(f"There is no reason {reason!r}; the reasons are {', '.join(known)}.")
    total = sum(counts.values()) if reason is None else counts.get(reason, 0)
    waiting = quarantined_bodies(store, reason, limit)
    bodies = released = 0
    dispositions: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    while batch := list(islice(waiting, BATCH_BODIES)):
        readings: list[Reading] = []
        ends = []
        for body in batch:
            if body.reason == FUTURE and body.event is not None:
                readings.append(EventReading(ORIGIN, _decode_event(body.event), body=body.body))
            else:
                readings += read(body.body, ORIGIN, known_sets=known_sets)
            ends.append(len(readings))
        processed = pipeline.process(readings)
        dispositions.update([result.disposition.value for result in processed])
        begin, done = 0, []
        for body, end in zip(batch, ends, strict=True):
            staying = [result for result in processed[begin:end] if result.disposition in _STAYING]
            reasons.update([result.reason or result.disposition.value for result in staying])
            if end > begin and not staying:
                done.append(body.id)
            begin = end
        _release(store, done)
        bodies += len(batch)
        released += len(done)
        if progress is not None:
            progress(bodies, total)
    return RetryResult(
        bodies, released, dict(sorted(dispositions.items())), dict(sorted(reasons.items()))
    )


def _release(store: Store, ids: list[str]) -> None:
    if ids:
        store.transact(lambda _: Changes({}, {}, {}, {}, [], ids))

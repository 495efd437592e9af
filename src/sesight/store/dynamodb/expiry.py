"""Expiry: deleting expired records where DynamoDB's own expiry does not, and what is kept beside them."""

from __future__ import annotations

from itertools import islice

from sesight.domain.ports import SweepResult
from sesight.store.dynamodb.components import Components


def sweep(store: Components, now: int, limit: int) -> SweepResult:
    """Delete old hour rows and quarantined bodies and, on a local engine, up to `limit` expired records
    and as many intents: on AWS, DynamoDB deletes these itself.
    """
    is_local = store.metadata.sweeps
    if is_local:
        store.retention.observe_clock(now)
    trusted = store.retention.trusted_time(now)
    live_from = store.retention.live_from(now)
    records = _sweep_records(store, limit, live_from) if is_local else 0
    hours = sum(store.rollups.sweep_hours(stream, trusted) for stream in store.streams)
    quarantined = store.quarantine.sweep(trusted)
    intents = store.send_log.sweep(trusted, limit) if is_local else 0
    return SweepResult(records, intents, quarantined, hours, live_from, doubted=trusted != now)


def _sweep_records(store: Components, limit: int, live_from: int) -> int:
    """Delete up to `limit` records sent before the UTC day `live_from`, except those held for a
    backfill; return how many.
    """
    deleted = 0
    for stream in store.streams:
        held_days = store.metadata.backfilled_days(stream, live_from, live_from)
        for day in store.metadata.days(stream, 0, live_from):
            if deleted < limit and day not in held_days:
                store.metadata.note_swept_to(day + 1)
                deleted += _sweep_day(store, stream, day, limit - deleted)
    return deleted


def _sweep_day(store: Components, stream: str, day: int, limit: int) -> int:
    entries = list(islice(store.message_log.entries_of_day(stream, day), limit))
    table = store.streams[stream].tracking.name
    store.client.delete_many(table, [entry.key for entry in entries])
    if len(entries) < limit:
        store.metadata.forget_day(stream, day)
    return len(entries)

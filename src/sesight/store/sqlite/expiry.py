"""Expiry: deleting expired records, the values that only they used, and what is kept beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sesight.domain.ports import SweepResult
from sesight.domain.timestamps import DAY
from sesight.store.attention import KINDS
from sesight.store.retention import Retention
from sesight.store.sqlite import backfill, quarantine, rollups, send_log
from sesight.store.sqlite.connection_pool import ConnectionPool
from sesight.store.sqlite.metadata import note_latest
from sesight.store.sqlite.row_id import first_id, sent_of


def sweep(pool: ConnectionPool, retention: Retention, now: int, limit: int) -> SweepResult:
    """Delete up to `limit` expired records and as many intents, and what was kept long enough beside
    them.
    """
    retention.observe_clock(now)
    trusted = retention.trusted_time(now)
    live_from = retention.live_from(now)
    with pool.writing() as (connection, _):
        records, swept_to = _sweep_records(connection, limit, live_from)
        if swept_to:
            note_latest(connection, "swept_to", swept_to)
        hours = rollups.sweep_hours(connection, trusted)
        quarantined = quarantine.sweep(connection, trusted)
        intents = send_log.sweep(connection, trusted, limit)
    retention.reread()
    return SweepResult(records, intents, quarantined, hours, live_from, doubted=trusted != now)


class _SweptRecords(NamedTuple):
    """How many records were deleted, and the first UTC day of which none was."""

    records: int
    swept_to: int


def _sweep_records(connection: sqlite3.Connection, limit: int, live_from: int) -> _SweptRecords:
    """Delete up to `limit` records sent before the UTC day `live_from`, except those held for a
    backfill.
    """
    deleted = swept_to = 0
    held_days = backfill.held_days(connection, live_from)
    for (number,) in connection.execute("SELECT no FROM stream").fetchall():
        days = sorted(day for stream, day in held_days if stream == number)
        for since, until in _between(days, live_from):
            while deleted < limit:
                rows, last = _delete_records(
                    connection,
                    first_id(number, since * DAY),
                    first_id(number, until * DAY),
                    limit - deleted,
                )
                if not rows:
                    break
                deleted += rows
                swept_to = max(swept_to, sent_of(last) // DAY + 1)
    if deleted < limit:
        _sweep_values(connection, min([live_from, *[day for _, day in held_days]]))
    return _SweptRecords(deleted, swept_to)


def _between(days: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
    """Yield the half-open ranges of days before `end` without the days given, which are in order."""
    since = 0
    for day in days:
        if since < day:
            yield since, day
        since = day + 1
    if since < end:
        yield since, end


def _delete_records(
    connection: sqlite3.Connection, low: int, high: int, limit: int
) -> tuple[int, int]:
    """Delete the earliest rows of an id range; return how many, and the last id."""
    (last,) = connection.execute(
        "SELECT max(id) FROM (SELECT id FROM record WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)",
        (low, high, limit),
    ).fetchone()
    if last is None:
        return 0, low
    connection.executemany(
        "DELETE FROM attention WHERE kind = ? AND id >= ? AND id <= ?",
        [(kind, low, last) for kind in KINDS.values()],
    )
    rows = connection.execute("DELETE FROM record WHERE id >= ? AND id <= ?", (low, last)).rowcount
    return rows, last


def _sweep_values(connection: sqlite3.Connection, live_from: int) -> None:
    """Delete shared values that only swept records used; once a day, since it reads them all."""
    row = connection.execute("SELECT value FROM meta WHERE name = 'values_swept'").fetchone()
    if row is not None and row[0] >= live_from:
        return
    deleted = connection.execute("DELETE FROM string WHERE last_day < ?", (live_from,)).rowcount
    if deleted:
        # other processes forget the numbers they remember when they see a new generation
        connection.execute(
            "INSERT INTO meta (name, value) VALUES ('generation', 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1"
        )
    connection.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES ('values_swept', ?)", (live_from,)
    )

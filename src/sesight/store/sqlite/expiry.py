"""Taking out what is past its time: expired records, values none of them uses, old hour rows."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sesight.domain.rollup import Family
from sesight.domain.timestamps import DAY, HOUR
from sesight.store import backfill
from sesight.store.attention import KINDS
from sesight.store.sqlite.rollups import FAMILIES
from sesight.store.sqlite.row_id import first_id, sent_of
from sesight.store.sqlite.suppressions import QUARANTINE_MS

HOURS_KEPT = 30 * 24
"""Hours of `hour` rows kept."""


class Removed(NamedTuple):
    """How many rows went, and the first UTC day of which none did."""

    records: int
    quarantined: int
    hours: int
    swept_to: int


def sweep(connection: sqlite3.Connection, now: int, limit: int, live_from: int) -> Removed:
    """Remove up to `limit` records sent before the UTC day `live_from`, save those held for a backfill,
    and what else is past its time.
    """
    removed = swept_to = 0
    held = backfill.held(connection, live_from)
    for (number,) in connection.execute("SELECT no FROM stream").fetchall():
        days = sorted(day for stream, day in held if stream == number)
        for since, until in _between(days, live_from):
            while removed < limit:
                rows, last = _records(
                    connection,
                    first_id(number, since * DAY),
                    first_id(number, until * DAY),
                    limit - removed,
                )
                if not rows:
                    break
                removed += rows
                swept_to = max(swept_to, sent_of(last) // DAY + 1)
    if removed < limit:
        _values(connection, min([live_from, *[day for _, day in held]]))
    hours = connection.execute(
        "DELETE FROM rollup WHERE family = ? AND bucket < ?",
        (FAMILIES[Family.HOUR], now // HOUR - HOURS_KEPT),
    ).rowcount
    quarantined = connection.execute(
        "DELETE FROM quarantine WHERE at < ?", (now - QUARANTINE_MS,)
    ).rowcount
    return Removed(removed, quarantined, hours, swept_to)


def _between(days: Sequence[int], end: int) -> Iterator[tuple[int, int]]:
    """Yield the ranges of days before `end` that the days in order leave, half-open."""
    since = 0
    for day in days:
        if since < day:
            yield since, day
        since = day + 1
    if since < end:
        yield since, end


def _records(connection: sqlite3.Connection, low: int, high: int, limit: int) -> tuple[int, int]:
    """Remove the earliest rows of an id range with their attention; return how many, and the last."""
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
    gone = connection.execute("DELETE FROM record WHERE id >= ? AND id <= ?", (low, last)).rowcount
    return gone, last


def _values(connection: sqlite3.Connection, live_from: int) -> None:
    """Remove shared values that only swept records used; once a day, since it reads them all."""
    found = connection.execute("SELECT value FROM meta WHERE name = 'values_swept'").fetchone()
    if found is not None and found[0] >= live_from:
        return
    gone = connection.execute("DELETE FROM string WHERE last_day < ?", (live_from,)).rowcount
    if gone:
        connection.execute(
            "INSERT INTO meta (name, value) VALUES ('generation', 1) "
            "ON CONFLICT (name) DO UPDATE SET value = value + 1"
        )
    connection.execute(
        "INSERT OR REPLACE INTO meta (name, value) VALUES ('values_swept', ?)", (live_from,)
    )

"""Taking out what is past its time: expired records, values none of them uses, old hour rows."""

from __future__ import annotations

import sqlite3

from sesight.domain.rollup import Family
from sesight.domain.text import DAY, HOUR
from sesight.store.attention import KINDS
from sesight.store.lists import QUARANTINE_MS
from sesight.store.rowid import first_id
from sesight.store.totals import FAMILIES

HOURS_KEPT = 30 * 24
"""Hours of `hour` rows kept."""


def sweep(connection: sqlite3.Connection, now: int, limit: int, live_from: int) -> int:
    """Remove up to `limit` records sent before the UTC day `live_from`; return how many."""
    removed = 0
    for (number,) in connection.execute("SELECT no FROM stream").fetchall():
        if removed < limit:
            removed += _records(
                connection, first_id(number, 0), first_id(number, live_from * DAY), limit - removed
            )
    if removed < limit:
        _values(connection, live_from)
    connection.execute(
        "DELETE FROM rollup WHERE family = ? AND bucket < ?",
        (FAMILIES[Family.HOUR], now // HOUR - HOURS_KEPT),
    )
    connection.execute("DELETE FROM quarantine WHERE at < ?", (now - QUARANTINE_MS,))
    return removed


def _records(connection: sqlite3.Connection, low: int, high: int, limit: int) -> int:
    """Remove the earliest rows of an id range with their attention."""
    (last,) = connection.execute(
        "SELECT max(id) FROM (SELECT id FROM record WHERE id >= ? AND id < ? ORDER BY id LIMIT ?)",
        (low, high, limit),
    ).fetchone()
    if last is None:
        return 0
    connection.executemany(
        "DELETE FROM attention WHERE kind = ? AND id >= ? AND id <= ?",
        [(kind, low, last) for kind in KINDS.values()],
    )
    return connection.execute("DELETE FROM record WHERE id >= ? AND id <= ?", (low, last)).rowcount


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

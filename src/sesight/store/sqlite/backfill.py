"""Send days that a backfill brought events of: their records are kept as if sent when it began."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from sesight.store.sqlite import rollups
from sesight.store.sqlite.interning import Interning


def is_held(connection: sqlite3.Connection, stream: str, day: int, live_from: int) -> bool:
    """Return whether the records of a send day are held for a backfill, though the day is expired."""
    row = connection.execute(
        "SELECT 1 FROM backfill JOIN stream ON stream.no = backfill.stream "
        "WHERE stream.id = ? AND day = ? AND taken_on >= ?",
        (stream, day, live_from),
    ).fetchone()
    return row is not None


def held_days(connection: sqlite3.Connection, live_from: int) -> set[tuple[int, int]]:
    """Return the (stream number, send day)s before the UTC day `live_from` whose records are held."""
    return set(
        connection.execute(
            "SELECT stream, day FROM backfill WHERE day < ? AND taken_on >= ?",
            (live_from, live_from),
        ).fetchall()
    )


def hold(
    connection: sqlite3.Connection,
    interning: Interning,
    days: Collection[tuple[str, int]],
    today: int,
    live_from: int,
) -> None:
    """Hold (stream, send day)s from today on, unless they are held or the store has totals of them."""
    for stream, day in days:
        if is_held(connection, stream, day, live_from) or rollups.has_day(connection, stream, day):
            continue
        connection.execute(
            "INSERT OR REPLACE INTO backfill (stream, day, taken_on) VALUES (?, ?, ?)",
            (interning.stream(stream), day, today),
        )

"""Send days that a backfill took events of: their records are kept as if sent on the day it began."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection

from sesight.store.sqlite import rollups as totals
from sesight.store.sqlite.interning import Numbers


def is_held(connection: sqlite3.Connection, stream: str, day: int, live_from: int) -> bool:
    """Return whether the records of a send day are held for a backfill, though it is over itself."""
    found = connection.execute(
        "SELECT 1 FROM backfill JOIN stream ON stream.no = backfill.stream "
        "WHERE stream.id = ? AND day = ? AND taken_on >= ?",
        (stream, day, live_from),
    ).fetchone()
    return found is not None


def held(connection: sqlite3.Connection, live_from: int) -> set[tuple[int, int]]:
    """Return the (stream's number, send day)s before the UTC day `live_from` whose records are held."""
    return set(
        connection.execute(
            "SELECT stream, day FROM backfill WHERE day < ? AND taken_on >= ?",
            (live_from, live_from),
        ).fetchall()
    )


def hold(
    connection: sqlite3.Connection,
    numbers: Numbers,
    places: Collection[tuple[str, int]],
    today: int,
    live_from: int,
) -> None:
    """Hold (stream, send day)s from today on, unless they are held or the store has totals of them."""
    for stream, day in places:
        if is_held(connection, stream, day, live_from) or totals.has_day(connection, stream, day):
            continue
        connection.execute(
            "INSERT OR REPLACE INTO backfill (stream, day, taken_on) VALUES (?, ?, ?)",
            (numbers.stream(stream), day, today),
        )

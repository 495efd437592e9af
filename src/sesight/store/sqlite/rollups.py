"""Rollup rows: sums that outlive the records, one wide row for each family, scope, dimension value and
bucket.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from functools import cache
from operator import add
from typing import Any

from sesight.domain.rollup import (
    BY_ATTEMPT,
    BY_HOUR,
    DIMENSIONED,
    HOURS_KEPT,
    Family,
    RollupKey,
    RollupRow,
    Rollups,
)
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import HOUR
from sesight.store.sqlite.interning import FAMILIES, Interning, find_campaign, find_stream
from sesight.store.sqlite.open_dimensions import bounded

TOTAL = 0
"""The family of a campaign's running totals: its day rows summed over the days, in bucket 0."""

_KEY = ("family", "scope", "dimension", "value", "bucket")
_COLUMN = {name: n for n, name in enumerate(COUNTERS)}
_COUNTS = ", ".join(COUNTERS)

_StoredKey = tuple[int, int, str, str, int]
"""The columns of `_KEY`."""


def _columns(names: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted(_COLUMN[name] for name in names))


_ALL = tuple(range(len(COUNTERS)))
_USUAL: dict[tuple[int, bool], tuple[int, ...]] = {
    (TOTAL, True): _columns(DIMENSIONED),
    (FAMILIES[Family.HOUR], False): _columns(BY_HOUR),
    (FAMILIES[Family.AGE], False): _columns(
        ("delivered", "humanOpened", "machineOnlyOpened", "humanClicked")
    ),
    (FAMILIES[Family.DAY], True): _columns(DIMENSIONED),
    (FAMILIES[Family.LINK], True): _columns(("humanClicked", "clicks", "machineClicks")),
    (FAMILIES[Family.MONTH], True): _columns(BY_ATTEMPT),
    (FAMILIES[Family.SUPPRESSED], True): _columns(("recipients",)),
}
"""The counters that rows usually have, by family and whether there is a dimension: a statement with
fewer columns is faster.
"""


@cache
def _upsert(columns: tuple[int, ...]) -> str:
    names = [COUNTERS[column] for column in columns]
    marks = ", ".join("?" * (len(_KEY) + len(names)))
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in names)
    return (
        f"INSERT INTO rollup ({', '.join((*_KEY, *names))}) VALUES ({marks}) "
        f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {added}"
    )


def add_increments(connection: sqlite3.Connection, interning: Interning, rollups: Rollups) -> None:
    """Add increments to the rows, and those of campaigns' day rows to the campaigns' totals."""
    changes: dict[_StoredKey, list[int]] = {}
    for key, counts in bounded(connection, interning, rollups).items():
        scope = interning.scope(key)
        family, dimension, value = FAMILIES[key.family], key.dimension, key.value
        changes[family, scope, dimension, value, key.bucket] = counts
        if key.campaign and key.family == Family.DAY:
            total = (TOTAL, scope, dimension, value, 0)
            before = changes.get(total)
            changes[total] = counts if before is None else list(map(add, before, counts))
    statements: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
    for stored_key in sorted(changes):
        counts = changes[stored_key]
        columns = _USUAL.get((stored_key[0], bool(stored_key[2])), _ALL)
        values = [counts[column] for column in columns]
        if len(values) < len(counts) and sum(map(bool, values)) != sum(map(bool, counts)):
            columns, values = _ALL, counts
        statements.setdefault(columns, []).append((*stored_key, *values))
    for columns, rows in statements.items():
        connection.executemany(_upsert(columns), rows)


_SUM_DAYS = (
    f"INSERT INTO rollup (family, scope, dimension, value, bucket, {_COUNTS}) "
    f"SELECT ?, scope, dimension, value, 0, {', '.join(f'sum({name})' for name in COUNTERS)} "
    "FROM rollup WHERE family = ? AND scope = ? GROUP BY scope, dimension, value"
)


def repair(connection: sqlite3.Connection, interning: Interning, rollups: Rollups) -> None:
    """Add increments that a recount found missing, and sum the totals of their campaigns anew: a total
    may be right where a day is wrong, and the other way round.
    """
    missing = {key: counts for key, counts in rollups.items() if any(counts)}
    add_increments(connection, interning, missing)
    for stream, campaign in sorted({(key.stream, key.campaign) for key in rollups if key.campaign}):
        scope = interning.campaign(stream, campaign)
        connection.execute("DELETE FROM rollup WHERE family = ? AND scope = ?", (TOTAL, scope))
        connection.execute(_SUM_DAYS, (TOTAL, FAMILIES[Family.DAY], scope))


def read(
    connection: sqlite3.Connection,
    family: str,
    stream: str,
    campaign: str = "",
    since: int | None = None,
    until: int | None = None,
    dimension: str | None = None,
) -> list[RollupRow]:
    """Return rows of one family and scope in order of their key; see the port."""
    scope = (
        find_campaign(connection, stream, campaign) if campaign else find_stream(connection, stream)
    )
    if scope is None or family not in FAMILIES:
        return []
    where = "family = ? AND scope = ?"
    bound: list[Any] = [FAMILIES[family], scope if campaign else -scope]
    for condition, value in (
        ("dimension = ?", dimension),
        ("bucket >= ?", since),
        ("bucket < ?", until),
    ):
        if value is not None:
            where += f" AND {condition}"
            bound.append(value)
    rows = connection.execute(
        f"SELECT bucket, dimension, value, {_COUNTS} FROM rollup WHERE {where} "
        "ORDER BY dimension, value, bucket",
        bound,
    ).fetchall()
    return [
        RollupRow(RollupKey(family, stream, campaign, *row[:3]), row[3:])
        for row in rows
        if any(row[3:])
    ]


def has_day(connection: sqlite3.Connection, stream: str, day: int) -> bool:
    """Return whether anything is counted on a stream's send day."""
    return bool(read(connection, Family.DAY, stream, "", day, day + 1, ""))


def campaign_totals(connection: sqlite3.Connection, stream: str, campaign: str) -> list[RollupRow]:
    """Return a campaign's running totals; see the port."""
    rows = connection.execute(
        f"SELECT dimension, value, {_COUNTS} FROM rollup WHERE family = {TOTAL} AND scope = ? "
        "ORDER BY dimension, value",
        (find_campaign(connection, stream, campaign),),
    ).fetchall()
    return [
        RollupRow(RollupKey(Family.DAY, stream, campaign, 0, *row[:2]), row[2:])
        for row in rows
        if any(row[2:])
    ]


def sweep_hours(connection: sqlite3.Connection, now: int) -> int:
    """Delete hour rows that were kept long enough; return how many."""
    return connection.execute(
        "DELETE FROM rollup WHERE family = ? AND bucket < ?",
        (FAMILIES[Family.HOUR], now // HOUR - HOURS_KEPT),
    ).rowcount

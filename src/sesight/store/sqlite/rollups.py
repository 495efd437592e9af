"""Rollups and cards: sums that outlive the records."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence
from functools import cache
from operator import add as plus
from typing import Any

from sesight.domain.card import MULTIPLE_SUBJECTS, Card
from sesight.domain.rollup import (
    BY_ATTEMPT,
    BY_HOUR,
    DIMENSIONED,
    Family,
    RollupKey,
    RollupRow,
    Rollups,
)
from sesight.domain.tally import COUNTERS
from sesight.store.sqlite.interning import Numbers

TOTAL = 0
"""The family of a campaign's running totals: its day rows summed over the days, in bucket 0."""

FAMILIES = {family: number for number, family in enumerate(Family, start=1)}
"""Each family with its number in a row."""
_KEY = ("family", "scope", "dimension", "value", "bucket")
_AT = {name: n for n, name in enumerate(COUNTERS)}
_COUNTS = ", ".join(COUNTERS)


def _columns(names: Iterable[str]) -> tuple[int, ...]:
    return tuple(sorted(_AT[name] for name in names))


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
"""The counters that rows of a kind usually have, by family and whether there is a dimension: fewer
columns make a faster statement."""

_Head = tuple[int, int, str, str, int]
"""What a row is known by: the columns of `_KEY`."""


@cache
def _upsert(columns: tuple[int, ...]) -> str:
    names = [COUNTERS[at] for at in columns]
    marks = ", ".join("?" * (len(_KEY) + len(names)))
    added = ", ".join(f"{name} = {name} + excluded.{name}" for name in names)
    return (
        f"INSERT INTO rollup ({', '.join((*_KEY, *names))}) VALUES ({marks}) "
        f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {added}"
    )


CLOSED = frozenset({"", "mailbox", "reason", "attempt"})
"""Dimensions whose values are a closed list; the values of all others are counted and bounded."""

VALUES = 1_000
"""Values of one dimension that a scope has rows for; further ones share the row of `~other`."""

OTHER = "~other"
"""The value of that row."""

_IN_ROWS = """
WITH RECURSIVE known (value) AS (
  SELECT min(value) FROM rollup WHERE family = ?1 AND scope = ?2 AND dimension = ?3
  UNION ALL
  SELECT (SELECT min(value) FROM rollup
          WHERE family = ?1 AND scope = ?2 AND dimension = ?3 AND value > known.value)
  FROM known WHERE known.value IS NOT NULL
) SELECT value FROM known WHERE value IS NOT NULL
"""


def bounded(connection: sqlite3.Connection, numbers: Numbers, rollups: Rollups) -> Rollups:
    """Return the increments under the rows that keep them.

    A value that has a row keeps it for ever, one that came when its scope was full never gets one:
    so each row still is the sum of tallies, and only which values have rows depends on who came first.
    """
    kept: Rollups = {}
    for key in sorted(rollups):
        counts = rollups[key]
        if key.dimension not in CLOSED and not _has_row(connection, numbers, key):
            key = key._replace(value=OTHER)  # noqa: PLW2901 - the same counts under another row
        held = kept.get(key)
        kept[key] = counts if held is None else list(map(plus, held, counts))
    return kept


def _has_row(connection: sqlite3.Connection, numbers: Numbers, key: RollupKey) -> bool:
    scope = (
        numbers.campaign(key.stream, key.campaign) if key.campaign else -numbers.stream(key.stream)
    )
    head = (FAMILIES[Family(key.family)], scope, key.dimension)
    known = numbers.valued.get(head)
    if known is None:
        found = connection.execute(_IN_ROWS, head).fetchall()
        known = numbers.valued[head] = {value for (value,) in found}
    if key.value in known:
        return True
    if len(known) >= VALUES:
        # another process may have given it a row meanwhile
        there = (
            "SELECT 1 FROM rollup WHERE family = ? AND scope = ? AND dimension = ? AND value = ?"
        )
        if connection.execute(f"{there} LIMIT 1", (*head, key.value)).fetchone() is None:
            return False
    known.add(key.value)
    return True


def add(connection: sqlite3.Connection, numbers: Numbers, rollups: Rollups) -> None:
    """Add increments to the rows, and those of campaigns' day rows to the campaigns' totals."""
    changes: dict[_Head, list[int]] = {}
    for key, counts in bounded(connection, numbers, rollups).items():
        family, stream, campaign, bucket, dimension, value = key
        scope = numbers.campaign(stream, campaign) if campaign else -numbers.stream(stream)
        changes[FAMILIES[Family(family)], scope, dimension, value, bucket] = counts
        if campaign and family == Family.DAY:
            total = (TOTAL, scope, dimension, value, 0)
            held = changes.get(total)
            changes[total] = counts if held is None else list(map(plus, held, counts))
    batches: dict[tuple[int, ...], list[tuple[Any, ...]]] = {}
    for head in sorted(changes):
        counts = changes[head]
        columns = _USUAL.get((head[0], bool(head[2])), _ALL)
        some = [counts[at] for at in columns]
        if len(some) < len(counts) and sum(map(bool, some)) != sum(map(bool, counts)):
            columns, some = _ALL, counts
        if columns in batches:
            batches[columns].append((*head, *some))
        else:
            batches[columns] = [(*head, *some)]
    for columns, rows in batches.items():
        connection.executemany(_upsert(columns), rows)


def mend(connection: sqlite3.Connection, numbers: Numbers, rollups: Rollups) -> None:
    """Add increments that a recount found missing, and sum anew the days of their campaigns: a
    running total may be right where a day is wrong, and the other way round.
    """
    add(connection, numbers, {key: counts for key, counts in rollups.items() if any(counts)})
    for stream, campaign in sorted({(key.stream, key.campaign) for key in rollups if key.campaign}):
        scope = numbers.campaign(stream, campaign)
        connection.execute("DELETE FROM rollup WHERE family = ? AND scope = ?", (TOTAL, scope))
        connection.execute(_SUM_ANEW, (TOTAL, FAMILIES[Family.DAY], scope))


_SUM_ANEW = (
    f"INSERT INTO rollup (family, scope, dimension, value, bucket, {_COUNTS}) "
    f"SELECT ?, scope, dimension, value, 0, {', '.join(f'sum({name})' for name in COUNTERS)} "
    "FROM rollup WHERE family = ? AND scope = ? GROUP BY scope, dimension, value"
)


def rows(
    connection: sqlite3.Connection,
    family: str,
    stream: str,
    campaign: str,
    since: int | None,
    until: int | None,
    dimension: str | None,
) -> list[RollupRow]:
    """Return rows of one family and scope in order of their key; see the port."""
    scope = (
        find_campaign(connection, stream, campaign) if campaign else find_stream(connection, stream)
    )
    if scope is None or family not in FAMILIES:
        return []
    wanted = "family = ? AND scope = ?"
    bound: list[Any] = [FAMILIES[Family(family)], scope if campaign else -scope]
    if dimension is not None:
        wanted += " AND dimension = ?"
        bound.append(dimension)
    if since is not None:
        wanted += " AND bucket >= ?"
        bound.append(since)
    if until is not None:
        wanted += " AND bucket < ?"
        bound.append(until)
    found = connection.execute(
        f"SELECT bucket, dimension, value, {_COUNTS} FROM rollup WHERE {wanted} "
        "ORDER BY dimension, value, bucket",
        bound,
    ).fetchall()
    return [
        RollupRow(RollupKey(family, stream, campaign, row[0], row[1], row[2]), row[3:])
        for row in found
        if any(row[3:])
    ]


_OF_CAMPAIGN = (
    f"SELECT dimension, value, {_COUNTS} FROM rollup WHERE family = {TOTAL} AND scope = ? "
    "ORDER BY dimension, value"
)


def has_day(connection: sqlite3.Connection, stream: str, day: int) -> bool:
    """Return whether anything is counted on a stream's send day."""
    return any(
        any(row.counts) for row in rows(connection, Family.DAY, stream, "", day, day + 1, "")
    )


def of_campaign(connection: sqlite3.Connection, stream: str, campaign: str) -> list[RollupRow]:
    """Return a campaign's running totals; see the port."""
    return [
        RollupRow(RollupKey(Family.DAY, stream, campaign, 0, row[0], row[1]), row[2:])
        for row in connection.execute(
            _OF_CAMPAIGN, (find_campaign(connection, stream, campaign),)
        ).fetchall()
        if any(row[2:])
    ]


def find_stream(connection: sqlite3.Connection, stream: str) -> int | None:
    """Return the number of a stream, None if there is none."""
    found = connection.execute("SELECT no FROM stream WHERE id = ?", (stream,)).fetchone()
    return found[0] if found else None


def find_campaign(connection: sqlite3.Connection, stream: str, campaign: str) -> int | None:
    """Return the number of a campaign, None if there is none."""
    found = connection.execute(
        "SELECT c.id FROM campaign c JOIN stream s ON s.no = c.stream WHERE s.id = ? AND c.name = ?",
        (stream, campaign),
    ).fetchone()
    return found[0] if found else None


_CARD = ("name", "provider", "sender", "subject", "template")
_TIMES = ("first_sent_at", "last_sent_at", "last_event_at")


def _joined(name: str, how: str) -> str:
    """Write the join of one field of a card: any value beats none."""
    return f"{name} = coalesce({how}(card.{name}, excluded.{name}), card.{name}, excluded.{name})"


def _altered(name: str) -> str:
    """Write `sesight.domain.event.is_altered` of a name."""
    marked, dated = [f"'?*-{digit * 8}'" for digit in ("[0-9a-f]", "[0-9]")]
    return (
        f"({name} GLOB {marked} AND {name} NOT GLOB {dated} AND {name} NOT GLOB '*[^A-Za-z0-9_-]*')"
    )


_NAME = (
    f"name = coalesce(CASE {_altered('card.name')} - {_altered('excluded.name')} "
    "WHEN 1 THEN excluded.name WHEN -1 THEN card.name END, "
    "min(card.name, excluded.name), card.name, excluded.name)"
)

# a subject that differs from recipient to recipient may name them, and a card is kept for ever
_SUBJECT = (
    "subject = CASE WHEN card.subject IS NULL THEN excluded.subject "
    "WHEN excluded.subject IS NULL OR excluded.subject = card.subject THEN card.subject "
    f"ELSE '{MULTIPLE_SUBJECTS}' END"
)

_JOIN = (
    f"INSERT INTO card (campaign, {', '.join(_CARD + _TIMES)}) "
    f"VALUES ({', '.join('?' * (1 + len(_CARD + _TIMES)))}) ON CONFLICT (campaign) DO UPDATE SET "
    + ", ".join(
        [_NAME, _SUBJECT]
        + [_joined(name, "min") for name in ("provider", "sender", "template", "first_sent_at")]
        + [_joined(name, "max") for name in ("last_sent_at", "last_event_at")]
    )
)


def join_cards(connection: sqlite3.Connection, numbers: Numbers, cards: Iterable[Card]) -> None:
    """Join cards into those stored."""
    connection.executemany(
        _JOIN,
        [
            (
                numbers.campaign(card.stream, card.campaign),
                card.name,
                card.provider,
                card.sender,
                card.subject,
                card.template,
                card.first_sent_at,
                card.last_sent_at,
                card.last_event_at,
            )
            for card in cards
        ],
    )


_CARD_COLUMNS = ", ".join(f"card.{name}" for name in _CARD + _TIMES)
_NONE = (0,) * len(COUNTERS)


def cards(
    connection: sqlite3.Connection, streams: Collection[str]
) -> list[tuple[Card, Sequence[int]]]:
    """Return every card of the streams with its campaign's totals."""
    marks = ",".join("?" * len(streams))
    found = connection.execute(
        f"SELECT stream.id, campaign.name, {_CARD_COLUMNS}, "
        + ", ".join(f"rollup.{name}" for name in COUNTERS)
        + " FROM stream JOIN campaign ON campaign.stream = stream.no "
        "JOIN card ON card.campaign = campaign.id "
        f"LEFT JOIN rollup ON rollup.family = {TOTAL} AND rollup.scope = campaign.id "
        "AND rollup.dimension = '' AND rollup.value = '' AND rollup.bucket = 0 "
        f"WHERE stream.id IN ({marks}) ORDER BY campaign.id",
        tuple(streams),
    ).fetchall()
    return [(Card(*row[:10]), row[10:] if row[10] is not None else _NONE) for row in found]


def card(connection: sqlite3.Connection, stream: str, campaign: str) -> Card | None:
    """Return one card."""
    found = connection.execute(
        f"SELECT {_CARD_COLUMNS} FROM card WHERE campaign = ?",
        (find_campaign(connection, stream, campaign),),
    ).fetchone()
    return Card(stream, campaign, *found) if found else None

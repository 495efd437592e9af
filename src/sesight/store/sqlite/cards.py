"""Campaign cards: a campaign's identity and times, kept for ever."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Sequence

from sesight.domain.card import MULTIPLE_SUBJECTS, Card
from sesight.domain.tally import COUNTERS
from sesight.store.sqlite.interning import Interning, find_campaign
from sesight.store.sqlite.rollups import TOTAL

_NAMES = ("name", "provider", "sender", "subject", "template")
_TIMES = ("first_sent_at", "last_sent_at", "last_event_at")
_COLUMNS = ", ".join(f"card.{name}" for name in _NAMES + _TIMES)
_NO_COUNTS = (0,) * len(COUNTERS)

# The join of two cards is `sesight.domain.ports.Card.joined`, written in SQL: a card is one row that
# every batch of its campaign joins into, without reading it first.


def _joined(name: str, which: str) -> str:
    """Write the join of one field: any value beats none."""
    return f"{name} = coalesce({which}(card.{name}, excluded.{name}), card.{name}, excluded.{name})"


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
    f"INSERT INTO card (campaign, {', '.join(_NAMES + _TIMES)}) "
    f"VALUES ({', '.join('?' * (1 + len(_NAMES + _TIMES)))}) ON CONFLICT (campaign) DO UPDATE SET "
    + ", ".join(
        [_NAME, _SUBJECT]
        + [_joined(name, "min") for name in ("provider", "sender", "template", "first_sent_at")]
        + [_joined(name, "max") for name in ("last_sent_at", "last_event_at")]
    )
)


def join(connection: sqlite3.Connection, interning: Interning, cards: Iterable[Card]) -> None:
    """Join cards into those stored."""
    connection.executemany(
        _JOIN,
        [
            (
                interning.campaign(card.stream, card.campaign),
                *[getattr(card, name) for name in _NAMES + _TIMES],
            )
            for card in cards
        ],
    )


def get(connection: sqlite3.Connection, stream: str, campaign: str) -> Card | None:
    """Return one card."""
    row = connection.execute(
        f"SELECT {_COLUMNS} FROM card WHERE campaign = ?",
        (find_campaign(connection, stream, campaign),),
    ).fetchone()
    return Card(stream, campaign, *row) if row else None


def get_all(
    connection: sqlite3.Connection, streams: Collection[str]
) -> list[tuple[Card, Sequence[int]]]:
    """Return every card of the streams with its campaign's total."""
    marks = ",".join("?" * len(streams))
    rows = connection.execute(
        f"SELECT stream.id, campaign.name, {_COLUMNS}, "
        + ", ".join(f"rollup.{name}" for name in COUNTERS)
        + " FROM stream JOIN campaign ON campaign.stream = stream.no "
        "JOIN card ON card.campaign = campaign.id "
        f"LEFT JOIN rollup ON rollup.family = {TOTAL} AND rollup.scope = campaign.id "
        "AND rollup.dimension = '' AND rollup.value = '' AND rollup.bucket = 0 "
        f"WHERE stream.id IN ({marks}) ORDER BY campaign.id",
        tuple(streams),
    ).fetchall()
    return [(Card(*row[:10]), row[10:] if row[10] is not None else _NO_COUNTS) for row in rows]

"""Interning: numbers for streams, campaigns and values that many records share."""

from __future__ import annotations

import sqlite3
from typing import Any

from sesight.domain.errors import SettingsError
from sesight.domain.rollup import Family, RollupKey
from sesight.store.sqlite.row_id import STREAMS, value_key
from sesight.store.sqlite.shared_values import SPAN, SharedValues, ValueIds, last_day, pack_value

CACHED = 400_000
"""Shared values whose numbers are remembered (some tens of MB)."""

FAMILIES: dict[str, int] = {family: number for number, family in enumerate(Family, start=1)}
"""The number of each rollup family: never change one."""


class Interning:
    """The numbers that the writer remembers. `forget` them after a rollback: it revokes new ones."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._streams: dict[str, int] = {}
        self._stream_names: dict[int, str] = {}
        self._campaigns: dict[tuple[str, str], int] = {}
        self.campaign_of_head: dict[tuple[str, int], int] = {}
        """The campaign of each (stream, number of a head): see `record_codec`."""
        self.dimension_values: dict[tuple[int, int, str], set[str]] = {}
        """The values that have rows, by (family, scope, dimension): see `open_dimensions`."""
        self._spans: dict[int, ValueIds] = {}
        self._generation: int | None = None
        self.values = shared_values_of(connection)

    def forget(self) -> None:
        """Forget all numbers: they may stem from a transaction that was rolled back."""
        self._streams.clear()
        self._stream_names.clear()
        self._campaigns.clear()
        self.campaign_of_head.clear()
        self.dimension_values.clear()
        self._spans.clear()
        self.values = shared_values_of(self._connection)

    def begin(self) -> None:
        """Forget the numbers of shared values that a sweep, here or in another process, deleted."""
        row = self._connection.execute(
            "SELECT value FROM meta WHERE name = 'generation'"
        ).fetchone()
        generation = row[0] if row else 0
        if sum(map(len, self.dimension_values.values())) > CACHED:
            self.dimension_values.clear()
        if generation != self._generation or sum(map(len, self._spans.values())) > CACHED:
            self._spans.clear()
            self.campaign_of_head.clear()
            self._generation = generation

    def stream(self, name: str) -> int:
        """Return the number of a stream, a new one if need be. Raises SettingsError past 63."""
        number = self._streams.get(name)
        if number is None:
            execute = self._connection.execute
            row = execute("SELECT no FROM stream WHERE id = ?", (name,)).fetchone()
            if row is None:
                (number,) = execute("SELECT coalesce(max(no), 0) + 1 FROM stream").fetchone()
                if number > STREAMS:
                    raise SettingsError(
                        f"A store holds at most {STREAMS} streams; {name!r} is more."
                    )
                execute("INSERT INTO stream (no, id) VALUES (?, ?)", (number, name))
            else:
                (number,) = row
            self._streams[name] = number
        return number

    def stream_name(self, number: int) -> str:
        """Return the name of a stream's number."""
        name = self._stream_names.get(number)
        if name is None:
            (name,) = self._connection.execute(
                "SELECT id FROM stream WHERE no = ?", (number,)
            ).fetchone()
            self._stream_names[number] = name
        return name

    def campaign(self, stream: str, name: str) -> int:
        """Return the number of a campaign, a new one if need be."""
        number = self._campaigns.get((stream, name))
        if number is None:
            if len(self._campaigns) > CACHED:
                self._campaigns.clear()
            execute = self._connection.execute
            key = (self.stream(stream), name)
            row = execute("SELECT id FROM campaign WHERE stream = ? AND name = ?", key).fetchone()
            if row is None:
                number = execute("INSERT INTO campaign (stream, name) VALUES (?, ?)", key).lastrowid
                assert number is not None  # noqa: S101 - an INSERT has one
            else:
                (number,) = row
            self._campaigns[(stream, name)] = number
        return number

    def scope(self, key: RollupKey) -> int:
        """Return the scope of a rollup row: its campaign's number, or minus its stream's."""
        return self.campaign(key.stream, key.campaign) if key.campaign else -self.stream(key.stream)

    def value_ids(self, sent_at: int) -> ValueIds:
        """Return the numbers of shared values for records of this send time (ms)."""
        span = sent_at // SPAN
        ids = self._spans.get(span)
        if ids is None:
            ids = self._spans[span] = ValueIds(self._value_id, last_day(span))
        return ids

    def _value_id(self, value: Any, until: int) -> int:
        """Return the number of a shared value, a new one if need be; it is kept to day `until`."""
        data = pack_value(value)
        key = value_key(data)
        execute = self._connection.execute
        for number, stored, kept_to in execute(
            "SELECT id, value, last_day FROM string WHERE hash = ?", (key,)
        ).fetchall():
            if stored == data:
                if kept_to < until:
                    execute("UPDATE string SET last_day = ? WHERE id = ?", (until, number))
                return int(number)
        added = execute(
            "INSERT INTO string (hash, last_day, value) VALUES (?, ?, ?)", (key, until, data)
        ).lastrowid
        assert added is not None  # noqa: S101 - an INSERT has one
        return added


def shared_values_of(connection: sqlite3.Connection) -> SharedValues:
    """Return the shared values as the connection sees them."""

    def read(number: int) -> bytes:
        row = connection.execute("SELECT value FROM string WHERE id = ?", (number,)).fetchone()
        if row is None:
            raise sqlite3.DatabaseError(f"shared value {number} is missing")
        return bytes(row[0])

    return SharedValues(read)


def find_stream(connection: sqlite3.Connection, stream: str) -> int | None:
    """Return the number of a stream, None if there is none."""
    row = connection.execute("SELECT no FROM stream WHERE id = ?", (stream,)).fetchone()
    return row[0] if row else None


def find_campaign(connection: sqlite3.Connection, stream: str, campaign: str) -> int | None:
    """Return the number of a campaign, None if there is none."""
    row = connection.execute(
        "SELECT c.id FROM campaign c JOIN stream s ON s.no = c.stream WHERE s.id = ? AND c.name = ?",
        (stream, campaign),
    ).fetchone()
    return row[0] if row else None

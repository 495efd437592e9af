"""Numbers for what is named often: streams, campaigns and shared values, inside a transaction."""

from __future__ import annotations

import sqlite3
from typing import Any

from sesight.domain.errors import SettingsError
from sesight.store.sqlite.row_id import STREAMS, value_key
from sesight.store.sqlite.shared_values import SPAN, Shared, Values, last_day, pack_value

CACHED = 400_000
"""Shared values whose numbers are remembered (some tens of MB)."""


class Numbers:
    """What the writer remembers of numbers; `forget` after a rollback, which takes new ones back."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Remember nothing yet."""
        self._connection = connection
        self._streams: dict[str, int] = {}
        self._stream_names: dict[int, str] = {}
        self._campaigns: dict[tuple[str, str], int] = {}
        self.campaigns: dict[tuple[str, int], int] = {}
        self.valued: dict[tuple[int, int, str], set[str]] = {}
        self._spans: dict[int, Shared] = {}
        self._generation: int | None = None
        self.values = reading(connection)

    def forget(self) -> None:
        """Forget everything: it may be of a transaction that was rolled back."""
        self._streams.clear()
        self._stream_names.clear()
        self._campaigns.clear()
        self.campaigns.clear()
        self.valued.clear()
        self._spans.clear()
        self.values = reading(self._connection)

    def begin(self) -> None:
        """Forget numbers of shared values that a sweep, here or elsewhere, took away meanwhile."""
        found = self._connection.execute(
            "SELECT value FROM meta WHERE name = 'generation'"
        ).fetchone()
        generation = found[0] if found else 0
        if sum(map(len, self.valued.values())) > CACHED:
            self.valued.clear()
        if generation != self._generation or sum(map(len, self._spans.values())) > CACHED:
            self._spans.clear()
            self.campaigns.clear()
            self._generation = generation

    def stream(self, name: str) -> int:
        """Return the number of a stream, a new one if need be. Raises SettingsError past 63."""
        number = self._streams.get(name)
        if number is None:
            execute = self._connection.execute
            found = execute("SELECT no FROM stream WHERE id = ?", (name,)).fetchone()
            if found is None:
                (number,) = execute("SELECT coalesce(max(no), 0) + 1 FROM stream").fetchone()
                if number > STREAMS:
                    raise SettingsError(
                        f"A store holds at most {STREAMS} streams; {name!r} is more."
                    )
                execute("INSERT INTO stream (no, id) VALUES (?, ?)", (number, name))
            else:
                (number,) = found
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
            found = execute("SELECT id FROM campaign WHERE stream = ? AND name = ?", key).fetchone()
            if found is None:
                number = execute("INSERT INTO campaign (stream, name) VALUES (?, ?)", key).lastrowid
                assert number is not None  # noqa: S101 - an INSERT has one
            else:
                (number,) = found
            self._campaigns[(stream, name)] = number
        return number

    def shared(self, sent_at: int) -> Shared:
        """Return the numbers of shared values for records of this send time (ms)."""
        span = sent_at // SPAN
        held = self._spans.get(span)
        if held is None:
            held = self._spans[span] = Shared(self._number, last_day(span))
        return held

    def _number(self, value: Any, until: int) -> int:
        """Return the number of a shared value, a new one if need be; it is kept to day `until`."""
        data = pack_value(value)
        key = value_key(data)
        execute = self._connection.execute
        for number, held, kept_to in execute(
            "SELECT id, value, last_day FROM string WHERE hash = ?", (key,)
        ).fetchall():
            if held == data:
                if kept_to < until:
                    execute("UPDATE string SET last_day = ? WHERE id = ?", (until, number))
                return int(number)
        added = execute(
            "INSERT INTO string (hash, last_day, value) VALUES (?, ?, ?)", (key, until, data)
        ).lastrowid
        assert added is not None  # noqa: S101 - an INSERT has one
        return added


def reading(connection: sqlite3.Connection) -> Values:
    """Return the shared values as the connection sees them."""

    def read(number: int) -> bytes:
        found = connection.execute("SELECT value FROM string WHERE id = ?", (number,)).fetchone()
        if found is None:
            raise sqlite3.DatabaseError(f"shared value {number} is missing")
        return bytes(found[0])

    return Values(read)

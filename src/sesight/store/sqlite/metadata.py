"""What the store writes down of itself: retention, the clock, first day, newest event, list versions."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

from sesight.store.retention import (
    ClockState,
    RetentionSetting,
    RetentionState,
    SettingsChange,
)
from sesight.store.sqlite.connection_pool import ConnectionPool

_CLOCK = ("known_at", "doubted_from", "doubted_at", "doubted_event_at")
"""Names of the fields of `ClockState`, in its order."""

_LIST = "list:"
"""Prefix of a suppression list's version."""


def note_latest(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Write down a number; the greatest stays."""
    _note(connection, name, value, "max")


def note_first(connection: sqlite3.Connection, name: str, value: int) -> None:
    """Write down a number; the least stays."""
    _note(connection, name, value, "min")


def _note(connection: sqlite3.Connection, name: str, value: int, which: str) -> None:
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) "
        f"ON CONFLICT (name) DO UPDATE SET value = {which}(value, excluded.value)",
        (name, value),
    )


class SqliteMetadata:
    """The tables `meta` and `retention` of one store."""

    sweeps = True

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def noted(self, name: str) -> int | None:
        """Return a number that was written down."""
        with self._pool.reading() as (connection, _):
            row = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return row[0] if row else None

    # Retention

    def retention_state(self) -> RetentionState:
        """Return what is written down of retention and of the clock."""
        with self._pool.reading() as (connection, _):
            settings = _settings(connection)
            noted = dict(connection.execute("SELECT name, value FROM meta"))
        # before it noted the clock, Sesight noted only when it took in the newest event
        known_at = noted.get("known_at", noted.get("newest_at"))
        doubt = [noted.get(name) for name in _CLOCK[1:]]
        return RetentionState(
            settings,
            None if known_at is None else ClockState(known_at, *doubt),
            noted.get("swept_to", 0),
            noted.get("event_at"),
        )

    def change_settings(self, change: SettingsChange) -> None:
        """Replace the list of settings in one transaction."""
        with self._pool.writing() as (connection, _):
            before = _settings(connection)
            after = change(before)
            if after != before:
                _write_settings(connection, after)

    def note_clock(self, clock: ClockState) -> None:
        """Write down what is known of the clock."""
        with self._pool.writing() as (connection, _):
            connection.executemany("DELETE FROM meta WHERE name = ?", [(name,) for name in _CLOCK])
            connection.executemany(
                "INSERT INTO meta (name, value) VALUES (?, ?)",
                [(name, n) for name, n in zip(_CLOCK, clock, strict=True) if n is not None],
            )

    def lower_newest(self, at: int, limit: int) -> None:
        """Replace an intake time of the newest event that is beyond a limit."""
        with self._pool.writing() as (connection, _):
            connection.execute(
                "UPDATE meta SET value = ? WHERE name = 'newest_at' AND value > ?", (at, limit)
            )

    # Suppression lists

    def list_version(self, stream: str) -> int:
        """Return the noted version of a stream's suppression list, 0 for none."""
        return self.noted(f"{_LIST}{stream}") or 0

    def note_list_version(self, stream: str, version: int) -> None:
        """Note the version of a stream's suppression list; the latest stays."""
        with self._pool.writing() as (connection, _):
            note_latest(connection, f"{_LIST}{stream}", version)

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Delete the noted versions of the lists of other streams."""
        with self._pool.reading() as (connection, _):
            rows = connection.execute(
                f"SELECT name FROM meta WHERE name LIKE '{_LIST}%'"
            ).fetchall()
        others = [row for row in rows if row[0].removeprefix(_LIST) not in streams]
        if others:
            with self._pool.writing() as (connection, _):
                connection.executemany("DELETE FROM meta WHERE name = ?", others)


def _settings(connection: sqlite3.Connection) -> list[RetentionSetting]:
    return [
        RetentionSetting(*row)
        for row in connection.execute("SELECT from_day, days FROM retention ORDER BY no")
    ]


def _write_settings(connection: sqlite3.Connection, settings: Sequence[RetentionSetting]) -> None:
    connection.execute("DELETE FROM retention")
    connection.executemany("INSERT INTO retention (from_day, days) VALUES (?, ?)", settings)

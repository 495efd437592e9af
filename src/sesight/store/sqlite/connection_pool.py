"""The connections to one SQLite file: one that writes, and idle ones that read."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Full, LifoQueue
from threading import RLock
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

from sesight.domain.errors import SesightError, StoreUnavailable
from sesight.store.sqlite.connection import lock, open_reader, open_writer, translated
from sesight.store.sqlite.interning import Interning, shared_values_of
from sesight.store.sqlite.shared_values import SharedValues

_P = ParamSpec("_P")
_T = TypeVar("_T")

READERS_KEPT = 8
"""Idle reading connections kept open."""


class WritingConnection(NamedTuple):
    """The connection that writes, inside a transaction, and the numbers it has given out."""

    connection: sqlite3.Connection
    interning: Interning


class ReadingConnection(NamedTuple):
    """A connection that reads, inside a snapshot, and the shared values it has read."""

    connection: sqlite3.Connection
    values: SharedValues


class ConnectionPool:
    """Lends connections for one transaction each. Any thread may use it; writes take turns."""

    def __init__(self, path: Path, busy_timeout_ms: int, durability: str) -> None:
        """Open or make the file. Raises SettingsError, StoreTooNew, StoreUnavailable."""
        self._path = path
        self._durability = durability
        self._busy_timeout_ms = busy_timeout_ms
        self._lock = RLock()
        self._readers: LifoQueue[ReadingConnection] = LifoQueue(READERS_KEPT)
        self._closed = False
        self._server_lock: int | None = None
        self._writer: WritingConnection | None = None
        self.writer()

    def writer(self) -> WritingConnection:
        """Return the writer, opened if need be; only whoever holds its turn may use it."""
        if self._writer is None:
            connection = open_writer(self._path, self._busy_timeout_ms, self._durability)
            self._writer = WritingConnection(connection, Interning(connection))
        return self._writer

    @contextmanager
    def writing(self) -> Iterator[WritingConnection]:
        """Lend the writer for one transaction: it is committed, or nothing happened."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The store is closed.")
            with translated(self._path):
                writer = self.writer()
                writer.connection.execute("BEGIN IMMEDIATE")
                try:
                    writer.interning.begin()
                    yield writer
                    writer.connection.execute("COMMIT")
                except BaseException:
                    writer.interning.forget()
                    self._roll_back(writer.connection)
                    raise

    def write(
        self,
        function: Callable[Concatenate[sqlite3.Connection, Interning, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Call a function with the writer, in one transaction."""
        with self.writing() as (connection, interning):
            return function(connection, interning, *args, **kwargs)

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """Leave no transaction open, by closing the connection if nothing else helps."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._writer = None
            connection.close()

    @contextmanager
    def reading(self) -> Iterator[ReadingConnection]:
        """Lend a reader within one snapshot."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        with translated(self._path):
            reader = self._idle_or_new_reader()
            is_sound = False
            try:
                reader.connection.execute("BEGIN")
                yield reader
                is_sound = True
            except SesightError:
                is_sound = True
                raise
            finally:
                self._give_back(reader, is_sound=is_sound)

    def read(
        self,
        function: Callable[Concatenate[sqlite3.Connection, _P], _T],
        *args: _P.args,
        **kwargs: _P.kwargs,
    ) -> _T:
        """Call a function with a reading connection, in one snapshot."""
        with self.reading() as (connection, _):
            return function(connection, *args, **kwargs)

    def _idle_or_new_reader(self) -> ReadingConnection:
        with suppress(Empty):
            return self._readers.get_nowait()
        connection = open_reader(self._path, self._busy_timeout_ms)
        return ReadingConnection(connection, shared_values_of(connection))

    def _give_back(self, reader: ReadingConnection, *, is_sound: bool) -> None:
        """Keep a reader for the next request, if it is sound and there are not too many."""
        kept = False
        try:
            if is_sound:
                reader.connection.execute("ROLLBACK")
                with suppress(Full):
                    self._readers.put_nowait(reader)
                    kept = True
        finally:
            if not kept:
                reader.connection.close()
        if self._closed:
            self._close_readers()

    def _close_readers(self) -> None:
        with suppress(Empty):
            while True:
                self._readers.get_nowait().connection.close()

    def sync(self, now: int) -> None:
        """Make what was committed durable, which the durability `normal` alone does not do."""
        if self._durability != "normal":
            return
        with self._lock, translated(self._path):
            connection = self.writer().connection
            connection.execute("PRAGMA synchronous = FULL")
            try:
                with self.writing():
                    # only a transaction that writes makes the WAL durable
                    connection.execute(
                        "INSERT OR REPLACE INTO meta VALUES ('synced_at', ?)", (now,)
                    )
            finally:
                connection.execute("PRAGMA synchronous = NORMAL")

    def checkpoint(self) -> None:
        """Copy from the WAL into the file whatever no reader still needs."""
        with self._lock, translated(self._path):
            if self._writer is not None:
                self._writer.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def lock_for_server(self) -> None:
        """Lock the file for a server until `close`. Raises SettingsError if another server has it."""
        if self._server_lock is None:
            self._server_lock = lock(self._path)

    def close(self) -> None:
        """Copy the WAL into the file, close all connections and release the server's lock."""
        with self._lock:
            self._closed = True
            self._close_readers()
            if self._writer is not None:
                self._writer.connection.close()
                self._writer = None
            if self._server_lock is not None:
                os.close(self._server_lock)
                self._server_lock = None

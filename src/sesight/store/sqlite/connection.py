"""The SQLite file: opening, creating, recognising and migrating it; its errors in words; its lock."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from sesight import private_file
from sesight.domain.errors import SettingsError, StoreDamaged, StoreTooNew, StoreUnavailable

APPLICATION_ID = 0x53455349
""""SESI", in the header of every file that Sesight made."""

VERSION = 6
"""The version of schema.sql, in the header as user_version."""

_HERE = Path(__file__).parent
MIGRATIONS = _HERE / "migrations"

PAGE_SIZE = 4_096
CACHE_KIB = 65_536
READER_CACHE_KIB = 16_384
AUTOCHECKPOINT = 40_000
"""Pages of WAL (160 MB) after which a commit copies them into the file: rarely, because it is slow."""

WAL_KEPT = 64 << 20
"""Bytes of WAL left on disk after a copy."""

MEMORY = ":memory:"
"""The name by which SQLite opens no file."""

_DURABILITY = {"full": "FULL", "normal": "NORMAL", "off": "OFF"}


_REMEDIES = {
    sqlite3.SQLITE_BUSY: "Another process kept writing to the store {path} for longer than "
    "store.busy_timeout_ms: try again when it has finished.",
    sqlite3.SQLITE_READONLY: "The store {path} cannot be written to: let this user write to the file, those "
    "beside it and its folder.",
    sqlite3.SQLITE_CANTOPEN: "The store {path} cannot be opened: let this user read and write the file, "
    "those beside it and its folder, or name another with --store.",
    sqlite3.SQLITE_FULL: "The disk that the store {path} is on is full: make room. Nothing that was "
    "acknowledged is lost.",
    sqlite3.SQLITE_IOERR: "The disk that the store {path} is on cannot be read or written ({error}): see "
    "whether it is full, gone or broken.",
}
"""What to do about an SQLite error, by its primary code."""

_DAMAGED = (
    "The store {path} is damaged ({error}): stop what uses it and restore a backup, "
    "sesight restore FILE --force."
)


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors about locks, disks and files into `StoreUnavailable`, and those about the
    content of the file into `StoreDamaged`.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        remedy = _REMEDIES.get(code, "The store {path} cannot be used now: {error}.")
        raise StoreUnavailable(remedy.format(path=path, error=error)) from error
    except (sqlite3.DatabaseError, msgspec.DecodeError) as error:
        if isinstance(error, sqlite3.Error) and type(error) is not sqlite3.DatabaseError:
            raise  # its subclasses are bugs in Sesight
        raise StoreDamaged(_DAMAGED.format(path=path, error=error)) from error


LOCK = ".lock"
"""Suffix of the empty file beside a store that its server locks; the file stays when the server ends."""


def lock(path: Path) -> int:
    """Lock a store for a server, until the returned descriptor is closed or the process ends, however it
    ends. Raises SettingsError if another process holds the lock.
    """
    file = path.resolve()
    file = file.with_name(file.name + LOCK)
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingsError(
            f"The lock file of the store, {file}, cannot be created: {error.strerror}. Let this user "
            "write there."
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise SettingsError(
            f"A server serves the store {path} already. Stop it first, or give this one a store of its "
            "own with --store."
        ) from None
    return descriptor


def _connect(path: Path, busy_timeout_ms: int) -> sqlite3.Connection:
    """Return a connection in autocommit mode that any thread may use, one at a time."""
    return sqlite3.connect(
        path, timeout=busy_timeout_ms / 1000, isolation_level=None, check_same_thread=False
    )


def _tune(connection: sqlite3.Connection, cache_kib: int) -> None:
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    connection.execute("PRAGMA temp_store = MEMORY")


def open_writer(path: Path, busy_timeout_ms: int, durability: str) -> sqlite3.Connection:
    """Return the connection that writes, after the file was created or migrated.

    Raises SettingsError for a file that is not a store, StoreTooNew for one of a later version,
    StoreUnavailable if it cannot be opened.
    """
    if durability not in _DURABILITY:
        raise SettingsError(f"Durability {durability!r} is unknown: use full, normal or off.")
    if not path.parent.is_dir():
        raise SettingsError(
            f"There is no folder {path.parent} for the store {path.name}: make it, or name another store "
            "with --store."
        )
    if str(path) != MEMORY and not path.exists():
        try:
            private_file.make(path)  # SQLite gives the files beside it the same mode
        except OSError as error:
            raise SettingsError(
                f"The store {path} cannot be made: {error.strerror}. Let this user write to its folder, or "
                "name another with --store."
            ) from None
    with translated(path):
        connection = _connect(path, busy_timeout_ms)
    try:
        with translated(path):
            _recognise(connection, path)
            _tune(connection, CACHE_KIB)
            connection.execute(f"PRAGMA wal_autocheckpoint = {AUTOCHECKPOINT}")
            connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT}")
            connection.execute(f"PRAGMA synchronous = {_DURABILITY[durability]}")
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, busy_timeout_ms: int) -> sqlite3.Connection:
    """Return a connection that cannot write."""
    connection = _connect(path, busy_timeout_ms)
    try:
        _tune(connection, READER_CACHE_KIB)
        connection.execute("PRAGMA query_only = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def _recognise(connection: sqlite3.Connection, path: Path) -> None:
    try:
        marks = _marks(connection)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_NOTADB:
            raise
        raise SettingsError(
            f"{path} is not a Sesight store: {error}. If it was one, it is damaged: restore a backup."
        ) from error
    if marks == (0, 0) and _tables(connection) == 0:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        connection.execute("PRAGMA journal_mode = WAL")
        _run(connection, (_HERE / "schema.sql").read_text("utf-8"), 0, VERSION)
        marks = _marks(connection)
    application, version = marks
    if application != APPLICATION_ID:
        raise SettingsError(
            f"{path} is an SQLite database of something else. Name another file for the store."
        )
    if version > VERSION:
        raise StoreTooNew(
            f"{path} was written by a newer Sesight (store version {version}, this one knows "
            f"{VERSION}). Upgrade Sesight."
        )
    connection.execute("PRAGMA journal_mode = WAL")
    migrate(connection, MIGRATIONS, VERSION)


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return application, version


def _tables(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(count)


def migrate(connection: sqlite3.Connection, folder: Path, version: int) -> None:
    """Run the numbered scripts from the file's version to `version`, each in one transaction."""
    steps = {int(step.name[:4]): step for step in folder.glob("[0-9][0-9][0-9][0-9]-*.sql")}
    for number in range(_marks(connection)[1] + 1, version + 1):
        _run(connection, steps[number].read_text("utf-8"), number - 1, number)


def _run(connection: sqlite3.Connection, script: str, before: int, after: int) -> None:
    """Run a script in one transaction, unless another process has already done so."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        if _marks(connection)[1] == before:
            for statement in _statements(script):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {after}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> Iterator[str]:
    """Yield the statements of a script, one by one: executescript would commit before it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


_IN_LIST = 500
"""Values in one IN list; the SQL text for a full one is prepared once."""


def rows_in(
    connection: sqlite3.Connection,
    select: str,
    values: Sequence[Any],
    first: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Yield the rows of a select that ends in an open IN list, for any number of values."""
    left = iter(values)
    while chunk := tuple(islice(left, _IN_LIST)):
        marks = ",".join("?" * len(chunk))
        yield from connection.execute(f"{select}{marks})", first + chunk).fetchall()

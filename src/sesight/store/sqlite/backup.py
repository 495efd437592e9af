"""Copies and checks of the whole file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from sesight.store.sqlite.connection_pool import ConnectionPool

_PAGES_AT_ONCE = 1_000


def backup(
    pool: ConnectionPool, path: Path, progress: Callable[[int, int], None] | None = None
) -> None:
    """Copy the store to a new file while it is used; `progress` receives (pages left, all pages)."""
    with pool.reading() as (connection, _):
        # take the snapshot first: without it, each commit of another process starts the copy anew
        connection.execute("SELECT count(*) FROM meta").fetchone()
        target = sqlite3.connect(path)
        try:
            connection.backup(
                target,
                pages=_PAGES_AT_ONCE,
                progress=(lambda _, left, total: progress(left, total)) if progress else None,
            )
        finally:
            target.close()


def quick_check(pool: ConnectionPool) -> str | None:
    """Return the first damage that SQLite finds in a quick look at the whole file, None if none."""
    with pool.reading() as (connection, _):
        (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    return None if result == "ok" else str(result)


def integrity_check(pool: ConnectionPool) -> list[str]:
    """Return all damage that SQLite finds in the file."""
    with pool.reading() as (connection, _):
        lines = [line for (line,) in connection.execute("PRAGMA integrity_check")]
    return [] if lines == ["ok"] else lines

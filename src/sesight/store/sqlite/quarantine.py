"""The quarantine: trusted bodies that could not be understood or routed."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable

import msgspec
from msgspec.structs import replace

from sesight.domain.quarantine import QUARANTINE_BODIES, QUARANTINE_BYTES, Quarantined
from sesight.store.limits import QUARANTINE_KEPT
from sesight.store.sqlite.connection import rows_in

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Quarantined).decode


def put(connection: sqlite3.Connection, bodies: Iterable[Quarantined]) -> None:
    """Store bodies; one that is stored already keeps the time of the first."""
    for body in bodies:
        first = connection.execute("SELECT at FROM quarantine WHERE id = ?", (body.id,)).fetchone()
        kept = body if first is None else replace(body, at=first[0])
        packed = _encode(kept)
        connection.execute(
            "INSERT OR REPLACE INTO quarantine (id, reason, at, size, message_id, body) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (kept.id, kept.reason, kept.at, len(packed), kept.message_id, packed),
        )


def release(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Delete bodies."""
    connection.executemany("DELETE FROM quarantine WHERE id = ?", [(id_,) for id_ in ids])


def awaiting(connection: sqlite3.Connection, message_ids: Collection[str]) -> list[Quarantined]:
    """Return bodies with the reason `unrouted` for any of the messages."""
    if (
        not message_ids
        or not connection.execute(
            "SELECT EXISTS (SELECT 1 FROM quarantine WHERE reason = 'unrouted')"
        ).fetchone()[0]
    ):
        return []
    return [
        _decode(body)
        for (body,) in rows_in(
            connection,
            "SELECT body FROM quarantine WHERE reason = 'unrouted' AND message_id IN (",
            list(message_ids),
        )
    ]


def room(connection: sqlite3.Connection, reason: str) -> tuple[int, int]:
    """Return how many more bodies of a reason the quarantine takes, and how many bytes."""
    bodies, size = connection.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM quarantine WHERE reason = ?", (reason,)
    ).fetchone()
    return QUARANTINE_BODIES - bodies, QUARANTINE_BYTES - size


def newest(connection: sqlite3.Connection, limit: int, reason: str | None) -> list[Quarantined]:
    """Return bodies, newest first."""
    where, bound = ("WHERE reason = ? ", (reason, limit)) if reason else ("", (limit,))
    return [
        _decode(body)
        for (body,) in connection.execute(
            f"SELECT body FROM quarantine {where}ORDER BY at DESC, id LIMIT ?", bound
        )
    ]


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return how many bodies there are, by reason."""
    return dict(connection.execute("SELECT reason, count(*) FROM quarantine GROUP BY reason"))


def sweep(connection: sqlite3.Connection, now: int) -> int:
    """Delete bodies that were kept long enough; return how many."""
    return connection.execute(
        "DELETE FROM quarantine WHERE at < ?", (now - QUARANTINE_KEPT,)
    ).rowcount

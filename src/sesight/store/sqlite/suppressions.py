"""Suppressions and the quarantine: the two lists that are kept beside the records."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from sesight.domain.ports import SuppressionPage
from sesight.domain.quarantine import Quarantined
from sesight.domain.suppression.item import Suppression, suppression_keys
from sesight.domain.suppression.manual import MANUAL_REASONS
from sesight.domain.suppression.policy import (
    ActiveSuppression,
    SuppressionPolicy,
    active_suppression,
)
from sesight.store.filters import PATIENCE
from sesight.store.sqlite.view import read_quarantined, read_suppression, suppressions_in

_encode = msgspec.msgpack.Encoder().encode

QUARANTINE_MS = 30 * 86_400_000
"""How long a body stays in the quarantine."""


class Described(NamedTuple):
    """What an item says at some time, in words. `until` is when a counted item stops to block by
    itself; one that already has is due at 0.
    """

    scope: str | None
    active: bool
    reason: str | None
    first_at: int | None
    last_at: int | None
    until: int | None
    note: str | None


def described(item: Suppression, now: int, policy: SuppressionPolicy) -> Described:
    """Return what an item says at `now` (epoch ms)."""
    blocking = active_suppression(item, now, policy) if item.counted is not None else None
    until = 0 if item.counted is not None else None
    if blocking is not None:
        until = blocking.until
    times = [cause.at for cause in item.causes]
    return Described(
        blocking.cause.scope if blocking is not None else None,
        item.counted is not None,
        item.counted[1] if item.counted is not None else None,
        min(times, default=None),
        max(times, default=None),
        until,
        _note(item, blocking),
    )


def _note(item: Suppression, blocking: ActiveSuppression | None) -> str | None:
    """Return what somebody wrote who decided of the address last."""
    if blocking is not None and blocking.cause.reason in MANUAL_REASONS:
        return blocking.cause.detail
    return item.removals[-1].note if item.removals else None


def put_suppressions(
    connection: sqlite3.Connection,
    items: Iterable[Suppression],
    now: int,
    policy: SuppressionPolicy,
) -> None:
    """Store items, with columns that say in words what the body holds."""
    connection.executemany(
        "INSERT OR REPLACE INTO suppression (stream, address, email, scope, active, reason, "
        f"firstAt, lastAt, until, note, body) VALUES ({', '.join('?' * 11)})",
        [
            (
                item.stream,
                item.address,
                item.spelling or item.address,
                *described(item, now, policy),
                _encode(item),
            )
            for item in items
        ],
    )


def suppression(connection: sqlite3.Connection, stream: str, address: str) -> Suppression | None:
    """Return one item."""
    found = connection.execute(
        "SELECT body FROM suppression WHERE stream = ? AND address = ?", (stream, address)
    ).fetchone()
    return read_suppression(found[0]) if found else None


def suppressions_of(
    connection: sqlite3.Connection, stream: str, addresses: Collection[str]
) -> dict[str, Suppression]:
    """Return the items of addresses and their whole domains, by address or domain."""
    wanted = {(stream, key) for each in addresses for key in suppression_keys(each)}
    return {key: item for (_, key), item in suppressions_in(connection, wanted).items()}


LAST = "\U0010ffff"
"""Text above any that an address goes on with."""


def suppressions(
    connection: sqlite3.Connection,
    stream: str,
    limit: int,
    after: str | None,
    *,
    prefix: str,
    reason: str | None,
    active: bool | None,
) -> SuppressionPage:
    """Return a page of items in order of the address; see the port."""
    where = "stream = ? AND address >= ? AND address < ?"
    bound: list[str | int] = [stream, prefix, prefix + LAST]
    if after is not None:
        where, bound = f"{where} AND address > ?", [*bound, after]
    if reason is not None:
        where, bound = f"{where} AND reason = ?", [*bound, reason]
    items: list[Suppression] = []
    last = None
    found = connection.execute(
        f"SELECT address, active, body FROM suppression WHERE {where} ORDER BY address LIMIT ?",
        (*bound, limit * PATIENCE),
    )
    for looked, (address, counts, body) in enumerate(found, 1):
        if active is None or bool(counts) is active:
            items.append(read_suppression(body))
        if len(items) == limit or looked == limit * PATIENCE:
            last = address
            break
    return SuppressionPage(items, last)


def suppressions_due(connection: sqlite3.Connection, now: int, limit: int) -> list[Suppression]:
    """Return counted items whose time to block is over, the longest over first."""
    return [
        read_suppression(body)
        for (body,) in connection.execute(
            "SELECT body FROM suppression WHERE until <= ? ORDER BY until LIMIT ?", (now, limit)
        )
    ]


def suppressions_counted(
    connection: sqlite3.Connection, stream: str, after: str, limit: int
) -> list[Suppression]:
    """Return counted items of a stream, in order of the address, after one."""
    return [
        read_suppression(body)
        for (body,) in connection.execute(
            "SELECT body FROM suppression WHERE stream = ? AND active AND address > ? "
            "ORDER BY address LIMIT ?",
            (stream, after, limit),
        )
    ]


def put_quarantined(connection: sqlite3.Connection, bodies: Iterable[Quarantined]) -> None:
    """Store bodies; one that is there already keeps only its time."""
    for held in bodies:
        first = connection.execute("SELECT at FROM quarantine WHERE id = ?", (held.id,)).fetchone()
        kept = held if first is None else replace(held, at=first[0])
        packed = _encode(kept)
        connection.execute(
            "INSERT OR REPLACE INTO quarantine (id, reason, at, size, message_id, body) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            (kept.id, kept.reason, kept.at, len(packed), kept.message_id, packed),
        )


def quarantine(connection: sqlite3.Connection, limit: int, reason: str | None) -> list[Quarantined]:
    """Return quarantined bodies, newest first."""
    where, bound = ("WHERE reason = ? ", (reason, limit)) if reason else ("", (limit,))
    return [
        read_quarantined(body)
        for (body,) in connection.execute(
            f"SELECT body FROM quarantine {where}ORDER BY at DESC, id LIMIT ?", bound
        )
    ]

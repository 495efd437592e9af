"""Suppression items: stored by stream and address, listed, found when due."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Iterator

import msgspec

from sesight.domain.ports import SuppressionPage
from sesight.domain.suppression.item import Suppression, suppression_keys
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.store.limits import LAST_TEXT, SCANNED_PER_ROW
from sesight.store.sqlite.connection import rows_in
from sesight.store.sqlite.connection_pool import ConnectionPool
from sesight.store.suppressions import SuppressionSearch, summary_of

READ_AT_ONCE = 500
"""Items read at a time, so that a long walk holds no snapshot while its caller works."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Suppression).decode

_COLUMNS = ("stream", "address", "email", "scope", "active", "reason", "firstAt", "lastAt", "until")
_PUT = (
    f"INSERT OR REPLACE INTO suppression ({', '.join(_COLUMNS)}, note, body) "
    f"VALUES ({', '.join('?' * (len(_COLUMNS) + 2))})"
)


def put(
    connection: sqlite3.Connection,
    items: Iterable[Suppression],
    now: int,
    policy: SuppressionPolicy,
) -> None:
    """Store items, with their readable form in columns."""

    def row(item: Suppression) -> tuple[str | int | bytes | None, ...]:
        summary = summary_of(item, now, policy)
        email = item.spelling or item.address
        return (item.stream, item.address, email, *summary, _encode(item))

    connection.executemany(_PUT, map(row, items))


def get(connection: sqlite3.Connection, stream: str, address: str) -> Suppression | None:
    """Return one item."""
    row = connection.execute(
        "SELECT body FROM suppression WHERE stream = ? AND address = ?", (stream, address)
    ).fetchone()
    return _decode(row[0]) if row else None


def get_many(
    connection: sqlite3.Connection, keys: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Suppression]:
    """Return the items of the (stream, address)es that have one."""
    by_stream: dict[str, list[str]] = {}
    for stream, address in keys:
        by_stream.setdefault(stream, []).append(address)
    items = {}
    for stream, addresses in by_stream.items():
        for address, body in rows_in(
            connection,
            "SELECT address, body FROM suppression WHERE stream = ? AND address IN (",
            addresses,
            (stream,),
        ):
            items[(stream, address)] = _decode(body)
    return items


def get_blocking(
    connection: sqlite3.Connection, stream: str, addresses: Collection[str]
) -> dict[str, Suppression]:
    """Return the items of addresses and of their whole domains, by address or domain."""
    keys = {(stream, key) for address in addresses for key in suppression_keys(address)}
    return {key: item for (_, key), item in get_many(connection, keys).items()}


def page(
    connection: sqlite3.Connection,
    stream: str,
    limit: int,
    after: str | None,
    search: SuppressionSearch,
) -> SuppressionPage:
    """Return a page of items in order of the address; see the port."""
    prefix, reason, active = search
    where = "stream = ? AND address >= ? AND address < ?"
    bound: list[str | int] = [stream, prefix, prefix + LAST_TEXT]
    if after is not None:
        where, bound = f"{where} AND address > ?", [*bound, after]
    if reason is not None:
        where, bound = f"{where} AND reason = ?", [*bound, reason]
    items: list[Suppression] = []
    last = None
    rows = connection.execute(
        f"SELECT address, active, body FROM suppression WHERE {where} ORDER BY address LIMIT ?",
        (*bound, limit * SCANNED_PER_ROW),
    )
    for scanned, (address, is_active, body) in enumerate(rows, 1):
        if active is None or bool(is_active) is active:
            items.append(_decode(body))
        if len(items) == limit or scanned == limit * SCANNED_PER_ROW:
            last = address
            break
    return SuppressionPage(items, last)


def due(connection: sqlite3.Connection, now: int, limit: int) -> list[Suppression]:
    """Return counted items whose time to block is over, the longest over first."""
    return [
        _decode(body)
        for (body,) in connection.execute(
            "SELECT body FROM suppression WHERE until <= ? ORDER BY until LIMIT ?", (now, limit)
        )
    ]


def counted(pool: ConnectionPool, stream: str) -> Iterator[Suppression]:
    """Yield every counted item of a stream, in order of the address."""
    after = ""
    while True:
        with pool.reading() as (connection, _):
            rows = connection.execute(
                "SELECT body FROM suppression WHERE stream = ? AND active AND address > ? "
                "ORDER BY address LIMIT ?",
                (stream, after, READ_AT_ONCE),
            ).fetchall()
        items = [_decode(body) for (body,) in rows]
        yield from items
        if len(items) < READ_AT_ONCE:
            return
        after = items[-1].address

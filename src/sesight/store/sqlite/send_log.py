"""The send log: batches, intents, what was withheld, which streams are paused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import json
from msgspec.structs import astuple

from sesight.domain.sending import Intent, Pause, Resumption, SendBatch, SendState
from sesight.store.send_log import (
    INTENTS_KEPT_MS,
    IntentKey,
    blocking_keys,
    claimed,
    key_of,
    leased,
    read_counts,
    settled,
    unless_blocked,
    withheld_changes,
)
from sesight.store.sqlite import suppressions
from sesight.store.sqlite.connection import rows_in

if TYPE_CHECKING:
    from sesight.domain.ports import SuppressionCheck
    from sesight.store.sqlite.connection_pool import ConnectionPool

_BATCH = ", ".join(SendBatch.__struct_fields__)
_INTENT = ", ".join(Intent.__struct_fields__)


def _upsert(table: str, fields: Sequence[str], key: Sequence[str]) -> str:
    changed = ", ".join(f"{name} = excluded.{name}" for name in fields if name not in key)
    return (
        f"INSERT INTO {table} ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))}) "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {changed}"
    )


_PUT_BATCH = _upsert("batch", SendBatch.__struct_fields__, ("id",))
_PUT_INTENT = _upsert("intent", Intent.__struct_fields__, ("batch", "key"))
_ADD_WITHHELD = (
    "INSERT INTO withheld (stream, campaign, state, intents) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (stream, campaign, state) DO UPDATE SET intents = intents + excluded.intents"
)


class SqliteSendLog:
    """`sesight.domain.ports.SendLog` in the file of a store."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool

    def _rows(self, select: str, bound: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._pool.reading() as (connection, _):
            return connection.execute(select, bound).fetchall()

    # Batches

    def begin(self, batch: SendBatch) -> SendBatch:
        """Record a batch, or lease the one that has its id; see the port."""
        return self._lease(batch, reopen=False)

    def reopen(self, batch: SendBatch) -> SendBatch:
        """As `begin`, but also for one that is finished, which no longer is."""
        return self._lease(batch, reopen=True)

    def _lease(self, request: SendBatch, *, reopen: bool) -> SendBatch:
        with self._pool.writing() as (connection, _):
            recorded = _batch(connection, request.id)
            batch = leased(recorded, request, reopen=reopen)
            if batch is not recorded:
                connection.execute(_PUT_BATCH, astuple(batch))
        return batch

    def hold(self, batch: str, holder: str, until: int) -> bool:
        """Let the holder's lease last until a time; return whether it is still the holder's."""
        with self._pool.writing() as (connection, _):
            updated = connection.execute(
                "UPDATE batch SET leased_until = ? WHERE id = ? AND holder = ?",
                (until, batch, holder),
            )
            return updated.rowcount == 1

    def finish(self, batch: str, at: int) -> None:
        """Note that everything of a batch was tried."""
        with self._pool.writing() as (connection, _):
            connection.execute(
                "UPDATE batch SET finished_at = coalesce(finished_at, ?) WHERE id = ?", (at, batch)
            )

    def batch(self, id_: str) -> SendBatch | None:
        """Return one batch."""
        with self._pool.reading() as (connection, _):
            return _batch(connection, id_)

    # Intents

    def claim(self, intents: Sequence[Intent], blocks: SuppressionCheck) -> list[Intent]:
        """Record intents before their send requests; return what is then recorded of each, in order."""

        def record(connection: sqlite3.Connection, after: dict[IntentKey, Intent]) -> None:
            for intent in intents:
                after[key_of(intent)] = claimed(after.get(key_of(intent)), intent)
            ours = [intent for intent in intents if after[key_of(intent)] is intent]
            keys = {key for intent in ours for key in blocking_keys(intent)}
            items = suppressions.get_many(connection, keys)
            for intent in ours:
                after[key_of(intent)] = unless_blocked(intent, items, blocks)

        after = self._record(intents, record)
        return [after[key_of(intent)] for intent in intents]

    def settle(self, intents: Sequence[Intent]) -> None:
        """Record the results of intents; see the port."""

        def record(_: sqlite3.Connection, after: dict[IntentKey, Intent]) -> None:
            for intent in intents:
                after[key_of(intent)] = settled(after.get(key_of(intent)), intent)

        self._record(intents, record)

    def _record(
        self,
        intents: Sequence[Intent],
        change: Callable[[sqlite3.Connection, dict[IntentKey, Intent]], None],
    ) -> dict[IntentKey, Intent]:
        """Change the recorded intents of these keys in one transaction; return them after it."""
        with self._pool.writing() as (connection, _):
            before = _recorded(connection, intents)
            after = dict(before)
            change(connection, after)
            _put(connection, before, after)
        return after

    def intents(
        self, batch: str, limit: int, after: str | None = None, states: Collection[SendState] = ()
    ) -> list[Intent]:
        """Return intents of a batch in the order of their keys, those after a key."""
        where, bound = "batch = ?", [batch]
        if after is not None:
            where, bound = f"{where} AND key > ?", [*bound, after]
        if states:
            where = f"{where} AND state IN ({', '.join('?' * len(states))})"
            bound += states
        rows = self._rows(
            f"SELECT {_INTENT} FROM intent WHERE {where} ORDER BY key LIMIT ?", (*bound, limit)
        )
        return [_read_intent(row) for row in rows]

    def progress(self, batch: str) -> dict[SendState, int]:
        """Return how many intents of a batch are in each state."""
        rows = self._rows(
            "SELECT state, count(*) FROM intent WHERE batch = ? GROUP BY state", (batch,)
        )
        return {SendState(state): count for state, count in rows}

    def withheld(self, stream: str, campaign: str) -> dict[SendState, int]:
        """Return how many of a campaign's intents are in each state of `WITHHELD`."""
        rows = self._rows(
            "SELECT state, intents FROM withheld WHERE stream = ? AND campaign = ? AND intents <> 0",
            (stream, campaign),
        )
        return {SendState(state): count for state, count in rows}

    # Pauses

    def pauses(self) -> dict[str, Pause]:
        """Return why streams do not send, by stream."""
        rows = self._rows("SELECT stream, at, said_by, detail FROM pause WHERE at IS NOT NULL", ())
        return {
            stream: Pause(stream=stream, at=at, by=by, detail=detail)
            for stream, at, by, detail in rows
        }

    def pause(self, pause: Pause) -> None:
        """Pause a stream. One that is paused already keeps its first reason."""
        with self._pool.writing() as (connection, _):
            connection.execute(
                "INSERT INTO pause (stream, at, said_by, detail) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (stream) DO UPDATE "
                "SET at = excluded.at, said_by = excluded.said_by, detail = excluded.detail "
                "WHERE at IS NULL",
                (pause.stream, pause.at, pause.by, pause.detail),
            )

    def resume(self, resumption: Resumption) -> Pause | None:
        """Let a stream send again; return the pause that this ended."""
        stream = resumption.stream
        with self._pool.writing() as (connection, _):
            row = connection.execute(
                "SELECT at, said_by, detail FROM pause WHERE stream = ? AND at IS NOT NULL",
                (stream,),
            ).fetchone()
            connection.execute(
                "INSERT INTO pause (stream, resumed_at, counts) VALUES (?, ?, ?) "
                "ON CONFLICT (stream) DO UPDATE SET resumed_at = excluded.resumed_at, "
                "counts = excluded.counts, at = NULL, said_by = NULL, detail = NULL",
                (stream, resumption.at, json.encode(resumption.counts).decode()),
            )
        return None if row is None else Pause(stream=stream, at=row[0], by=row[1], detail=row[2])

    def resumption(self, stream: str) -> Resumption | None:
        """Return how the stream was last resumed."""
        rows = self._rows(
            "SELECT resumed_at, counts FROM pause WHERE stream = ? AND resumed_at IS NOT NULL",
            (stream,),
        )
        if not rows:
            return None
        at, counts = rows[0]
        return Resumption(stream=stream, at=at, counts=read_counts(counts or "{}"))


def sweep(connection: sqlite3.Connection, now: int, limit: int) -> int:
    """Delete up to `limit` intents that were kept long enough, and batches that have none left; return
    how many intents were deleted.
    """
    before = now - INTENTS_KEPT_MS
    deleted = connection.execute(
        "DELETE FROM intent WHERE no IN (SELECT no FROM intent WHERE at < ? ORDER BY at LIMIT ?)",
        (before, limit),
    ).rowcount
    connection.execute(
        "DELETE FROM batch WHERE no IN (SELECT no FROM batch WHERE at < ? "
        "AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.batch = batch.id) LIMIT ?)",
        (before, limit),
    )
    return deleted


def _batch(connection: sqlite3.Connection, id_: str) -> SendBatch | None:
    row = connection.execute(f"SELECT {_BATCH} FROM batch WHERE id = ?", (id_,)).fetchone()
    return None if row is None else _read_batch(row)


def _read_batch(row: Sequence[Any]) -> SendBatch:
    return SendBatch(**dict(zip(SendBatch.__struct_fields__, row, strict=True)))


def _recorded(connection: sqlite3.Connection, intents: Iterable[Intent]) -> dict[IntentKey, Intent]:
    """Return what is recorded under the keys of intents."""
    keys: dict[str, list[str]] = {}
    for intent in intents:
        keys.setdefault(intent.batch, []).append(intent.key)
    select = f"SELECT {_INTENT} FROM intent WHERE batch = ? AND key IN ("
    return {
        key_of(intent): intent
        for batch, of_batch in keys.items()
        for intent in map(_read_intent, rows_in(connection, select, of_batch, (batch,)))
    }


def _put(
    connection: sqlite3.Connection,
    before: dict[IntentKey, Intent],
    after: dict[IntentKey, Intent],
) -> None:
    """Write the intents that have changed, and change the withheld counts with them."""
    changes = [
        (before.get(key), intent) for key, intent in after.items() if intent != before.get(key)
    ]
    connection.executemany(_PUT_INTENT, [astuple(intent) for _, intent in changes])
    connection.executemany(
        _ADD_WITHHELD,
        [
            (*campaign, state, change)
            for campaign, counts in withheld_changes(changes).items()
            for state, change in counts.items()
            if change
        ],
    )


def _read_intent(row: Sequence[Any]) -> Intent:
    fields = dict(zip(Intent.__struct_fields__, row, strict=True))
    return Intent(**{**fields, "state": SendState(fields["state"])})

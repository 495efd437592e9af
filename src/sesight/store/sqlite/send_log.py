"""The log of sending in SQLite: batches, intents, what was withheld, which streams are paused."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

from msgspec import json
from msgspec.structs import astuple

from sesight.domain.sending import Intent, Pause, Resumption, SendBatch, SendState
from sesight.store.send_log import (
    INTENTS_KEPT_MS,
    Place,
    allowed,
    asked_of,
    claimed,
    leased,
    moved,
    place,
    read_counts,
    settled,
)
from sesight.store.sqlite.view import rows_in, suppressions_in

if TYPE_CHECKING:
    from sesight.domain.ports import SuppressionCheck
    from sesight.store.sqlite.shared_values import Values

Lent = Callable[[], AbstractContextManager[sqlite3.Connection]]
"""Lends the writing connection for one transaction."""

LentToRead = Callable[[], AbstractContextManager[tuple[sqlite3.Connection, "Values"]]]
"""Lends a reading connection for one snapshot."""

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
    """`sesight.domain.ports.SendLog` in the file of a store, over the store's connections."""

    def __init__(self, writing: Lent, reading: LentToRead) -> None:
        """Keep what lends connections."""
        self._writing = writing
        self._reading = reading

    # Batches

    def begin(self, batch: SendBatch) -> SendBatch:
        """Record a batch, or lease the one that has its id; see the port."""
        return self._open(batch, again=False)

    def reopen(self, batch: SendBatch) -> SendBatch:
        """As `begin`, but also for one that is finished, which no longer is."""
        return self._open(batch, again=True)

    def _open(self, asked: SendBatch, *, again: bool) -> SendBatch:
        with self._writing() as connection:
            held = _batch(connection, asked.id)
            found = asked if held is None else leased(held, asked, again=again)
            if found is not held:
                connection.execute(_PUT_BATCH, astuple(found))
        return found

    def hold(self, batch: str, holder: str, until: int) -> bool:
        """Let the holder's lease last until a time; return whether it is still the holder's."""
        with self._writing() as connection:
            held = connection.execute(
                "UPDATE batch SET leased_until = ? WHERE id = ? AND holder = ?",
                (until, batch, holder),
            )
            return held.rowcount == 1

    def finish(self, batch: str, at: int) -> None:
        """Note that everything of a batch was tried."""
        with self._writing() as connection:
            connection.execute(
                "UPDATE batch SET finished_at = coalesce(finished_at, ?) WHERE id = ?", (at, batch)
            )

    def batch(self, id_: str) -> SendBatch | None:
        """Return one batch."""
        with self._reading() as (connection, _):
            return _batch(connection, id_)

    def batches(self, stream: str, limit: int) -> list[SendBatch]:
        """Return the batches of a stream, newest first."""
        with self._reading() as (connection, _):
            return [
                _read_batch(row)
                for row in connection.execute(
                    f"SELECT {_BATCH} FROM batch WHERE stream = ? ORDER BY at DESC, id DESC LIMIT ?",
                    (stream, limit),
                )
            ]

    # Intents

    def claim(self, wanted: Sequence[Intent], blocks: SuppressionCheck) -> list[Intent]:
        """Record intents before their calls; return what is then recorded of each, in order."""
        with self._writing() as connection:
            before = _held(connection, wanted)
            after = dict(before)
            for intent in wanted:
                after[place(intent)] = claimed(after.get(place(intent)), intent)
            ours = [intent for intent in wanted if after[place(intent)] is intent]
            items = suppressions_in(connection, {key for one in ours for key in asked_of(one)})
            for intent in ours:
                after[place(intent)] = allowed(intent, items, blocks)
            _put(connection, before, after)
        return [after[place(intent)] for intent in wanted]

    def settle(self, intents: Sequence[Intent]) -> None:
        """Record what became of intents; see the port."""
        with self._writing() as connection:
            before = _held(connection, intents)
            after = dict(before)
            for intent in intents:
                after[place(intent)] = settled(after.get(place(intent)), intent)
            _put(connection, before, after)

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
        with self._reading() as (connection, _):
            return [
                _read_intent(row)
                for row in connection.execute(
                    f"SELECT {_INTENT} FROM intent WHERE {where} ORDER BY key LIMIT ?",
                    (*bound, limit),
                )
            ]

    def progress(self, batch: str) -> dict[SendState, int]:
        """Return how many intents of a batch are in each state."""
        with self._reading() as (connection, _):
            return _counted(
                connection.execute(
                    "SELECT state, count(*) FROM intent WHERE batch = ? GROUP BY state", (batch,)
                )
            )

    def withheld(self, stream: str, campaign: str) -> dict[SendState, int]:
        """Return how many of a campaign's intents are in each state of `WITHHELD`."""
        with self._reading() as (connection, _):
            return _counted(
                connection.execute(
                    "SELECT state, intents FROM withheld WHERE stream = ? AND campaign = ? "
                    "AND intents <> 0",
                    (stream, campaign),
                )
            )

    # Pauses

    def pauses(self) -> dict[str, Pause]:
        """Return why streams do not send, by stream."""
        with self._reading() as (connection, _):
            return {
                stream: Pause(stream=stream, at=at, by=by, detail=detail)
                for stream, at, by, detail in connection.execute(
                    "SELECT stream, at, said_by, detail FROM pause WHERE at IS NOT NULL"
                )
            }

    def pause(self, pause: Pause) -> None:
        """Stop a stream. One that is stopped already keeps its first reason."""
        with self._writing() as connection:
            connection.execute(
                "INSERT INTO pause (stream, at, said_by, detail) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (stream) DO UPDATE "
                "SET at = excluded.at, said_by = excluded.said_by, detail = excluded.detail "
                "WHERE at IS NULL",
                (pause.stream, pause.at, pause.by, pause.detail),
            )

    def resume(self, resumption: Resumption) -> Pause | None:
        """Let a stream send again; return what it was paused for."""
        stream = resumption.stream
        with self._writing() as connection:
            held = connection.execute(
                "SELECT at, said_by, detail FROM pause WHERE stream = ? AND at IS NOT NULL",
                (stream,),
            ).fetchone()
            connection.execute(
                "INSERT INTO pause (stream, resumed_at, counts) VALUES (?, ?, ?) "
                "ON CONFLICT (stream) DO UPDATE SET resumed_at = excluded.resumed_at, "
                "counts = excluded.counts, at = NULL, said_by = NULL, detail = NULL",
                (stream, resumption.at, json.encode(resumption.counts).decode()),
            )
        return (
            None if held is None else Pause(stream=stream, at=held[0], by=held[1], detail=held[2])
        )

    def resumption(self, stream: str) -> Resumption | None:
        """Return how somebody last let the stream send again."""
        with self._reading() as (connection, _):
            row = connection.execute(
                "SELECT resumed_at, counts FROM pause WHERE stream = ? AND resumed_at IS NOT NULL",
                (stream,),
            ).fetchone()
        if row is None:
            return None
        at, counts = row
        return Resumption(stream=stream, at=at, counts=read_counts(counts or "{}"))


def sweep(connection: sqlite3.Connection, now: int, limit: int) -> int:
    """Remove up to `limit` intents that were kept long enough, and batches that have none left;
    return how many intents went.
    """
    before = now - INTENTS_KEPT_MS
    removed = connection.execute(
        "DELETE FROM intent WHERE no IN (SELECT no FROM intent WHERE at < ? ORDER BY at LIMIT ?)",
        (before, limit),
    ).rowcount
    connection.execute(
        "DELETE FROM batch WHERE no IN (SELECT no FROM batch WHERE at < ? "
        "AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.batch = batch.id) LIMIT ?)",
        (before, limit),
    )
    return removed


def _batch(connection: sqlite3.Connection, id_: str) -> SendBatch | None:
    row = connection.execute(f"SELECT {_BATCH} FROM batch WHERE id = ?", (id_,)).fetchone()
    return None if row is None else _read_batch(row)


def _read_batch(row: Sequence[Any]) -> SendBatch:
    return SendBatch(**dict(zip(SendBatch.__struct_fields__, row, strict=True)))


def _held(connection: sqlite3.Connection, wanted: Iterable[Intent]) -> dict[Place, Intent]:
    """Return what is recorded under the places of intents."""
    keys: dict[str, list[str]] = {}
    for intent in wanted:
        keys.setdefault(intent.batch, []).append(intent.key)
    return {
        place(found): found
        for batch, of_batch in keys.items()
        for found in map(
            _read_intent,
            rows_in(
                connection,
                f"SELECT {_INTENT} FROM intent WHERE batch = ? AND key IN (",
                of_batch,
                (batch,),
            ),
        )
    }


def _put(
    connection: sqlite3.Connection, before: dict[Place, Intent], after: dict[Place, Intent]
) -> None:
    """Write what is not as it was, and move what is withheld by the difference."""
    changes = [(before.get(at), intent) for at, intent in after.items() if intent != before.get(at)]
    connection.executemany(_PUT_INTENT, [astuple(intent) for _, intent in changes])
    connection.executemany(
        _ADD_WITHHELD,
        [
            (*campaign, state, change)
            for campaign, counts in moved(changes).items()
            for state, change in counts.items()
            if change
        ],
    )


def _read_intent(row: Sequence[Any]) -> Intent:
    fields = dict(zip(Intent.__struct_fields__, row, strict=True))
    return Intent(**{**fields, "state": SendState(fields["state"])})


def _counted(rows: Iterable[tuple[str, int]]) -> dict[SendState, int]:
    return {SendState(state): count for state, count in rows}

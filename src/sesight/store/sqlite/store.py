"""The SQLite store: one writer, many readers, one file."""

from __future__ import annotations

import gc
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty, Full, LifoQueue
from threading import RLock
from typing import NamedTuple

from sesight.domain.card import Card
from sesight.domain.errors import SesightError, StoreUnavailable
from sesight.domain.event import UNATTRIBUTED
from sesight.domain.ports import (
    Changes,
    Clock,
    RecordFilter,
    RecordKey,
    RecordPage,
    SuppressionPage,
    SweepResult,
    View,
)
from sesight.domain.quarantine import Quarantined
from sesight.domain.record import Record
from sesight.domain.rollup import RollupRow, Rollups
from sesight.domain.suppression.item import Suppression
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.timestamps import DAY, HOUR
from sesight.store import backfill
from sesight.store.retention import (
    AHEAD,
    DEFAULT_DAYS,
    Look,
    Retention,
    Setting,
    State,
    believed,
    changed,
    in_force,
    is_longer,
    looked,
    shortened,
)
from sesight.store.sqlite import expiry as sweeping
from sesight.store.sqlite import message_log as pages
from sesight.store.sqlite import rollups as totals
from sesight.store.sqlite import send_log as sending
from sesight.store.sqlite import suppressions as lists
from sesight.store.sqlite.commit import write_records
from sesight.store.sqlite.connection import lock, open_reader, open_writer, translated
from sesight.store.sqlite.interning import Numbers, reading
from sesight.store.sqlite.message_id import pack
from sesight.store.sqlite.record_codec import decode
from sesight.store.sqlite.row_id import first_id, sent_of, stream_of
from sesight.store.sqlite.send_log import SqliteSendLog
from sesight.store.sqlite.shared_values import Values
from sesight.store.sqlite.view import SqliteView

READERS_KEPT = 8
"""Idle reading connections kept open."""

WALKED = 500
"""Records or items read at a time, so that a long walk holds no snapshot while its caller works."""


class Reader(NamedTuple):
    """A connection that reads, with the shared values it has seen."""

    connection: sqlite3.Connection
    values: Values


def wall_clock() -> int:
    """Return now, epoch milliseconds UTC."""
    return time.time_ns() // 1_000_000


class SqliteStore:
    """`sesight.domain.ports.Store` in one SQLite file. Any thread may use it; writes take turns."""

    def __init__(
        self,
        path: Path,
        *,
        retention_days: int | None = None,
        policy: SuppressionPolicy | None = None,
        clock: Clock = wall_clock,
        durability: str = "full",
        busy_timeout_ms: int = 5_000,
    ) -> None:
        """Open or make the file; `durability` is full, normal (may lose the last commits at a
        power failure) or off. A longer `retention_days` than the store's comes into force, a shorter
        one only by `shorten`. Raises SettingsError, StoreTooNew, StoreUnavailable.
        """
        self._path = path
        self._policy = SuppressionPolicy() if policy is None else policy
        self._clock = clock
        self._durability = durability
        self._busy_timeout_ms = busy_timeout_ms
        self._lock = RLock()
        self._readers: LifoQueue[Reader] = LifoQueue(READERS_KEPT)
        self._closed = False
        self._lock_held: int | None = None
        self._writer: sqlite3.Connection | None = None
        self._numbers: Numbers
        self._open()
        try:
            self.retention = self._open_retention(retention_days)
        except BaseException:
            self.close()
            raise
        self.sending = SqliteSendLog(self._writing, self._reading)

    # Connections

    def _open(self) -> sqlite3.Connection:
        writer = open_writer(self._path, self._busy_timeout_ms, self._durability)
        self._writer = writer
        self._numbers = Numbers(writer)
        return writer

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """Hold the one transaction that may write; it is committed, or nothing happened."""
        with self._lock:
            if self._closed:
                raise StoreUnavailable("The store is closed.")
            with translated(self._path):
                connection = self._open() if self._writer is None else self._writer
                connection.execute("BEGIN IMMEDIATE")
                try:
                    self._numbers.begin()
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    self._numbers.forget()
                    self._roll_back(connection)
                    raise

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """Leave no transaction open, by a new connection if nothing else helps."""
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            self._writer = None
            connection.close()

    @contextmanager
    def _reading(self) -> Iterator[Reader]:
        """Lend a reading connection within one snapshot."""
        if self._closed:
            raise StoreUnavailable("The store is closed.")
        with translated(self._path):
            reader = self._reader()
            sound = False
            try:
                reader.connection.execute("BEGIN")
                yield reader
                sound = True
            except SesightError:
                sound = True
                raise
            finally:
                self._give_back(reader, sound=sound)

    def _reader(self) -> Reader:
        """Return an idle connection, or a new one."""
        with suppress(Empty):
            return self._readers.get_nowait()
        connection = open_reader(self._path, self._busy_timeout_ms)
        return Reader(connection, reading(connection))

    def _give_back(self, reader: Reader, *, sound: bool) -> None:
        """Keep an idle connection for the next reader, if it is sound and there are not many."""
        kept = False
        try:
            if sound:
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

    def close(self) -> None:
        """Copy the WAL into the file and let go of everything held."""
        with self._lock:
            self._closed = True
            self._close_readers()
            if self._writer is not None:
                self._writer.close()
                self._writer = None
            if self._lock_held is not None:
                os.close(self._lock_held)
                self._lock_held = None

    def serve(self) -> None:
        """Hold the store for a server until it is closed. Raises SettingsError if another does."""
        if self._lock_held is None:
            self._lock_held = lock(self._path)

    # Writing

    def transact(self, fold: Callable[[View], Changes]) -> set[RecordKey]:
        """Run `fold` over a view and commit what it returns, whole; durable when this returns."""
        with _uncollected(), self._writing() as connection:
            numbers = self._numbers
            view = SqliteView(connection, numbers)
            changes = fold(view)
            if changes.records:
                first_day = write_records(connection, numbers, view, changes.records)
                if first_day is not None:
                    _note(connection, "first_day", first_day, "min")
            if changes.backfilled:  # before the totals: what is counted now is of this backfill
                today = self.retention.believed(self._clock()) // DAY
                live_from = self.live_from(self._clock())
                backfill.hold(connection, numbers, changes.backfilled, today, live_from)
            self._put_suppressions(connection, changes)
            if changes.afterwards is not None:
                self._put_suppressions(connection, changes.afterwards(view))
            if changes.cards:
                totals.join_cards(connection, numbers, changes.cards.values())
            if changes.quarantined:
                lists.put_quarantined(connection, changes.quarantined)
            if changes.released:
                connection.executemany(
                    "DELETE FROM quarantine WHERE id = ?", [(gone,) for gone in changes.released]
                )
            if changes.newest_at is not None:
                _note(connection, "newest_at", changes.newest_at, "max")
            if changes.event_at is not None and changes.event_at <= self._clock() + AHEAD:
                _note(connection, "event_at", changes.event_at, "max")
        return set()

    def _put_suppressions(self, connection: sqlite3.Connection, changes: Changes) -> None:
        """Write suppressions and increments of rollups."""
        if changes.suppressions:
            lists.put_suppressions(
                connection, changes.suppressions.values(), self._clock(), self._policy
            )
        if changes.rollups:
            totals.add(connection, self._numbers, changes.rollups)

    def bounded(self, rollups: Rollups) -> Rollups:
        """Return increments under the rows that keep them: values beyond the bound as `~other`."""
        with self._writing() as connection:
            return totals.bounded(connection, self._numbers, rollups)

    def live_from(self, now: int) -> int:
        """Return the first UTC send day (number) that is not expired at `now` (epoch ms)."""
        return self.retention.live_from(now)

    def repair(self, rollups: Rollups) -> None:
        """Add increments to rollup rows, and sum totals of their campaigns anew; see the port."""
        with self._writing() as connection:
            totals.mend(connection, self._numbers, rollups)

    def sweep(self, now: int, limit: int) -> SweepResult:
        """Remove up to `limit` expired records and what has outlived its use beside them."""
        with self._writing() as connection:
            self.retention.take(_look(connection, now))
            then = self.retention.believed(now)
            live_from = self.live_from(now)
            removed = sweeping.sweep(connection, then, limit, live_from)
            if removed.swept_to:
                _note(connection, "swept_to", removed.swept_to, "max")
            intents = sending.sweep(connection, then, limit)
        self.retention.take(self._read_retention())
        return SweepResult(
            removed.records,
            intents,
            removed.quarantined,
            removed.hours,
            live_from,
            doubted=then != now,
        )

    def sync(self) -> None:
        """Make durable what was committed so far, which `normal` alone does not."""
        if self._durability == "normal":
            with self._lock, translated(self._path):
                writer = self._open() if self._writer is None else self._writer
                writer.execute("PRAGMA synchronous = FULL")
                try:
                    with self._writing() as connection:
                        _note(connection, "synced_at", self._clock(), "max")
                finally:
                    writer.execute("PRAGMA synchronous = NORMAL")

    def settle(self) -> None:
        """Do nothing: rollups are committed with their records."""

    def idle(self) -> None:
        """Copy what no reader still needs from the WAL into the file: for a quiet moment."""
        with self._lock, translated(self._path):
            if self._writer is not None:
                self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    # Reading

    def messages(
        self, wanted: RecordFilter, limit: int, cursor: str | None, now: int, *, newer: bool = False
    ) -> RecordPage:
        """Return a page of records; see the port."""
        live_from = self.live_from(now) * DAY
        with self._reading() as (connection, values):
            return pages.page(connection, values, wanted, limit, cursor, live_from, newer=newer)

    def message(self, message_id: str, now: int) -> list[Record]:
        """Return all records of one message that are still held, `*` last."""
        live_from = self.live_from(now) * DAY
        packed = pack(message_id)
        with self._reading() as (connection, values):
            streams = dict(connection.execute("SELECT no, id FROM stream"))
            records = [
                decode(key, body, sent_of(rowid), streams[stream_of(rowid)], values).record
                for rowid, key, body in connection.execute(
                    "SELECT id, message, body FROM record WHERE message = ?", (packed[0],)
                )
            ]
        found = [
            record
            for record in records
            if record.message_id == message_id and record.identity.sent_at >= live_from
        ]
        return sorted(
            found, key=lambda record: (record.recipient == UNATTRIBUTED, record.recipient)
        )

    def rollups(
        self,
        family: str,
        stream: str,
        campaign: str = "",
        since: int | None = None,
        until: int | None = None,
        dimension: str | None = None,
    ) -> list[RollupRow]:
        """Return rows of one family and scope; see the port."""
        with self._reading() as (connection, _):
            return totals.rows(connection, family, stream, campaign, since, until, dimension)

    def campaign_totals(self, stream: str, campaign: str) -> list[RollupRow]:
        """Return a campaign's day rows summed over all days; see the port."""
        with self._reading() as (connection, _):
            return totals.of_campaign(connection, stream, campaign)

    def cards(self, streams: Collection[str]) -> list[tuple[Card, Sequence[int]]]:
        """Return every card with its campaign's totals."""
        with self._reading() as (connection, _):
            return totals.cards(connection, streams)

    def card(self, stream: str, campaign: str) -> Card | None:
        """Return one card."""
        with self._reading() as (connection, _):
            return totals.card(connection, stream, campaign)

    def suppression(self, stream: str, address: str) -> Suppression | None:
        """Return one item."""
        with self._reading() as (connection, _):
            return lists.suppression(connection, stream, address)

    def suppressions_of(self, stream: str, addresses: Collection[str]) -> dict[str, Suppression]:
        """Return the items that can block the addresses in a stream; see the port."""
        with self._reading() as (connection, _):
            return lists.suppressions_of(connection, stream, addresses)

    def suppressions(
        self,
        stream: str,
        limit: int,
        after: str | None = None,
        *,
        prefix: str = "",
        reason: str | None = None,
        active: bool | None = None,
    ) -> SuppressionPage:
        """Return a page of items in order of the address; see the port."""
        with self._reading() as (connection, _):
            return lists.suppressions(
                connection, stream, limit, after, prefix=prefix, reason=reason, active=active
            )

    def suppressions_due(self, now: int, limit: int) -> list[Suppression]:
        """Return counted items whose time to block is over at `now`."""
        with self._reading() as (connection, _):
            return lists.suppressions_due(connection, now, limit)

    def suppressions_counted(self, stream: str) -> Iterator[Suppression]:
        """Yield every counted item of a stream, in order of the address."""
        after = ""
        while True:
            with self._reading() as (connection, _):
                items = lists.suppressions_counted(connection, stream, after, WALKED)
            yield from items
            if len(items) < WALKED:
                return
            after = items[-1].address

    def quarantine(self, limit: int, reason: str | None = None) -> list[Quarantined]:
        """Return quarantined bodies, newest first."""
        with self._reading() as (connection, _):
            return lists.quarantine(connection, limit, reason)

    def quarantine_counts(self) -> dict[str, int]:
        """Return how many bodies are quarantined, by reason."""
        with self._reading() as (connection, _):
            return dict(
                connection.execute("SELECT reason, count(*) FROM quarantine GROUP BY reason")
            )

    def newest_at(self) -> int | None:
        """Return when the newest applied event was taken in."""
        return self._noted("newest_at")

    def first_day(self) -> int | None:
        """Return the first UTC send day the store ever held."""
        return self._noted("first_day")

    def list_version(self, stream: str) -> int:
        """Return the version that was noted of a stream's suppression list; see the port."""
        return self._noted(f"list:{stream}") or 0

    def note_list_version(self, stream: str, version: int) -> None:
        """Note the version of a stream's suppression list; see the port."""
        with self._writing() as connection:
            _note(connection, f"list:{stream}", version, "max")

    def keep_list_versions(self, streams: Collection[str]) -> None:
        """Forget the versions that were noted of other lists; see the port."""
        with self._reading() as (connection, _):
            noted = connection.execute("SELECT name FROM meta WHERE name LIKE 'list:%'").fetchall()
        others = [name for name in noted if name[0].removeprefix("list:") not in streams]
        if others:
            with self._writing() as connection:
                connection.executemany("DELETE FROM meta WHERE name = ?", others)

    def held_days(self, stream: str, now: int) -> list[int]:
        """Return the send days of which records are held, in order."""
        day = live = self.live_from(now)
        days = []
        with self._reading() as (connection, _):
            number = totals.find_stream(connection, stream)
            if number is None:
                return []
            earliest = "SELECT min(id) FROM record WHERE id >= ? AND id < ?"
            for of, past in sorted(backfill.held(connection, live)):
                ids = (first_id(number, past * DAY), first_id(number, (past + 1) * DAY))
                if of == number and connection.execute(earliest, ids).fetchone()[0] is not None:
                    days.append(past)
            while True:
                ids = (first_id(number, day * DAY), first_id(number + 1, 0))
                (found,) = connection.execute(earliest, ids).fetchone()
                if found is None:
                    return days
                day = sent_of(found) // DAY
                days.append(day)
                day += 1

    def records_of_day(self, stream: str, day: int) -> Iterator[Record]:
        """Yield every record sent on a UTC day, expired or not."""
        low: int | None = None
        while True:
            with self._reading() as (connection, values):
                number = totals.find_stream(connection, stream)
                if number is None:
                    return
                if low is None:
                    low = first_id(number, day * DAY)
                rows = connection.execute(
                    "SELECT id, message, body FROM record WHERE id >= ? AND id < ? "
                    "ORDER BY id LIMIT ?",
                    (low, first_id(number, (day + 1) * DAY), WALKED),
                ).fetchall()
                records = [
                    decode(key, body, sent_of(rowid), stream, values).record
                    for rowid, key, body in rows
                ]
            yield from records
            if len(rows) < WALKED:
                return
            low = rows[-1][0] + 1

    # Retention

    def expires_at(self, day: int) -> int | None:
        """Return when (epoch ms) the records sent on a UTC day expire, None for never."""
        return self.retention.expires_at(day)

    def _open_retention(self, days: int | None) -> Retention:
        """Return how long records are kept; a longer retention than there was is noted."""
        now = self._clock()
        with self._writing() as connection:
            state = _state(connection)
            if not state.settings:
                days = DEFAULT_DAYS if days is None else days
                _write_settings(connection, [Setting(now // DAY, days)])
            elif days is not None:
                self._lengthen(connection, state, days, now)
            state = _state(connection)
        if state.look is None or not 0 <= now - state.look.known_at < HOUR:
            with (
                suppress(StoreUnavailable),
                self._writing() as connection,
            ):  # a full disk can be read
                state = _look(connection, now)
        return Retention(self._read_retention, state, self._clock)

    def _lengthen(self, connection: sqlite3.Connection, state: State, days: int, now: int) -> None:
        today = believed(state.look, now) // DAY
        if is_longer(days, in_force(state.settings, today)[-1].days):
            _write_settings(connection, changed(state.settings, Setting(today, days), today))

    def shorten(self, days: int) -> Setting:
        """Have records kept for fewer days from the day that is returned on; it can be taken back until then.

        Raises InvalidRequest if that is not shorter.
        """
        with self._writing() as connection:
            state = _state(connection)
            today = believed(state.look, self._clock()) // DAY
            new = shortened(state.settings, days, today)
            _write_settings(connection, changed(state.settings, new, today))
            state = _state(connection)
        self.retention.take(state)
        return new

    def take_back(self) -> bool:
        """Take a shorter retention back that is not in force yet; return whether there was one."""
        with self._writing() as connection:
            state = _state(connection)
            held = in_force(state.settings, believed(state.look, self._clock()) // DAY)
            _write_settings(connection, held)
            taken_back = len(held) < len(state.settings)
            state = _state(connection)
        self.retention.take(state)
        return taken_back

    def _read_retention(self) -> State:
        with self._reading() as (connection, _):
            return _state(connection)

    # The file

    def backup(self, path: Path, progress: Callable[[int, int], None] | None = None) -> None:
        """Copy the store to a new file while it is used; `progress` hears (pages left, of)."""
        with self._reading() as (connection, _):
            # a snapshot taken first: without it every commit of another process begins the copy anew
            connection.execute("SELECT count(*) FROM meta").fetchone()
            target = sqlite3.connect(path)
            try:
                connection.backup(
                    target,
                    pages=1_000,
                    progress=(lambda _, left, of: progress(left, of)) if progress else None,
                )
            finally:
                target.close()

    def damage(self) -> str | None:
        """Return the first thing that SQLite finds wrong with the file in a quick look at all of it."""
        with self._reading() as (connection, _):
            (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        return None if found == "ok" else str(found)

    def integrity(self) -> list[str]:
        """Return what SQLite finds wrong with the file, nothing when it is sound."""
        with self._reading() as (connection, _):
            found = [line for (line,) in connection.execute("PRAGMA integrity_check")]
        return [] if found == ["ok"] else found

    def _noted(self, name: str) -> int | None:
        with self._reading() as (connection, _):
            found = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None


@contextmanager
def _uncollected() -> Iterator[None]:
    """Pause the cycle collector.

    A batch makes some hundred thousand lists and tuples that live to its end and form no cycle;
    looking for cycles among them again and again took half of the time of reading records.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _state(connection: sqlite3.Connection) -> State:
    """Return what is written down of retention and of the clock."""
    settings = [
        Setting(*row)
        for row in connection.execute("SELECT from_day, days FROM retention ORDER BY no")
    ]
    noted = dict(connection.execute("SELECT name, value FROM meta"))
    # an older Sesight noted no look, but when it took in the newest event
    known_at = noted.get("known_at", noted.get("newest_at"))
    doubt = [noted.get(f"doubted_{name}") for name in ("from", "at", "event_at")]
    return State(
        settings,
        None if known_at is None else Look(known_at, *doubt),
        noted.get("swept_to", 0),
    )


def _look(connection: sqlite3.Connection, now: int) -> State:
    """Look at the clock and note what is known of it then; return all that is written down."""
    state = _state(connection)
    found = connection.execute("SELECT value FROM meta WHERE name = 'event_at'").fetchone()
    look = looked(state.look or Look(now), now, found[0] if found else None)
    names = ("known_at", "doubted_from", "doubted_at", "doubted_event_at")
    connection.executemany("DELETE FROM meta WHERE name = ?", [(name,) for name in names])
    if (
        look.doubted_from is None
    ):  # what was taken in by a clock that was ahead is not the newest for ever
        connection.execute(
            "UPDATE meta SET value = ? WHERE name = 'newest_at' AND value > ?",
            (found[0] if found else now, now + AHEAD),
        )
    connection.executemany(
        "INSERT INTO meta (name, value) VALUES (?, ?)",
        [(name, value) for name, value in zip(names, look, strict=True) if value is not None],
    )
    return state._replace(look=look)


def _write_settings(connection: sqlite3.Connection, settings: Sequence[Setting]) -> None:
    connection.execute("DELETE FROM retention")
    connection.executemany("INSERT INTO retention (from_day, days) VALUES (?, ?)", settings)


def _note(connection: sqlite3.Connection, name: str, value: int, how: str) -> None:
    connection.execute(
        "INSERT INTO meta (name, value) VALUES (?, ?) "
        f"ON CONFLICT (name) DO UPDATE SET value = {how}(value, excluded.value)",
        (name, value),
    )

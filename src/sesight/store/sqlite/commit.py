"""Committing a batch in one transaction: records, suppressions, rollups, cards, quarantine, metadata."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sesight.domain.event import UNATTRIBUTED
from sesight.domain.ports import Changes, RecordKey, View
from sesight.domain.record import Record, tie_breaker
from sesight.domain.suppression.policy import SuppressionPolicy
from sesight.domain.timestamps import DAY
from sesight.store.attention import KINDS, kinds_of
from sesight.store.retention import AHEAD, Retention
from sesight.store.sqlite import backfill, cards, quarantine, rollups, suppressions
from sesight.store.sqlite.connection_pool import ConnectionPool
from sesight.store.sqlite.interning import Interning
from sesight.store.sqlite.metadata import note_first, note_latest
from sesight.store.sqlite.record_codec import encode
from sesight.store.sqlite.row_id import LATEST, SENT_SHIFT, STREAM_SHIFT, TIES, address_key
from sesight.store.sqlite.shared_values import SPAN
from sesight.store.sqlite.view import SqliteView


def transact(
    fold: Callable[[View], Changes],
    pool: ConnectionPool,
    retention: Retention,
    policy: SuppressionPolicy,
    now: int,
) -> None:
    """Run `fold` over a view and commit what it returns, whole; durable when this returns."""
    with _garbage_collection_paused(), pool.writing() as (connection, interning):
        view = SqliteView(connection, interning)
        changes = fold(view)
        if changes.records:
            first_day = write_records(connection, interning, view, changes.records)
            if first_day is not None:
                note_first(connection, "first_day", first_day)
        if changes.backfilled:  # before the totals: what is counted now belongs to this backfill
            today = retention.trusted_time(now) // DAY
            live_from = retention.live_from(now)
            backfill.hold(connection, interning, changes.backfilled, today, live_from)
        _put_suppressions(connection, interning, changes, policy, now)
        if changes.afterwards is not None:
            _put_suppressions(connection, interning, changes.afterwards(view), policy, now)
        if changes.cards:
            cards.join(connection, interning, changes.cards.values())
        if changes.quarantined:
            quarantine.put(connection, changes.quarantined)
        if changes.released:
            quarantine.release(connection, changes.released)
        if changes.newest_at is not None:
            note_latest(connection, "newest_at", changes.newest_at)
        if changes.event_at is not None and changes.event_at <= now + AHEAD:
            note_latest(connection, "event_at", changes.event_at)


def _put_suppressions(
    connection: sqlite3.Connection,
    interning: Interning,
    changes: Changes,
    policy: SuppressionPolicy,
    now: int,
) -> None:
    """Write suppressions and increments of rollups."""
    if changes.suppressions:
        suppressions.put(connection, changes.suppressions.values(), now, policy)
    if changes.rollups:
        rollups.add_increments(connection, interning, changes.rollups)


@contextmanager
def _garbage_collection_paused() -> Iterator[None]:
    """Pause the cycle collector.

    A batch makes some hundred thousand lists and tuples that live until its end and form no cycle.
    Searching them for cycles again and again took half of the time of reading records.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


_INSERT = (
    "INSERT OR IGNORE INTO record (id, message, address, campaign, month, body) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)
_UNMARK = (
    f"DELETE FROM attention WHERE id = ? AND kind IN ({','.join(map(str, sorted(KINDS.values())))})"
)

_Insert = tuple[int, int, int | None, int, int | None, bytes]


def write_records(
    connection: sqlite3.Connection,
    interning: Interning,
    view: SqliteView,
    records: Mapping[RecordKey, Record],
) -> int | None:
    """Write the records; return the earliest send day among the new ones, None if none is new.

    Messages that the view has not read are read first, so that a record is never stored twice.
    """
    unseen = {key[0] for key in records if key[0] not in view.packed_ids}
    if unseen:
        view.records(unseen)
    inserts: list[_Insert] = []
    new: list[Record] = []
    bodies: list[tuple[bytes, int]] = []
    changed: list[tuple[int, int | None, bytes, int]] = []
    moved_rows: list[tuple[int]] = []
    marks_to_delete: list[tuple[int]] = []
    marks: list[tuple[int, int, int]] = []
    rare_new: list[int] = []
    stored_rows, packed_ids = view.rows, view.packed_ids
    value_ids_of, stream_of = interning.value_ids, interning.stream
    campaigns = interning.campaign_of_head
    span, value_ids = -1, None
    first_sent: int | None = None
    for key, record in records.items():
        message, kept = packed_ids[key[0]]
        stream = record.stream
        sent_at = record.identity.sent_at
        if value_ids is None or sent_at // SPAN != span:
            span = sent_at // SPAN
            value_ids = value_ids_of(sent_at)
        stored = stored_rows.get(key)
        place = record.tally.dimensions if record.tally is not None else None
        month = place.month if place is not None else None
        if stored is not None:
            rowid, before = stored.rowid, stored.decoded
            previous = before.record
            if previous.identity.sent_at == sent_at and previous.stream == stream:
                displaced = rowid >> SENT_SHIFT & LATEST != sent_at
                body, head, rare = encode(record, kept, value_ids, before, displaced=displaced)
                campaign = campaigns.get((stream, head))
                if campaign is None:
                    campaign = _campaign(interning, record, head)
                if campaign == stored.campaign and month == stored.month:
                    bodies.append((body, rowid))
                else:
                    changed.append((campaign, month, body, rowid))
                if rare:
                    marks_to_delete.append((rowid,))
                    marks += [(kind, rowid, campaign) for kind in kinds_of(record)]
                continue
            moved_rows.append((rowid,))
            marks_to_delete.append((rowid,))
        if first_sent is None or sent_at < first_sent:
            first_sent = sent_at
        address = record.recipient
        body, head, rare = encode(record, kept, value_ids, displaced=not 0 <= sent_at < LATEST)
        campaign = campaigns.get((stream, head))
        if campaign is None:
            campaign = _campaign(interning, record, head)
        if rare:
            rare_new.append(len(new))
        new.append(record)
        inserts.append(
            (
                stream_of(stream) << STREAM_SHIFT
                | min(max(sent_at, 0), LATEST) << SENT_SHIFT
                | tie_breaker(key[0], address),
                message,
                None if address == UNATTRIBUTED else address_key(address),
                campaign,
                month,
                body,
            )
        )
    execute = connection.executemany
    if moved_rows:
        execute("DELETE FROM record WHERE id = ?", moved_rows)
    if bodies:
        bodies.sort(key=_last)
        execute("UPDATE record SET body = ? WHERE id = ?", bodies)
    if changed:
        changed.sort(key=_last)
        execute("UPDATE record SET campaign = ?, month = ?, body = ? WHERE id = ?", changed)
    if marks_to_delete:
        execute(_UNMARK, marks_to_delete)
    if inserts:
        _insert(connection, interning, view, inserts, new)
        for index in rare_new:
            rowid, campaign = inserts[index][0], inserts[index][3]
            marks += [(kind, rowid, campaign) for kind in kinds_of(new[index])]
    if marks:
        execute("INSERT INTO attention (kind, id, campaign) VALUES (?, ?, ?)", marks)
    return None if first_sent is None else first_sent // DAY


def _campaign(interning: Interning, record: Record, head: int) -> int:
    """Return the number of a record's campaign, and remember it for all records with the same head.

    Tags that belong to one recipient never name the campaign, so the head alone determines it.
    """
    number = interning.campaign(record.stream, record.campaign)
    interning.campaign_of_head[(record.stream, head)] = number
    return number


def _last(row: tuple[Any, ...]) -> int:
    return int(row[-1])


def _insert(
    connection: sqlite3.Connection,
    interning: Interning,
    view: SqliteView,
    inserts: list[_Insert],
    records: list[Record],
) -> None:
    """Insert new rows. A row whose id is taken gets a free one, which replaces the id in `inserts`.

    Two records of one millisecond have the same tie once in 32,768, so nothing is looked up
    beforehand: the count of inserted rows shows an ignored row, and only then is it searched for.
    """
    order = sorted(range(len(inserts)), key=lambda index: inserts[index][0])
    inserted = connection.executemany(_INSERT, [inserts[index] for index in order]).rowcount
    if inserted == len(inserts):
        return
    for index in order:
        rowid, message, _, _, _, body = inserts[index]
        stored = connection.execute(
            "SELECT message, body FROM record WHERE id = ?", (rowid,)
        ).fetchone()
        if stored == (message, body):  # ours: the address in a body is in no other record's
            continue
        rowid, displaced = _free_id(connection, rowid)
        if displaced:
            record = records[index]
            kept = view.packed_ids[record.message_id][1]
            body, _, _ = encode(
                record, kept, interning.value_ids(record.identity.sent_at), displaced=True
            )
        inserts[index] = (rowid, message, *inserts[index][2:5], body)
        connection.execute(_INSERT, inserts[index])


def _free_id(connection: sqlite3.Connection, taken_id: int) -> tuple[int, bool]:
    """Return a free id near a taken one, and whether it encodes another send time.

    It tries the ties of the same millisecond first, then those of the following milliseconds.
    """
    start = taken_id >> SENT_SHIFT << SENT_SHIFT
    beyond = start + TIES
    for low, end, displaced in (
        (taken_id, beyond, False),
        (start, taken_id, False),
        (beyond, None, True),
    ):
        expected = low
        rows = connection.execute(
            "SELECT id FROM record WHERE id >= ? AND id < ? ORDER BY id",
            (low, end if end is not None else (1 << 63) - 1),
        )
        for (rowid,) in rows:
            if rowid != expected:
                break
            expected += 1
        rows.close()
        if end is None or expected < end:
            return expected, displaced
    raise AssertionError  # the last range has no end

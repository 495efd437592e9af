"""Records into rows: new ones, changed ones, and those whose send time turned out to be earlier."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from sesight.domain.event import UNATTRIBUTED
from sesight.domain.ports import RecordKey
from sesight.domain.record import Record, tie_breaker
from sesight.domain.timestamps import DAY
from sesight.store.attention import KINDS, kinds_of
from sesight.store.sqlite.interning import Numbers
from sesight.store.sqlite.record_codec import encode
from sesight.store.sqlite.row_id import LATEST, SENT_SHIFT, STREAM_SHIFT, TIES, address_key
from sesight.store.sqlite.shared_values import SPAN
from sesight.store.sqlite.view import SqliteView

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
    numbers: Numbers,
    view: SqliteView,
    records: Mapping[RecordKey, Record],
) -> int | None:
    """Write the records; return the earliest send day among new ones, None when there are none.

    What the view did not read is read first, so that a record is never stored twice.
    """
    unseen = {key[0] for key in records if key[0] not in view.packed}
    if unseen:
        view.records(unseen)
    inserts: list[_Insert] = []
    new: list[Record] = []
    bodies: list[tuple[bytes, int]] = []
    rows: list[tuple[int, int | None, bytes, int]] = []
    gone: list[tuple[int]] = []
    unmarked: list[tuple[int]] = []
    marks: list[tuple[int, int, int]] = []
    rare_new: list[int] = []
    held_rows, packed = view.held, view.packed
    shared_of, stream_of, campaigns = numbers.shared, numbers.stream, numbers.campaigns
    span, shared = -1, None
    first_sent: int | None = None
    for key, record in records.items():
        message, kept = packed[key[0]]
        stream = record.stream
        sent_at = record.identity.sent_at
        if shared is None or sent_at // SPAN != span:
            span = sent_at // SPAN
            shared = shared_of(sent_at)
        held = held_rows.get(key)
        place = record.tally.dimensions if record.tally is not None else None
        month = place.month if place is not None else None
        if held is not None:
            rowid, before = held.rowid, held.before
            was = before.record
            if was.identity.sent_at == sent_at and was.stream == stream:
                displaced = rowid >> SENT_SHIFT & LATEST != sent_at
                body, head, rare = encode(record, kept, shared, before, displaced=displaced)
                campaign = campaigns.get((stream, head))
                if campaign is None:
                    campaign = _campaign(numbers, record, head)
                if campaign == held.campaign and month == held.month:
                    bodies.append((body, rowid))
                else:
                    rows.append((campaign, month, body, rowid))
                if rare:
                    unmarked.append((rowid,))
                    marks += [(kind, rowid, campaign) for kind in kinds_of(record)]
                continue
            gone.append((rowid,))
            unmarked.append((rowid,))
        if first_sent is None or sent_at < first_sent:
            first_sent = sent_at
        address = record.recipient
        body, head, rare = encode(record, kept, shared, displaced=not 0 <= sent_at < LATEST)
        campaign = campaigns.get((stream, head))
        if campaign is None:
            campaign = _campaign(numbers, record, head)
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
    if gone:
        execute("DELETE FROM record WHERE id = ?", gone)
    if bodies:
        bodies.sort(key=_last)
        execute("UPDATE record SET body = ? WHERE id = ?", bodies)
    if rows:
        rows.sort(key=_last)
        execute("UPDATE record SET campaign = ?, month = ?, body = ? WHERE id = ?", rows)
    if unmarked:
        execute(_UNMARK, unmarked)
    if inserts:
        _insert(connection, numbers, view, inserts, new)
        for at in rare_new:
            rowid, campaign = inserts[at][0], inserts[at][3]
            marks += [(kind, rowid, campaign) for kind in kinds_of(new[at])]
    if marks:
        execute("INSERT INTO attention (kind, id, campaign) VALUES (?, ?, ?)", marks)
    return None if first_sent is None else first_sent // DAY


def _campaign(numbers: Numbers, record: Record, head: int) -> int:
    """Return the number of a record's campaign and remember it for all with the same head.

    The campaign is named by tags that are never a recipient's own, so the head decides it.
    """
    number = numbers.campaign(record.stream, record.campaign)
    numbers.campaigns[(record.stream, head)] = number
    return number


def _last(row: tuple[Any, ...]) -> int:
    return int(row[-1])


def _insert(
    connection: sqlite3.Connection,
    numbers: Numbers,
    view: SqliteView,
    inserts: list[_Insert],
    records: list[Record],
) -> None:
    """Insert new rows; those whose id is taken get the next free one (`inserts` says which).

    Two records of one millisecond have the same tie once in 32,768, so nothing is looked up
    beforehand: a row that was ignored shows in the count, and only then is looked for.
    """
    order = sorted(range(len(inserts)), key=lambda at: inserts[at][0])
    changed = connection.executemany(_INSERT, [inserts[at] for at in order]).rowcount
    if changed == len(inserts):
        return
    for at in order:
        rowid, message, _, _, _, body = inserts[at]
        found = connection.execute(
            "SELECT message, body FROM record WHERE id = ?", (rowid,)
        ).fetchone()
        if found == (message, body):  # no other record has this body: the address is in it
            continue
        rowid, displaced = _free(connection, rowid)
        if displaced:
            record = records[at]
            kept = view.packed[record.message_id][1]
            body, _, _ = encode(
                record, kept, numbers.shared(record.identity.sent_at), displaced=True
            )
        inserts[at] = (rowid, message, *inserts[at][2:5], body)
        connection.execute(_INSERT, inserts[at])


def _free(connection: sqlite3.Connection, taken: int) -> tuple[int, bool]:
    """Return a free id after a taken one, and whether it says another send time.

    The ties of the same millisecond come first, those of the following ones after them.
    """
    start = taken >> SENT_SHIFT << SENT_SHIFT
    beyond = start + TIES
    for low, end, displaced in (
        (taken, beyond, False),
        (start, taken, False),
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

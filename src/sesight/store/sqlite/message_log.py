"""The message log: which index answers a filter, pages of its records, and walks through send days."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from heapq import merge
from itertools import groupby
from typing import NamedTuple

from sesight.domain.ports import RecordFilter, RecordPage
from sesight.domain.record import Record
from sesight.domain.timestamps import DAY
from sesight.store import attention, cursor, filters
from sesight.store.message_log import PageRequest, fill_page, held_of_message
from sesight.store.sqlite import backfill
from sesight.store.sqlite.connection_pool import ConnectionPool
from sesight.store.sqlite.interning import find_campaign, find_stream
from sesight.store.sqlite.message_id import pack
from sesight.store.sqlite.record_codec import decode
from sesight.store.sqlite.row_id import (
    PLACE,
    STREAM_SHIFT,
    address_key,
    end_id,
    first_id,
    sent_of,
    stream_of,
)
from sesight.store.sqlite.shared_values import SharedValues

READ_AT_ONCE = 500
"""Records read at a time, so that a long walk holds no snapshot while its caller works."""

_RecordRow = tuple[int, int, bytes]
"""A record's id, message key and body."""

_IndexScan = Generator[_RecordRow, None, None]

_RECORDS = "SELECT r.id, r.message, r.body FROM record r WHERE "
_RARE = (
    "SELECT r.id, r.message, r.body FROM attention a CROSS JOIN record r ON r.id = a.id "
    "WHERE a.kind = ? AND "
)
_RARE_OF_CAMPAIGN = (
    "SELECT r.id, r.message, r.body FROM attention a INDEXED BY attention_campaign "
    "CROSS JOIN record r ON r.id = a.id WHERE a.campaign = ? AND a.kind = ? AND "
)


class RowPosition(NamedTuple):
    """A row's position in the order of all streams: send time and tie first, then the stream."""

    place: int
    stream: int


def position_of(rowid: int) -> RowPosition:
    """Return a row's position in the order of all streams."""
    return RowPosition(rowid & PLACE, stream_of(rowid))


def write_cursor(position: RowPosition, filter_: RecordFilter) -> str:
    """Return a position as a cursor of this filter."""
    return cursor.encode((position.place << 6 | position.stream).to_bytes(8), filter_)


def read_cursor(text: str, filter_: RecordFilter) -> RowPosition:
    """Return the position in a cursor. Raises InvalidRequest if it was made for another filter."""
    number = int.from_bytes(cursor.decode(text, filter_))
    return RowPosition(number >> 6, number & 63)


def page(
    connection: sqlite3.Connection,
    values: SharedValues,
    filter_: RecordFilter,
    request: PageRequest,
    live_from: int,
) -> RecordPage:
    """Return a page of the records sent on the UTC day `live_from` or later; see the port."""
    start = read_cursor(request.cursor, filter_) if request.cursor is not None else None
    predicates = _predicates(filter_)
    streams = {
        number: name
        for number, name in connection.execute("SELECT no, id FROM stream")
        if name in filter_.streams
    }
    with ExitStack() as open_scans:
        scans = _scans(connection, filter_, streams, live_from, start, newer=request.newer)
        if not scans:
            return RecordPage([], None, None, request.cursor)
        for scan in scans:  # also when a row cannot be read: their connection is closed then
            open_scans.enter_context(closing(scan))

        def candidates() -> Iterator[tuple[int, Record]]:
            # a record may have several of the rare facts, and so come from several scans
            rows = merge(*scans, key=_order, reverse=not request.newer)
            for rowid, same in groupby(rows, key=_rowid):
                _, key, body = next(same)
                stream = streams[stream_of(rowid)]
                yield rowid, decode(key, body, sent_of(rowid), stream, values).record

        return fill_page(
            candidates(),
            predicates,
            request,
            lambda rowid: write_cursor(position_of(rowid), filter_),
            sent_of,
            first_cursor=write_cursor(RowPosition(0, 0), filter_),
        )


def _order(row: _RecordRow) -> tuple[int, int]:
    return row[0] & PLACE, row[0] >> STREAM_SHIFT


def _rowid(row: _RecordRow) -> int:
    return row[0]


def _predicates(filter_: RecordFilter) -> list[filters.Predicate]:
    """Return what the index that `_scans` chooses leaves open. Raises InvalidRequest."""
    outcomes, event = filters.outcomes(filter_), filters.event(filter_)
    kinds = filters.kinds(outcomes, event)
    are_rare_outcomes = bool(outcomes) and outcomes <= attention.KINDS.keys()
    by_address = filter_.address is not None
    predicates: list[filters.Predicate] = []
    if filter_.since is not None or filter_.until is not None:
        # the id of a displaced row does not have its exact send time
        predicates.append(filters.sent_within(filter_.since, filter_.until))
    if filter_.provider is not None:
        predicates.append(filters.has_provider(filter_.provider))
    if outcomes and (by_address or not are_rare_outcomes):
        predicates.append(filters.has_outcome(outcomes))
    if event is not None and (by_address or are_rare_outcomes or event not in attention.EVENTS):
        predicates.append(filters.has_event(event))
    if filter_.month is not None and (by_address or kinds or filter_.campaign is not None):
        predicates.append(filters.in_month(filter_.month))
    if filter_.address is not None:
        # addresses are indexed by a checksum, which several may share
        predicates.append(filters.is_to(filter_.address))
        if filter_.campaign is not None:
            predicates.append(filters.in_campaign(filter_.campaign))
    return predicates


def _scans(
    connection: sqlite3.Connection,
    filter_: RecordFilter,
    streams: dict[int, str],
    live_from: int,
    start: RowPosition | None,
    *,
    newer: bool,
) -> list[_IndexScan]:
    """Choose the index with the fewest rows to pass over; return one ordered scan of it for each
    stream and kind.
    """
    since = max(live_from * DAY, filter_.since or 0)
    kinds = filters.kinds(filters.outcomes(filter_), filters.event(filter_))
    scans: list[_IndexScan] = []
    for number, name in streams.items():
        low, high = first_id(number, since), end_id(number)
        if filter_.until is not None:
            high = first_id(number, filter_.until)
        if start is not None:
            bound = (number << STREAM_SHIFT) + start.place
            if newer:
                low = max(low, bound + (number <= start.stream))
            else:
                high = min(high, bound + (number < start.stream))
        campaign = None
        if filter_.campaign is not None:
            campaign = find_campaign(connection, name, filter_.campaign)
            if campaign is None:
                continue
        selects: list[tuple[str, tuple[int, ...]]]
        if filter_.address is not None:
            selects = [(f"{_RECORDS}address = ? AND ", (address_key(filter_.address),))]
        elif kinds and campaign is not None:
            selects = [(_RARE_OF_CAMPAIGN, (campaign, kind)) for kind in kinds]
        elif kinds:
            selects = [(_RARE, (kind,)) for kind in kinds]
        elif campaign is not None:
            selects = [(f"{_RECORDS}campaign = ? AND ", (campaign,))]
        elif filter_.month is not None:
            selects = [(f"{_RECORDS}month = ? AND ", (filter_.month,))]
        else:
            selects = [(_RECORDS, ())]
        scans += [
            _scan(connection, select, (*first, low, high), newer=newer) for select, first in selects
        ]
    return scans


def _scan(
    connection: sqlite3.Connection, select: str, bound: tuple[int, ...], *, newer: bool
) -> _IndexScan:
    """Yield the rows of one index scan, stepping it only as far as it is read."""
    table = "r" if select.startswith(_RECORDS) else "a"
    direction = "" if newer else " DESC"
    yield from connection.execute(
        f"{select}{table}.id >= ? AND {table}.id < ? ORDER BY {table}.id{direction}", bound
    )


def message(
    connection: sqlite3.Connection, values: SharedValues, message_id: str, live_from: int
) -> list[Record]:
    """Return all records of one message sent on the UTC day `live_from` or later, `*` last."""
    streams = dict(connection.execute("SELECT no, id FROM stream"))
    rows = connection.execute(
        "SELECT id, message, body FROM record WHERE message = ?", (pack(message_id)[0],)
    )
    records = [
        decode(key, body, sent_of(rowid), streams[stream_of(rowid)], values).record
        for rowid, key, body in rows
    ]
    # another message id may have the same key
    of_message = [record for record in records if record.message_id == message_id]
    return held_of_message(of_message, live_from)


def held_days(connection: sqlite3.Connection, stream: str, live_from: int) -> list[int]:
    """Return the send days of which records are still held, in order; see the port."""
    number = find_stream(connection, stream)
    if number is None:
        return []

    def first_sent(low: int, high: int) -> int | None:
        """Return the send time of the first record of an id range."""
        select = "SELECT min(id) FROM record WHERE id >= ? AND id < ?"
        (rowid,) = connection.execute(select, (low, high)).fetchone()
        return None if rowid is None else sent_of(rowid)

    days = [
        day
        for of_stream, day in sorted(backfill.held_days(connection, live_from))
        if of_stream == number
        and first_sent(first_id(number, day * DAY), first_id(number, (day + 1) * DAY)) is not None
    ]
    day = live_from
    while (sent := first_sent(first_id(number, day * DAY), first_id(number + 1, 0))) is not None:
        day = sent // DAY
        days.append(day)
        day += 1
    return days


def records_of_day(pool: ConnectionPool, stream: str, day: int) -> Iterator[Record]:
    """Yield every record sent on a UTC day, expired or not."""
    low: int | None = None
    while True:
        with pool.reading() as (connection, values):
            number = find_stream(connection, stream)
            if number is None:
                return
            if low is None:
                low = first_id(number, day * DAY)
            rows = connection.execute(
                "SELECT id, message, body FROM record WHERE id >= ? AND id < ? ORDER BY id LIMIT ?",
                (low, first_id(number, (day + 1) * DAY), READ_AT_ONCE),
            ).fetchall()
            records = [
                decode(key, body, sent_of(rowid), stream, values).record
                for rowid, key, body in rows
            ]
        yield from records
        if len(rows) < READ_AT_ONCE:
            return
        low = rows[-1][0] + 1

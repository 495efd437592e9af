"""Pages of records: which index answers a filter, and cursors to go on in either direction."""

from __future__ import annotations

import sqlite3
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Generator
from hashlib import blake2b
from heapq import merge
from itertools import groupby
from typing import NamedTuple

import msgspec

from sesight.domain.errors import InvalidRequest
from sesight.domain.event import EventType
from sesight.domain.ports import RecordFilter, RecordPage
from sesight.domain.record import Record
from sesight.store import attention, filters
from sesight.store.sqlite.record_codec import decode
from sesight.store.sqlite.rollups import find_campaign
from sesight.store.sqlite.row_id import (
    PLACE,
    STREAM_SHIFT,
    address_key,
    end_id,
    first_id,
    sent_of,
    stream_of,
)
from sesight.store.sqlite.shared_values import Values

_Lane = Generator[tuple[int, int, bytes], None, None]


class Position(NamedTuple):
    """Where a page ends: by send time and tie first, then stream."""

    place: int
    stream: int


def position(rowid: int) -> Position:
    """Return where a row stands in the order of all streams."""
    return Position(rowid & PLACE, stream_of(rowid))


def write_cursor(at: Position, wanted: RecordFilter) -> str:
    """Return a position as text that only holds for this filter."""
    data = (at.place << 6 | at.stream).to_bytes(8)
    return urlsafe_b64encode(data + _mark(data, wanted)).decode().rstrip("=")


def read_cursor(text: str, wanted: RecordFilter) -> Position:
    """Return the position of a cursor. Raises InvalidRequest when it is not of this filter."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError as error:
        raise InvalidRequest("The cursor is damaged.") from error
    at, mark = data[:8], data[8:]
    if len(data) != 16 or mark != _mark(at, wanted):
        raise InvalidRequest("The cursor is not of this list: it was made for other filters.")
    number = int.from_bytes(at)
    return Position(number >> 6, number & 63)


def _mark(data: bytes, wanted: RecordFilter) -> bytes:
    return blake2b(data + msgspec.msgpack.encode(wanted), digest_size=8).digest()


def page(
    connection: sqlite3.Connection,
    values: Values,
    wanted: RecordFilter,
    limit: int,
    cursor: str | None,
    live_from: int,
    *,
    newer: bool = False,
) -> RecordPage:
    """Return a page of the records sent at `live_from` (ms) or later; see the port.

    `newer`: the rows that come next above the cursor instead of below it, newest first all the same.
    """
    start = read_cursor(cursor, wanted) if cursor is not None else None
    outcomes = filters.outcomes(wanted)
    event = filters.event(wanted)
    streams = {
        number: name
        for number, name in connection.execute("SELECT no, id FROM stream")
        if name in wanted.streams
    }
    found = _lanes(connection, wanted, streams, outcomes, event, live_from, start, newer=newer)
    if found is None:
        return RecordPage([], None, None, cursor)
    lanes, tests = found
    rows = merge(*lanes, key=_order, reverse=not newer)
    records: list[Record] = []
    first: int | None = None
    last: int | None = None
    more = False
    try:
        for looked, (rowid, same) in enumerate(groupby(rows, key=_rowid)):
            if len(records) >= limit or looked >= limit * filters.PATIENCE:
                more = True
                break
            last = rowid
            if first is None:
                first = rowid
            _, key, body = next(same)
            record = decode(key, body, sent_of(rowid), streams[stream_of(rowid)], values).record
            if all(test(record) for test in tests):
                records.append(record)
    finally:  # also when a row cannot be read: their connection is closed then
        for lane in lanes:
            lane.close()
    short = more and len(records) < limit
    below, above = (first, last) if newer else (last, first)
    if newer:
        records.reverse()
        going_on = write_cursor(position(below), wanted) if below is not None else cursor
    else:
        going_on = write_cursor(position(below), wanted) if more and below is not None else None
    if above is not None:
        fresh: str | None = write_cursor(position(above), wanted)
    else:
        fresh = cursor or write_cursor(Position(0, 0), wanted)
    return RecordPage(
        records, going_on, sent_of(last) if short and last is not None else None, fresh
    )


def _order(row: tuple[int, int, bytes]) -> tuple[int, int]:
    return row[0] & PLACE, row[0] >> STREAM_SHIFT


def _rowid(row: tuple[int, int, bytes]) -> int:
    return row[0]


def _lanes(
    connection: sqlite3.Connection,
    wanted: RecordFilter,
    streams: dict[int, str],
    outcomes: frozenset[str],
    event: EventType | None,
    live_from: int,
    start: Position | None,
    *,
    newer: bool,
) -> tuple[list[_Lane], list[filters.Test]] | None:
    """Choose the index with the fewest rows to pass over; return one ordered lane per stream and
    kind, and the tests that the index leaves open. None: nothing can be found.
    """
    since = max(live_from, wanted.since or 0)
    tests: list[filters.Test] = []
    if wanted.since is not None or wanted.until is not None:
        tests.append(
            filters.sent_within(wanted.since, wanted.until)
        )  # a displaced row's id is not exact
    if wanted.provider is not None:
        tests.append(filters.has_provider(wanted.provider))
    campaigns = {
        number: find_campaign(connection, name, wanted.campaign)
        for number, name in streams.items()
        if wanted.campaign is not None
    }
    rare_outcomes = bool(outcomes) and outcomes <= attention.KINDS.keys()
    kinds = filters.kinds(outcomes, event)
    by_address = wanted.address is not None
    if outcomes and (by_address or not rare_outcomes):
        tests.append(filters.has_outcome(outcomes))
    if event is not None and (by_address or rare_outcomes or event not in attention.EVENTS):
        tests.append(filters.has_event(event))
    if wanted.month is not None and (by_address or kinds or wanted.campaign is not None):
        tests.append(filters.in_month(wanted.month))
    if wanted.address is not None:
        tests.append(filters.is_to(wanted.address))
        if wanted.campaign is not None:
            tests.append(filters.in_campaign(wanted.campaign))

    lanes: list[_Lane] = []
    for number in streams:
        low, high = first_id(number, since), end_id(number)
        if wanted.until is not None:
            high = first_id(number, wanted.until)
        if start is not None:
            bound = (number << STREAM_SHIFT) + start.place
            if newer:
                low = max(low, bound + (number <= start.stream))
            else:
                high = min(high, bound + (number < start.stream))
        campaign = campaigns.get(number)
        if wanted.campaign is not None and campaign is None:
            continue
        choices: list[tuple[str, tuple[int, ...]]]
        if wanted.address is not None:
            choices = [(_RECORDS + "address = ? AND ", (address_key(wanted.address),))]
        elif kinds and campaign is not None:
            choices = [(_RARE_OF_CAMPAIGN, (campaign, kind)) for kind in kinds]
        elif kinds:
            choices = [(_RARE, (kind,)) for kind in kinds]
        elif campaign is not None:
            choices = [(_RECORDS + "campaign = ? AND ", (campaign,))]
        elif wanted.month is not None:
            choices = [(_RECORDS + "month = ? AND ", (wanted.month,))]
        else:
            choices = [(_RECORDS, ())]
        lanes += [
            _lane(connection, sql, (*first, low, high), newer=newer) for sql, first in choices
        ]
    return (lanes, tests) if lanes else None


_RECORDS = "SELECT r.id, r.message, r.body FROM record r WHERE "
_RARE = (
    "SELECT r.id, r.message, r.body FROM attention a CROSS JOIN record r ON r.id = a.id "
    "WHERE a.kind = ? AND "
)
_RARE_OF_CAMPAIGN = (
    "SELECT r.id, r.message, r.body FROM attention a INDEXED BY attention_campaign "
    "CROSS JOIN record r ON r.id = a.id WHERE a.campaign = ? AND a.kind = ? AND "
)


def _lane(
    connection: sqlite3.Connection, select: str, bound: tuple[int, ...], *, newer: bool
) -> _Lane:
    """Yield the rows of one index scan, stepping it only as far as it is read."""
    by = "r" if select.startswith(_RECORDS) else "a"
    direction = "" if newer else " DESC"
    yield from connection.execute(
        f"{select}{by}.id >= ? AND {by}.id < ? ORDER BY {by}.id{direction}", bound
    )

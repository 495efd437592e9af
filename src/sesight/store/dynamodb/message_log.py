"""The message log: which index answers a filter, and pages of its records in either direction."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import islice

import msgspec

from sesight.domain.errors import InvalidRequest
from sesight.domain.ports import RecordFilter, RecordPage
from sesight.domain.record import Record
from sesight.domain.timestamps import (
    DAY,
    day_name,
    day_number,
    iso,
    month_name,
    parse_usual_timestamp,
)
from sesight.store import filters
from sesight.store.dynamodb.client import BATCH_READ, Calls
from sesight.store.dynamodb.item_codec import read_record
from sesight.store.dynamodb.keys import (
    CAMPAIGN_SHARDS,
    DAY_SHARDS,
    LAST,
    MONTH_SHARDS,
    campaign_mark,
    sharded,
    text_key,
)
from sesight.store.dynamodb.merged_query import Entry, Lane, Position, Span, merged
from sesight.store.dynamodb.metadata import Notes
from sesight.store.dynamodb.tables import (
    ATTENTION_INDEX,
    CAMPAIGN_INDEX,
    DAY_INDEX,
    EMAIL_EVENT_INDEX,
    EMAIL_INDEX,
    MONTH_INDEX,
    Index,
    StreamTables,
)

PASSED_OVER = 10
"""Entries of other kinds or campaigns passed over, for each record that may be looked at."""


def write_cursor(at: Position, wanted: RecordFilter) -> str:
    """Return a position as text that only holds for this filter."""
    data = "\n".join(at).encode()
    return urlsafe_b64encode(_mark(data, wanted) + data).decode().rstrip("=")


def read_cursor(text: str, wanted: RecordFilter) -> Position:
    """Return the position of a cursor. Raises InvalidRequest when it is not of this filter."""
    try:
        data = urlsafe_b64decode(text + "=" * (-len(text) % 4))[8:].decode()
    except ValueError as error:
        raise InvalidRequest("The cursor is damaged.") from error
    sent, _, stream = data.partition("\n")
    at = Position(sent, stream)
    if write_cursor(at, wanted) != text:
        raise InvalidRequest("The cursor is not of this list: it was made for other filters.")
    return at


def _mark(data: bytes, wanted: RecordFilter) -> bytes:
    return blake2b(data + msgspec.msgpack.encode(wanted), digest_size=8).digest()


class Log:
    """The records of all streams, newest send first."""

    def __init__(self, calls: Calls, streams: Mapping[str, StreamTables], notes: Notes) -> None:
        """Look at the tracking tables."""
        self._calls = calls
        self._streams = streams
        self._notes = notes

    def page(
        self, wanted: RecordFilter, limit: int, cursor: str | None, live_from: int, *, newer: bool
    ) -> RecordPage:
        """Return a page of the records sent on the UTC day `live_from` or later; see the port."""
        start = read_cursor(cursor, wanted) if cursor is not None else None
        tests = filters.tests(wanted)
        lanes = self._lanes(wanted, live_from, start, newer=newer)
        found = self._held(self._entries(wanted, lanes, limit, start, newer=newer), limit)
        records: list[Record] = []
        first: Position | None = None
        last: Position | None = None
        more = False
        for looked, (at, record) in enumerate(found):
            if len(records) >= limit or looked >= limit * filters.PATIENCE:
                more = True
                break
            first, last = first or at, at
            if record is None:  # others were passed over for too long
                more = True
                break
            if all(test(record) for test in tests):
                records.append(record)
        below, above = (first, last) if newer else (last, first)
        if newer:
            records.reverse()
            going_on = write_cursor(below, wanted) if below is not None else cursor
        else:
            going_on = write_cursor(below, wanted) if more and below is not None else None
        fresh = write_cursor(above, wanted) if above is not None else cursor
        return RecordPage(
            records,
            going_on,
            parse_usual_timestamp(last.sent[:24])
            if more and len(records) < limit and last
            else None,
            fresh or write_cursor(Position("", ""), wanted),
        )

    # Which index

    def _lanes(
        self, wanted: RecordFilter, live_from: int, start: Position | None, *, newer: bool
    ) -> list[Lane]:
        """Choose the index with the fewest entries to pass over, and return its lanes."""
        since = max(live_from * DAY, wanted.since or 0)
        low, high = str(iso(since)), LAST if wanted.until is None else str(iso(wanted.until))
        if start is not None and newer:
            low = max(low, start.sent)
        elif start is not None:
            high = min(high, f"{start.sent}$")
        if low > high:
            return []
        span = Span(low, high, newer)
        return [
            lane
            for stream in dict.fromkeys(wanted.streams)
            if stream in self._streams
            for lane in self._of_stream(stream, wanted, span)
        ]

    def _of_stream(self, stream: str, wanted: RecordFilter, span: Span) -> Iterator[Lane]:
        kinds = filters.kinds(filters.outcomes(wanted), filters.event(wanted))
        months = self._streams[stream].months
        if wanted.address is not None:
            index = EMAIL_EVENT_INDEX if kinds else EMAIL_INDEX
            yield self._lane(stream, index, [text_key(wanted.address)], span)
        elif kinds:
            yield self._lane(stream, ATTENTION_INDEX, self._days(stream, span), span)
        elif wanted.campaign is not None:
            yield from self._spread(
                stream, CAMPAIGN_INDEX, [wanted.campaign], CAMPAIGN_SHARDS, span
            )
        elif wanted.month is not None:
            named = [month_name(wanted.month)] if months else []
            yield from self._spread(stream, MONTH_INDEX, named, MONTH_SHARDS, span)
        else:
            yield from self.whole(stream, span)

    def whole(self, stream: str, span: Span) -> Iterator[Lane]:
        """Yield the lanes of all records of a stream within a span."""
        if self._streams[stream].months:
            months = self._notes.months(stream, _day(span.low))
            for month in months:
                yield from self._spread(
                    stream, MONTH_INDEX, [month_name(month)], MONTH_SHARDS, span
                )
        else:
            days = self._days(stream, span)
            yield from self._spread(stream, DAY_INDEX, days, DAY_SHARDS, span)

    def _days(self, stream: str, span: Span) -> list[str]:
        """Return the send days within a span that may have records, in the order of reading."""
        until = None if span.high == LAST else _day(span.high) + 1
        days = self._notes.days(stream, _day(span.low), until)
        return [day_name(day) for day in (days if span.newer else reversed(days))]

    def _spread(
        self, stream: str, index: Index, names: list[str], shards: int, span: Span
    ) -> Iterator[Lane]:
        for number in range(shards if names else 0):
            yield self._lane(stream, index, [sharded(name, number) for name in names], span)

    def _lane(self, stream: str, index: Index, partitions: list[str], span: Span) -> Lane:
        return Lane(
            self._calls, (stream, self._streams[stream].tracking.name, index), partitions, span
        )

    # Reading

    def _entries(
        self,
        wanted: RecordFilter,
        lanes: list[Lane],
        limit: int,
        start: Position | None,
        *,
        newer: bool,
    ) -> Iterator[tuple[Entry, bool]]:
        """Yield the entries beyond the start that may be of the filter; at last, when too many
        others were passed over, the one got to, and True.
        """
        kinds = frozenset(filters.kinds(filters.outcomes(wanted), filters.event(wanted)))
        mark = campaign_mark(wanted.campaign) if wanted.campaign is not None else None
        passed = 0
        for entry in merged(self._calls, lanes, limit, newer=newer):
            at = entry.at
            if start is not None and (at <= start if newer else at >= start):
                continue
            event = entry.event
            if event is not None and (
                not kinds & event.kinds or mark not in (None, event.campaign)
            ):
                passed += 1
                if passed >= limit * filters.PATIENCE * PASSED_OVER:
                    yield entry, True
                    return
                continue
            yield entry, False

    def _held(
        self, entries: Iterator[tuple[Entry, bool]], limit: int
    ) -> Iterator[tuple[Position, Record | None]]:
        """Yield the records of entries with their positions; None where the search has to stop."""
        many = min(limit + 1, BATCH_READ)
        while some := list(islice(entries, many)):
            many = min(2 * many, BATCH_READ)
            records = dict(self.fetch(entry for entry, stops in some if not stops))
            for entry, stops in some:
                if stops:
                    yield entry.at, None
                elif entry.at in records:
                    yield entry.at, records[entry.at]

    def fetch(self, entries: Iterator[Entry]) -> Iterator[tuple[Position, Record]]:
        """Yield the records that are where the index says; one that has moved or gone is not."""
        asked = [(entry.table, entry.key) for entry in entries]
        of_table = {tables.tracking.name: stream for stream, tables in self._streams.items()}
        for table, item in self._calls.get_many(asked, consistent=False):
            stream = of_table[table]
            yield Position(item["sentSk"]["S"], stream), read_record(item, stream)

    def walk(self, stream: str, since: int, until: int) -> Iterator[Entry]:
        """Yield the entries of all records sent within a half-open range (ms), in order."""
        span = Span(str(iso(since)), str(iso(until)), newer=True)
        lanes = list(self.whole(stream, span))
        return merged(self._calls, lanes, 8 * BATCH_READ, newer=True)


def _day(place: str) -> int:
    """Return the send day of a place."""
    return day_number(place[:10]) if place else 0

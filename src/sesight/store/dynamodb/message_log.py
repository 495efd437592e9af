"""The message log: which index answers a filter, pages of its records, and walks through send days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

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
from sesight.store import cursor, filters
from sesight.store.dynamodb.client import BATCH_READ, DynamoClient
from sesight.store.dynamodb.keys import (
    CAMPAIGN_SHARDS,
    DAY_SHARDS,
    LAST_KEY,
    MONTH_SHARDS,
    campaign_mark,
    sharded,
    text_key,
)
from sesight.store.dynamodb.merged_query import (
    IndexEntry,
    IndexPosition,
    IndexQuery,
    KeyRange,
    merged,
)
from sesight.store.dynamodb.metadata import DynamoMetadata
from sesight.store.dynamodb.record_codec import read_record
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
from sesight.store.limits import SCANNED_PER_ROW
from sesight.store.message_log import PageRequest, fill_page

SKIPPED_PER_ROW = 10
"""Entries of other kinds or campaigns skipped for each row that may be scanned."""


def write_cursor(position: IndexPosition, filter_: RecordFilter) -> str:
    """Return a position as a cursor of this filter."""
    return cursor.encode("\n".join(position).encode(), filter_)


def read_cursor(text: str, filter_: RecordFilter) -> IndexPosition:
    """Return the position in a cursor. Raises InvalidRequest if it was made for another filter."""
    sent, _, stream = cursor.decode(text, filter_).decode().partition("\n")
    return IndexPosition(sent, stream)


class MessageLog:
    """The records of all streams, newest send first."""

    def __init__(
        self, client: DynamoClient, streams: Mapping[str, StreamTables], metadata: DynamoMetadata
    ) -> None:
        self._client = client
        self._streams = streams
        self._metadata = metadata

    def page(self, filter_: RecordFilter, request: PageRequest, live_from: int) -> RecordPage:
        """Return a page of the records sent on the UTC day `live_from` or later; see the port."""
        limit, text, newer = request
        start = read_cursor(text, filter_) if text is not None else None
        predicates = filters.predicates(filter_)
        queries = self._queries(filter_, live_from, start, newer=newer)
        entries = self._entries(filter_, queries, limit, start, newer=newer)
        return fill_page(
            self._records(entries, limit),
            predicates,
            request,
            lambda position: write_cursor(position, filter_),
            lambda position: parse_usual_timestamp(position.sent[:24]),
            first_cursor=write_cursor(IndexPosition("", ""), filter_),
        )

    # Which index

    def _queries(
        self, filter_: RecordFilter, live_from: int, start: IndexPosition | None, *, newer: bool
    ) -> list[IndexQuery]:
        """Choose the index with the fewest entries to skip, and return the queries of it."""
        since = max(live_from * DAY, filter_.since or 0)
        low, high = str(iso(since)), LAST_KEY if filter_.until is None else str(iso(filter_.until))
        if start is not None and newer:
            low = max(low, start.sent)
        elif start is not None:
            high = min(high, f"{start.sent}$")
        if low > high:
            return []
        key_range = KeyRange(low, high, newer)
        return [
            query
            for stream in dict.fromkeys(filter_.streams)
            if stream in self._streams
            for query in self._of_stream(stream, filter_, key_range)
        ]

    def _of_stream(
        self, stream: str, filter_: RecordFilter, key_range: KeyRange
    ) -> Iterator[IndexQuery]:
        kinds = filters.kinds(filters.outcomes(filter_), filters.event(filter_))
        if filter_.address is not None:
            index = EMAIL_EVENT_INDEX if kinds else EMAIL_INDEX
            yield self._query(stream, index, [text_key(filter_.address)], key_range)
        elif kinds:
            days = self._days(stream, key_range)
            yield self._query(stream, ATTENTION_INDEX, days, key_range)
        elif filter_.campaign is not None:
            names = [filter_.campaign]
            yield from self._spread(stream, CAMPAIGN_INDEX, names, CAMPAIGN_SHARDS, key_range)
        elif filter_.month is not None:
            names = [month_name(filter_.month)] if self._streams[stream].months else []
            yield from self._spread(stream, MONTH_INDEX, names, MONTH_SHARDS, key_range)
        else:
            yield from self._whole(stream, key_range)

    def _whole(self, stream: str, key_range: KeyRange) -> Iterator[IndexQuery]:
        """Yield the queries of all records of a stream within a range."""
        if self._streams[stream].months:
            for month in self._metadata.months(stream, _day(key_range.low)):
                names = [month_name(month)]
                yield from self._spread(stream, MONTH_INDEX, names, MONTH_SHARDS, key_range)
        else:
            days = self._days(stream, key_range)
            yield from self._spread(stream, DAY_INDEX, days, DAY_SHARDS, key_range)

    def _days(self, stream: str, key_range: KeyRange) -> list[str]:
        """Return the send days within a range that may have records, in the order of reading."""
        until = None if key_range.high == LAST_KEY else _day(key_range.high) + 1
        days = self._metadata.days(stream, _day(key_range.low), until)
        return [day_name(day) for day in (days if key_range.ascending else reversed(days))]

    def _spread(
        self, stream: str, index: Index, names: list[str], shards: int, key_range: KeyRange
    ) -> Iterator[IndexQuery]:
        for number in range(shards if names else 0):
            partitions = [sharded(name, number) for name in names]
            yield self._query(stream, index, partitions, key_range)

    def _query(
        self, stream: str, index: Index, partitions: list[str], key_range: KeyRange
    ) -> IndexQuery:
        table = self._streams[stream].tracking.name
        return IndexQuery(self._client, stream, table, index, partitions, key_range)

    # Reading

    def _entries(
        self,
        filter_: RecordFilter,
        queries: list[IndexQuery],
        limit: int,
        start: IndexPosition | None,
        *,
        newer: bool,
    ) -> Iterator[tuple[IndexEntry, bool]]:
        """Yield the entries beyond the start that may match the filter, each with False. If too many
        others have to be skipped, yield the last of them with True, and end.
        """
        kinds = frozenset(filters.kinds(filters.outcomes(filter_), filters.event(filter_)))
        mark = campaign_mark(filter_.campaign) if filter_.campaign is not None else None
        skipped = 0
        for entry in self._merged(queries, limit, ascending=newer):
            position = entry.position
            if start is not None and (position <= start if newer else position >= start):
                continue
            event = entry.event
            if event is not None and (
                not kinds & event.kinds or mark not in (None, event.campaign)
            ):
                skipped += 1
                if skipped >= limit * SCANNED_PER_ROW * SKIPPED_PER_ROW:
                    yield entry, True
                    return
                continue
            yield entry, False

    def _merged(
        self, queries: list[IndexQuery], limit: int, *, ascending: bool
    ) -> Iterator[IndexEntry]:
        return merged(
            self._client, queries, limit, lambda entry: entry.position, ascending=ascending
        )

    def _records(
        self, entries: Iterator[tuple[IndexEntry, bool]], limit: int
    ) -> Iterator[tuple[IndexPosition, Record | None]]:
        """Yield the records of entries with their positions; None where the search gives up."""
        size = min(limit + 1, BATCH_READ)
        while chunk := list(islice(entries, size)):
            size = min(2 * size, BATCH_READ)
            records = self._fetch(entry for entry, gives_up in chunk if not gives_up)
            for entry, gives_up in chunk:
                if gives_up:
                    yield entry.position, None
                elif entry.position in records:
                    yield entry.position, records[entry.position]

    def _fetch(self, entries: Iterable[IndexEntry]) -> dict[IndexPosition, Record]:
        """Return the records that still are where the index has them, by position."""
        keys = [(entry.table, entry.key) for entry in entries]
        stream_of = {tables.tracking.name: stream for stream, tables in self._streams.items()}
        return {
            IndexPosition(item["sentSk"]["S"], stream_of[table]): read_record(
                item, stream_of[table]
            )
            for table, item in self._client.get_many(keys, consistent=False)
        }

    # Send days

    def entries_of_day(self, stream: str, day: int) -> Iterator[IndexEntry]:
        """Yield the entries of all records sent on a UTC day, in order of the send."""
        key_range = KeyRange(str(iso(day * DAY)), str(iso((day + 1) * DAY)), ascending=True)
        queries = list(self._whole(stream, key_range))
        return self._merged(queries, 8 * BATCH_READ, ascending=True)

    def records_of_day(self, stream: str, day: int) -> Iterator[Record]:
        """Yield every record sent on a UTC day, expired or not, in order of the send."""
        if stream not in self._streams:
            return
        entries = self.entries_of_day(stream, day)
        while chunk := list(islice(entries, BATCH_READ)):
            records = self._fetch(chunk)
            for entry in chunk:
                record = records.get(entry.position)
                if record is not None:
                    yield record

    def held_days(self, stream: str, live_from: int) -> list[int]:
        """Return the send days of which records are still held, in order; see the port."""
        if stream not in self._streams:
            return []
        days = [
            *self._metadata.backfilled_days(stream, live_from, live_from),
            *self._metadata.days(stream, live_from),
        ]
        return [day for day in days if next(self.entries_of_day(stream, day), None) is not None]


def _day(sent: str) -> int:
    """Return the send day of a send key, 0 for an empty one."""
    return day_number(sent[:10]) if sent else 0

"""What a batch reads before it decides, inside the transaction that writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from msgspec import Struct

from sesight.domain.ports import RecordKey
from sesight.domain.quarantine import Quarantined
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.store.sqlite import backfill, quarantine, rollups, suppressions
from sesight.store.sqlite.connection import rows_in
from sesight.store.sqlite.interning import Interning
from sesight.store.sqlite.message_id import PackedId, pack
from sesight.store.sqlite.record_codec import DecodedRecord, decode
from sesight.store.sqlite.row_id import (
    LATEST,
    SENT_SHIFT,
    STREAM_SHIFT,
    address_key,
    end_id,
    first_id,
)


class StoredRow(Struct, frozen=True, gc=False):
    """A record as it was read, with the columns of its row."""

    rowid: int
    decoded: DecodedRecord
    campaign: int
    month: int | None


class SqliteView:
    """The port's View over the writing connection. It remembers the rows it has read."""

    written: frozenset[RecordKey | str] = frozenset()
    """Empty: a batch is one transaction and decided once."""

    def __init__(self, connection: sqlite3.Connection, interning: Interning) -> None:
        self._connection = connection
        self._interning = interning
        self.packed_ids: dict[str, PackedId] = {}
        self.rows: dict[tuple[str, str], StoredRow] = {}

    def records(
        self,
        message_ids: Collection[str],
        recipients: Callable[[], Mapping[str, Collection[str]]] | None = None,  # noqa: ARG002 - one search finds all
    ) -> dict[str, list[Record]]:
        """Return every record of each of the messages (missing ones are left out)."""
        records: dict[str, list[Record]] = {}
        packed_ids, stored_rows = self.packed_ids, self.rows
        ids_by_key: dict[int, Any] = {}
        for message_id in message_ids:
            packed = packed_ids.get(message_id)
            if packed is None:
                packed = packed_ids[message_id] = pack(message_id)
            key, kept = packed
            if key in ids_by_key:
                ids_by_key[key].append((message_id, kept))
            else:
                ids_by_key[key] = [(message_id, kept)]
        values, stream_name = self._interning.values, self._interning.stream_name
        streams: dict[int, str] = {}
        for rowid, key, campaign, month, body in rows_in(
            self._connection,
            "SELECT id, message, campaign, month, body FROM record WHERE message IN (",
            sorted(ids_by_key),
        ):
            number = rowid >> STREAM_SHIFT
            stream = streams.get(number)
            if stream is None:
                stream = streams[number] = stream_name(number)
            sent_at = (rowid >> SENT_SHIFT) & LATEST
            # two message ids may share a key, which is 63 bits of them
            for known_id in ids_by_key[key]:
                decoded = decode(key, body, sent_at, stream, values, known_id)
                record = decoded.record
                message_id = record.message_id
                if message_id == known_id[0]:
                    stored_rows[message_id, record.recipient] = StoredRow(
                        rowid, decoded, campaign, month
                    )
                    if message_id in records:
                        records[message_id].append(record)
                    else:
                        records[message_id] = [record]
                    break
        return records

    def suppressions(self, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], Suppression]:
        """Return the items of the (stream, address)es that have one."""
        return suppressions.get_many(self._connection, keys)

    def of_address(
        self,
        stream: str,
        address: str,
        messages: Collection[str] = (),  # noqa: ARG002 - the index is never behind
    ) -> Iterable[Record]:
        """Return the records the address has in the stream."""
        number = self._interning.stream(stream)
        rows = self._connection.execute(
            "SELECT id, message, body FROM record WHERE address = ? AND id >= ? AND id < ?",
            (address_key(address), first_id(number, 0), end_id(number)),
        ).fetchall()
        values = self._interning.values
        records = [
            decode(key, body, (rowid >> SENT_SHIFT) & LATEST, stream, values).record
            for rowid, key, body in rows
        ]
        return [record for record in records if record.recipient == address]

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return quarantined bodies with the reason `unrouted` for any of the messages."""
        return quarantine.awaiting(self._connection, message_ids)

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies of this reason the quarantine takes, and how many bytes."""
        return quarantine.room(self._connection, reason)

    def is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        """Return whether the totals of a send day are final; see the port."""
        return rollups.has_day(self._connection, stream, day) and not backfill.is_held(
            self._connection, stream, day, live_from
        )

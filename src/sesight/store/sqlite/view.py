"""What a batch reads before it decides, inside the transaction that writes it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import msgspec
from msgspec import Struct

from sesight.domain.ports import RecordKey
from sesight.domain.quarantine import QUARANTINE_BODIES, QUARANTINE_BYTES, Quarantined
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.store import backfill
from sesight.store.sqlite import rollups as totals
from sesight.store.sqlite.interning import Numbers
from sesight.store.sqlite.message_id import Packed, pack
from sesight.store.sqlite.record_codec import Before, decode
from sesight.store.sqlite.row_id import LATEST, SENT_SHIFT, address_key, end_id, first_id

CHUNK = 500
"""Values in one IN list; the SQL text for a full one is prepared once."""

read_suppression = msgspec.msgpack.Decoder(Suppression).decode
read_quarantined = msgspec.msgpack.Decoder(Quarantined).decode


class Held(Struct, frozen=True, gc=False):
    """A record as it was read, with what its row says."""

    rowid: int
    before: Before
    campaign: int
    month: int | None


class SqliteView:
    """The port's View over the writing connection; it remembers the rows it gave."""

    written: frozenset[RecordKey | str] = frozenset()
    """Nothing: a batch is one transaction, decided once."""

    def __init__(self, connection: sqlite3.Connection, numbers: Numbers) -> None:
        """Look through the writing connection, inside its transaction."""
        self._connection = connection
        self._numbers = numbers
        self.packed: dict[str, Packed] = {}
        self.held: dict[tuple[str, str], Held] = {}

    def records(
        self,
        message_ids: Collection[str],
        wanted: Callable[[], Mapping[str, Collection[str]]] | None = None,  # noqa: ARG002 - one search finds all
    ) -> dict[str, list[Record]]:
        """Return every record of each of the messages (missing ones are left out)."""
        found: dict[str, list[Record]] = {}
        packed, held = self.packed, self.held
        known: dict[int, Any] = {}
        for message_id in message_ids:
            both = packed.get(message_id)
            if both is None:
                both = packed[message_id] = pack(message_id)
            key, kept = both
            if key in known:
                known[key].append((message_id, kept))
            else:
                known[key] = [(message_id, kept)]
        values, stream_name = self._numbers.values, self._numbers.stream_name
        streams: dict[int, str] = {}
        for rowid, key, campaign, month, body in self._rows(
            "SELECT id, message, campaign, month, body FROM record WHERE message IN (",
            sorted(known),
        ):
            number = rowid >> 57
            stream = streams.get(number)
            if stream is None:
                stream = streams[number] = stream_name(number)
            sent_at = (rowid >> SENT_SHIFT) & LATEST
            for one in known[key]:
                before = decode(key, body, sent_at, stream, values, one)
                record = before.record
                message_id = record.message_id
                if message_id == one[0]:
                    held[message_id, record.recipient] = Held(rowid, before, campaign, month)
                    if message_id in found:
                        found[message_id].append(record)
                    else:
                        found[message_id] = [record]
                    break
        return found

    def suppressions(
        self, wanted: Collection[tuple[str, str]]
    ) -> dict[tuple[str, str], Suppression]:
        """Return the items of the (stream, address)es that have one."""
        return suppressions_in(self._connection, wanted)

    def of_address(
        self,
        stream: str,
        address: str,
        messages: Collection[str] = (),  # noqa: ARG002 - the index is never behind
    ) -> Iterable[Record]:
        """Return the records the address has in the stream."""
        number = self._numbers.stream(stream)
        rows = self._connection.execute(
            "SELECT id, message, body FROM record WHERE address = ? AND id >= ? AND id < ?",
            (address_key(address), first_id(number, 0), end_id(number)),
        ).fetchall()
        values = self._numbers.values
        records = [
            decode(key, body, (rowid >> SENT_SHIFT) & LATEST, stream, values).record
            for rowid, key, body in rows
        ]
        return [record for record in records if record.recipient == address]

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return quarantined bodies with the reason `unrouted` for any of the messages."""
        if (
            not message_ids
            or not self._connection.execute(
                "SELECT EXISTS (SELECT 1 FROM quarantine WHERE reason = 'unrouted')"
            ).fetchone()[0]
        ):
            return []
        return [
            read_quarantined(body)
            for (body,) in self._rows(
                "SELECT body FROM quarantine WHERE reason = 'unrouted' AND message_id IN (",
                list(message_ids),
            )
        ]

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies of this reason the quarantine takes, and how many bytes."""
        rows, size = self._connection.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM quarantine WHERE reason = ?", (reason,)
        ).fetchone()
        return QUARANTINE_BODIES - rows, QUARANTINE_BYTES - size

    def is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        """Return whether the totals of a send day are final; see the port."""
        return totals.has_day(self._connection, stream, day) and not backfill.is_held(
            self._connection, stream, day, live_from
        )

    def _rows(self, select: str, values: Sequence[Any]) -> Iterator[Any]:
        return rows_in(self._connection, select, values)


def suppressions_in(
    connection: sqlite3.Connection, wanted: Collection[tuple[str, str]]
) -> dict[tuple[str, str], Suppression]:
    """Return the items of the (stream, address)es that have one."""
    by_stream: dict[str, list[str]] = {}
    for stream, address in wanted:
        by_stream.setdefault(stream, []).append(address)
    found = {}
    for stream, addresses in by_stream.items():
        for address, body in rows_in(
            connection,
            "SELECT address, body FROM suppression WHERE stream = ? AND address IN (",
            addresses,
            (stream,),
        ):
            found[(stream, address)] = read_suppression(body)
    return found


def rows_in(
    connection: sqlite3.Connection,
    select: str,
    values: Sequence[Any],
    first: tuple[Any, ...] = (),
) -> Iterator[Any]:
    """Yield the rows of a select that ends in an open IN list."""
    left = iter(values)
    while chunk := tuple(islice(left, CHUNK)):
        marks = ",".join("?" * len(chunk))
        yield from connection.execute(f"{select}{marks})", first + chunk).fetchall()

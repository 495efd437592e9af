"""What a batch reads before it decides, remembered in case it must decide again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from sesight.domain.ports import RecordKey
from sesight.domain.quarantine import Quarantined
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.store.dynamodb.client import DynamoClient, Item, equals, version_of
from sesight.store.dynamodb.keys import text_key
from sesight.store.dynamodb.record_codec import read_record, record_key
from sesight.store.dynamodb.suppressions import SuppressionKey, read_suppression
from sesight.store.dynamodb.tables import EMAIL_INDEX

if TYPE_CHECKING:
    from sesight.store.dynamodb.quarantine import Quarantine
    from sesight.store.dynamodb.suppressions import SuppressionTables
    from sesight.store.dynamodb.tables import StreamTables


class StoredRecord(Struct, frozen=True, gc=False):
    """A record as it was read, with its item."""

    record: Record
    item: Item


class StoredSuppression(NamedTuple):
    """A suppression as it was read, None where there is none, with its version."""

    suppression: Suppression | None = None
    version: int = 0


class DynamoView:
    """The port's View. What was read once is returned again, unless a conflict showed a later state:
    so a batch that is decided again comes to the same result for everything without a conflict.
    """

    def __init__(
        self,
        client: DynamoClient,
        streams: Mapping[str, StreamTables],
        suppressions: SuppressionTables,
        quarantine: Quarantine,
        is_frozen: Callable[[str, int, int], bool],
    ) -> None:
        """Read from the tables of all streams: the id of a message does not tell its stream."""
        self._client = client
        self._streams = streams
        self._stream_of_table = {tables.tracking.name: name for name, tables in streams.items()}
        self._suppression_tables = suppressions
        self._quarantine = quarantine
        self._is_frozen = is_frozen
        self._messages_read: set[str] = set()
        self._keys_read: set[RecordKey] = set()
        self.stored_records: dict[str, dict[RecordKey, StoredRecord]] = {}
        """The records read, by message."""
        self.stored_suppressions: dict[SuppressionKey, StoredSuppression] = {}
        """The suppressions read."""
        self.written: set[RecordKey | str] = set()
        """What earlier rounds of the same batch have written; see the port."""
        self._awaited_messages: set[str] = set()
        self._bodies: dict[str, Quarantined] = {}

    # Records

    def records(
        self,
        message_ids: Collection[str],
        recipients: Callable[[], Mapping[str, Collection[str]]] | None = None,
    ) -> dict[str, list[Record]]:
        """Return records of each of the messages; see the port."""
        named = {} if recipients is None else recipients()
        unread = [name for name in message_ids if name not in self._messages_read]
        keys = {
            RecordKey(name, recipient)
            for name in unread
            if name in named
            for recipient in named[name]
        }
        self._read_messages([name for name in unread if name not in named])
        self._read_records(keys - self._keys_read)
        return {
            name: [stored.record for stored in of_message.values()]
            for name in message_ids
            if (of_message := self.stored_records.get(name))
        }

    def _read_records(self, keys: Collection[RecordKey]) -> None:
        # eventually consistent: a stale record costs a conflict, which is rarer than twice the price
        items = self._client.get_many(self._item_keys(keys), consistent=False)
        for table, item in items:
            self.remember_record(item, self._stream_of_table[table])
        self._keys_read |= set(keys)

    def _item_keys(self, keys: Collection[RecordKey]) -> list[tuple[str, Item]]:
        """Return under which (table, key)s records may be stored."""
        return [
            (table, record_key(*key)) for key in sorted(keys) for table in self._stream_of_table
        ]

    def _read_messages(self, message_ids: Collection[str]) -> None:
        queries = [(table, name) for name in sorted(message_ids) for table in self._stream_of_table]
        for (table, _), items in zip(
            queries, self._client.map(self._items_of_message, queries), strict=True
        ):
            for item in items:
                self.remember_record(item, self._stream_of_table[table], replace=False)
        self._messages_read |= set(message_ids)

    def _items_of_message(self, table_and_message: tuple[str, str]) -> list[Item]:
        table, message_id = table_and_message
        return list(
            self._client.query(
                TableName=table, ConsistentRead=True, **equals(messageId=text_key(message_id))
            )
        )

    def remember_record(self, item: Item, stream: str, *, replace: bool = True) -> None:
        """Remember a record's item as it is now; unless `replace`, an item remembered before stays."""
        record = read_record(item, stream)
        key, stored = RecordKey(record.message_id, record.recipient), StoredRecord(record, item)
        of_message = self.stored_records.setdefault(record.message_id, {})
        if replace:
            of_message[key] = stored
        else:
            of_message.setdefault(key, stored)

    def refresh_records(self, keys: Collection[RecordKey]) -> None:
        """Read records as they are now, and forget those that no longer exist."""
        for key in keys:
            self.stored_records.get(key[0], {}).pop(key, None)
        for table, item in self._client.get_many(self._item_keys(keys), consistent=True):
            self.remember_record(item, self._stream_of_table[table])

    def reread_missing(self, message_ids: Iterable[str]) -> bool:
        """Read messages again that had no records; return whether any has one now."""
        missing = [name for name in message_ids if not self.stored_records.get(name)]
        self._read_messages(missing)
        return any(self.stored_records.get(name) for name in missing)

    def of_address(
        self, stream: str, address: str, messages: Collection[str] = ()
    ) -> Iterable[Record]:
        """Return the records the address has in the stream, as they are now; see the port."""
        table = self._streams[stream].tracking.name
        entries = self._client.query(
            TableName=table, IndexName=EMAIL_INDEX.name, **equals(email=text_key(address))
        )
        keys = {(entry["messageId"]["S"], entry["recipient"]["S"]) for entry in entries}
        keys |= {(text_key(name), text_key(address)) for name in messages}
        item_keys = [
            (table, {"messageId": {"S": message_id}, "recipient": {"S": recipient}})
            for message_id, recipient in sorted(keys)
        ]
        items = self._client.get_many(item_keys, consistent=True)
        return [read_record(item, stream) for _, item in items]

    # Suppressions

    def suppressions(self, keys: Collection[SuppressionKey]) -> dict[SuppressionKey, Suppression]:
        """Return the items of the (stream, address)es that have one."""
        unread = [
            key for key in keys if key not in self.stored_suppressions and key[0] in self._streams
        ]
        self.stored_suppressions.update(dict.fromkeys(unread, StoredSuppression()))
        for (stream, _), item in self._suppression_tables.items(unread).items():
            self.remember_suppression(stream, item)
        suppressions = {}
        for key in keys:
            suppression, _ = self.stored_suppressions.get(key, StoredSuppression())
            if suppression is not None:
                suppressions[key] = suppression
        return suppressions

    def remember_suppression(self, stream: str, item: Item) -> None:
        """Remember a suppression's item as it is now."""
        suppression = read_suppression(item)
        key = (stream, suppression.address)
        self.stored_suppressions[key] = StoredSuppression(suppression, version_of(item))

    # The quarantine

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return quarantined bodies that wait for any of the messages asked for so far; see the port.

        A body that was returned once is returned again, even if another writer has released it since:
        that writer may have found its event in the record that this batch wrote, and the event must
        not be missing when the record is written again.
        """
        self._awaited_messages.update(message_ids)
        if not self._awaited_messages:
            return []
        for body in self._quarantine.awaiting(self._awaited_messages):
            self._bodies.setdefault(body.id, body)
        return sorted(self._bodies.values(), key=lambda body: (body.at, body.id))

    def has_new_bodies(self) -> bool:
        """Return whether bodies were quarantined since for the messages asked for."""
        if not self._awaited_messages:
            return False
        bodies = self._quarantine.awaiting(self._awaited_messages)
        return any(body.id not in self._bodies for body in bodies)

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies of this reason the quarantine takes, and how many bytes."""
        return self._quarantine.room(reason)

    def is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        """Return whether the totals of a send day are final; see the port."""
        return self._is_frozen(stream, day, live_from)

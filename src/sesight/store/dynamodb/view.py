"""What a batch reads before it decides, and remembers for the case that it must decide again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.ports import RecordKey
from sesight.domain.quarantine import Quarantined
from sesight.domain.record import Record
from sesight.domain.suppression.item import Suppression
from sesight.store.dynamodb.client import Calls, equals
from sesight.store.dynamodb.item_codec import Item, read_record, read_suppression, version_of
from sesight.store.dynamodb.keys import text_key
from sesight.store.dynamodb.tables import EMAIL_INDEX

if TYPE_CHECKING:
    from sesight.store.dynamodb.quarantine import Quarantine
    from sesight.store.dynamodb.tables import StreamTables

Place = tuple[str, str]
"""A suppression's stream and address."""


class Held(Struct, frozen=True, gc=False):
    """A record as it was read, with its item."""

    record: Record
    item: Item


class DynamoView:
    """The port's View. What was read once is given again, unless a conflict showed a later state:
    so a batch that is decided again comes to the same for all that had no conflict.
    """

    def __init__(
        self,
        calls: Calls,
        streams: Mapping[str, StreamTables],
        quarantine: Quarantine,
        is_frozen: Callable[[str, int, int], bool],
    ) -> None:
        """Read from the tables of all streams: a message's stream is not known by its id."""
        self._calls = calls
        self._streams = streams
        self._of_table = {tables.tracking.name: name for name, tables in streams.items()}
        self._quarantine = quarantine
        self._is_frozen = is_frozen
        self._whole: set[str] = set()
        self._asked: set[RecordKey] = set()
        self.held: dict[str, dict[RecordKey, Held]] = {}
        """The records read, by message."""
        self.items: dict[Place, tuple[Suppression | None, int]] = {}
        """The suppressions read, None where there is none, with their versions."""
        self.written: set[RecordKey | str] = set()
        """What earlier rounds of the same batch have written; see the port."""
        self._awaited: set[str] = set()
        self._bodies: dict[str, Quarantined] = {}

    # Records

    def records(
        self,
        message_ids: Collection[str],
        wanted: Callable[[], Mapping[str, Collection[str]]] | None = None,
    ) -> dict[str, list[Record]]:
        """Return records of each of the messages; see the port."""
        named = {} if wanted is None else wanted()
        whole = [name for name in message_ids if name not in named and name not in self._whole]
        keys = {
            RecordKey(name, recipient)
            for name in message_ids
            if name in named and name not in self._whole
            for recipient in named[name]
        } - self._asked
        self._read_whole(whole)
        self._read_keys(keys)
        found = {}
        for name in message_ids:
            if held := self.held.get(name):
                found[name] = [one.record for one in held.values()]
        return found

    def _read_keys(self, keys: Collection[RecordKey]) -> None:
        asked = [
            (table, {"messageId": {"S": text_key(key[0])}, "recipient": {"S": text_key(key[1])}})
            for key in sorted(keys)
            for table in self._of_table
        ]
        # eventually consistent: a stale record costs a conflict, which is rarer than twice the price
        for table, item in self._calls.get_many(asked, consistent=False):
            self.remember(item, self._of_table[table])
        self._asked |= set(keys)

    def _read_whole(self, message_ids: Collection[str]) -> None:
        asked = [(table, name) for name in sorted(message_ids) for table in self._of_table]
        for (table, _), items in zip(asked, self._calls.each(self._of_message, asked), strict=True):
            for item in items:
                self.remember(item, self._of_table[table], stays=True)
        self._whole |= set(message_ids)

    def _of_message(self, asked: tuple[str, str]) -> list[Item]:
        table, name = asked
        return list(
            self._calls.query(
                TableName=table, ConsistentRead=True, **equals(messageId=text_key(name))
            )
        )

    def remember(self, item: Item, stream: str, *, stays: bool = False) -> Held:
        """Keep a record's item as it is now; `stays`: unless one is kept already."""
        record = read_record(item, stream)
        held = Held(record, item)
        of_message = self.held.setdefault(record.message_id, {})
        key = RecordKey(record.message_id, record.recipient)
        if stays:
            return of_message.setdefault(key, held)
        of_message[key] = held
        return held

    def refresh(self, keys: Collection[RecordKey]) -> None:
        """Read records as they are now, those that are not there any more too."""
        asked = []
        for key in sorted(keys):
            self.held.get(key[0], {}).pop(key, None)
            asked += [
                (
                    table,
                    {"messageId": {"S": text_key(key[0])}, "recipient": {"S": text_key(key[1])}},
                )
                for table in self._of_table
            ]
        for table, item in self._calls.get_many(asked, consistent=True):
            self.remember(item, self._of_table[table])

    def look_again(self, message_ids: Iterable[str]) -> bool:
        """Read messages again of which nothing was there; return whether there is something now."""
        empty = [name for name in message_ids if not self.held.get(name)]
        self._read_whole(empty)
        return any(self.held.get(name) for name in empty)

    def of_address(
        self, stream: str, address: str, messages: Collection[str] = ()
    ) -> Iterable[Record]:
        """Return the records the address has in the stream, as they are now; see the port."""
        table = self._streams[stream].tracking.name
        found = self._calls.query(
            TableName=table, IndexName=EMAIL_INDEX.name, **equals(email=text_key(address))
        )
        wanted = {(entry["messageId"]["S"], entry["recipient"]["S"]) for entry in found}
        wanted |= {(text_key(name), text_key(address)) for name in messages}
        keys = [
            (table, {"messageId": {"S": message}, "recipient": {"S": recipient}})
            for message, recipient in sorted(wanted)
        ]
        return [
            read_record(item, stream) for _, item in self._calls.get_many(keys, consistent=True)
        ]

    # Suppressions

    def suppressions(self, wanted: Collection[Place]) -> dict[Place, Suppression]:
        """Return the items of the (stream, address)es that have one."""
        new = [place for place in wanted if place not in self.items and place[0] in self._streams]
        tables = {self._streams[stream].suppression.name: stream for stream, _ in new}
        asked = [
            (self._streams[stream].suppression.name, {"email": {"S": text_key(address)}})
            for stream, address in sorted(new)
        ]
        for place in new:
            self.items[place] = (None, 0)
        for table, item in self._calls.get_many(asked, consistent=True):
            self.remember_suppression(tables[table], item)
        found = {}
        for place in wanted:
            held, _ = self.items.get(place, (None, 0))
            if held is not None:
                found[place] = held
        return found

    def remember_suppression(self, stream: str, item: Item) -> None:
        """Keep a suppression's item as it is now."""
        found = read_suppression(item)
        self.items[stream, found.address] = (found, version_of(item))

    # The quarantine

    def awaiting(self, message_ids: Collection[str]) -> list[Quarantined]:
        """Return quarantined bodies that wait for any of the messages asked for so far; see the port.

        One that was given is given again, though somebody else may have let it go since: he may have
        found it in the record that this batch wrote, and it must not be missing when that is written
        again.
        """
        self._awaited.update(message_ids)
        if not self._awaited:
            return []
        for held in self._quarantine.awaiting(self._awaited):
            self._bodies.setdefault(held.id, held)
        return sorted(self._bodies.values(), key=lambda held: (held.at, held.id))

    def is_awaited(self) -> bool:
        """Return whether bodies came since for the messages that were asked for."""
        if not self._awaited:
            return False
        return any(held.id not in self._bodies for held in self._quarantine.awaiting(self._awaited))

    def room(self, reason: str) -> tuple[int, int]:
        """Return how many more bodies of this reason the quarantine takes, and how many bytes."""
        return self._quarantine.room(reason)

    def is_frozen(self, stream: str, day: int, live_from: int) -> bool:
        """Return whether the totals of a send day are final; see the port."""
        return self._is_frozen(stream, day, live_from)

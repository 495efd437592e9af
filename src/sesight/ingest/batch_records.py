"""The records of a batch: as stored, as folded, and the change of their tallies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from sesight.domain.counting import tally_of
from sesight.domain.ports import RecordKey
from sesight.domain.rollup import Deltas
from sesight.ingest.batch_cards import BatchCards

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from sesight.domain.counting import Counting
    from sesight.domain.event import Event
    from sesight.domain.ports import View
    from sesight.domain.record import Record


class BatchRecords:
    """Records by key, within one transaction. `changed` is a set in the order of insertion."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.stored: dict[RecordKey, Record] = {}
        self.current: dict[RecordKey, Record] = {}
        self.changed: dict[RecordKey, None] = {}
        self.streams: dict[str, str] = {}
        """The stream of each message that has a record."""
        self.new_messages: list[str] = []
        """Messages that had no record before."""
        self.deltas = Deltas()
        self.cards = BatchCards()

    def load(
        self,
        message_ids: Collection[str],
        recipients: Callable[[], Mapping[str, Collection[str]]] | None = None,
    ) -> None:
        """Load the records of messages; see `View.records` for `recipients`."""
        for records in self._view.records(message_ids, recipients).values():
            self._add(records)

    def load_recipients(self, event: Event) -> None:
        """Load the records of an event's recipients that are not loaded yet."""
        recipients = {event.message_id: {report.recipient for report in event.reports}}
        records = self._view.records([event.message_id], lambda: recipients)
        self._add(
            record
            for record in records.get(event.message_id, ())
            if RecordKey(record.message_id, record.recipient) not in self.current
        )

    def _add(self, records: Iterable[Record]) -> None:
        for record in records:
            key = RecordKey(record.message_id, record.recipient)
            self.current[key] = record
            self.stored[key] = record
            self.streams[record.message_id] = record.stream

    def add_message(self, message_id: str, stream: str) -> None:
        """Note the stream of a message that may be new."""
        if message_id not in self.streams:
            self.streams[message_id] = stream
            self.new_messages.append(message_id)

    def tally(self, counting: Counting) -> None:
        """Tally every changed record once, and add up the differences to the stored tallies."""
        for key in self.changed:
            record = self.current[key]
            before = self.stored.get(key)
            tally = tally_of(record, counting)
            if record.tally != tally:
                self.deltas.add(None if before is None else before.tally, tally)
                record = replace(record, tally=tally)
                self.current[key] = record
            if tally.dimensions is not None:
                self.cards.add(record, tally.dimensions.campaign, before)

    def to_write(self) -> dict[RecordKey, Record]:
        """Return the changed records that differ from the stored ones."""
        stored = self.stored
        return {
            key: record
            for key, record in ((key, self.current[key]) for key in self.changed)
            if record is not stored.get(key)
        }

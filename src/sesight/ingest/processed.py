"""What became of a reading."""

from __future__ import annotations

from msgspec import Struct

from sesight.domain.event import Disposition, Event
from sesight.domain.ports import RecordKey
from sesight.domain.record import Record
from sesight.ingest.reading import EventReading, Reading


class Processed(Struct, gc=False):
    """What became of one reading: its disposition, the reason where there is one, the stream it counts
    in, the last record it was folded into, and the keys of all its records.
    """

    reading: Reading
    disposition: Disposition
    reason: str | None = None
    stream: str | None = None
    record: Record | None = None
    keys: tuple[RecordKey, ...] = ()

    @property
    def event(self) -> Event | None:
        """Return the event that was read, if any."""
        return self.reading.event if type(self.reading) is EventReading else None

    @property
    def campaign(self) -> str | None:
        """Return the campaign of the record, as known after the event."""
        return None if self.record is None else self.record.campaign

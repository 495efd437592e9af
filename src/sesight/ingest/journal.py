"""The journal: one structured log line for each processed event. Its fields are a contract."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from sesight.domain.address import domain_of
from sesight.domain.event import UNTAGGED
from sesight.domain.timestamps import day_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from sesight.domain.ports import Clock, SweepResult
    from sesight.ingest.processed import Processed

_log = logging.getLogger(__name__)

EVENT_PROCESSED = "SES_EVENT_PROCESSED"
"""The message of an event's line."""

STORE_SWEPT = "STORE_SWEPT"
"""The message of a sweep's line."""


class JournalLine(Struct, frozen=True, rename="camel"):
    """The line of an event, without address, link, subject and IP. Times are epoch ms; `lag_ms` is the
    time from the event to intake.
    """

    message: str
    disposition: str
    stream: str | None
    event_type: str | None
    message_id: str | None
    recipient_id: str | None
    recipient_domain: str | None
    campaign: str | None
    missing_campaign_tag: bool
    source: str
    sent_at: int | None
    event_at: int | None
    lag_ms: int | None


_encode = msgspec.json.Encoder().encode


class SweepLine(Struct, frozen=True, rename="camel"):
    """The line of a sweep: how many of each were removed, and the first UTC send day that is not expired.
    With `clock_doubted` nothing expired, since the clock is far ahead of the newest events.
    """

    message: str
    records: int
    intents: int
    quarantined: int
    hours: int
    expired_to: str
    clock_doubted: bool


def sweep_line(swept: SweepResult) -> tuple[int, str]:
    """Return the log level and the line of a sweep. One that removed nothing is only logged for
    debugging, unless the clock is doubted.
    """
    line = SweepLine(
        STORE_SWEPT,
        swept.records,
        swept.intents,
        swept.quarantined,
        swept.hours,
        day_name(swept.expired_to),
        swept.doubted,
    )
    idle = not (swept.most or swept.quarantined or swept.hours or swept.doubted)
    return logging.DEBUG if idle else logging.WARNING, _encode(line).decode()


class Journal:
    """Writes lines of processed events, a batch at a time."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        recipient_id: Callable[[str], str | None],
        clock: Clock,
    ) -> None:
        """`recipient_id` returns the id of an address; None leaves the recipient out of the line."""
        self._write = write
        self._recipient_id = recipient_id
        self._clock = clock
        self._is_writable = True

    def record(self, processed: list[Processed]) -> None:
        """Write a line for each event of a batch.

        Lines that cannot be written are dropped with one warning: their events are stored already, and
        a full disk or a closed pipe must not have them refused.
        """
        now = self._clock()
        lines = [self.line(result, now) for result in processed]
        try:
            self._write(b"\n".join([*lines, b""]))
        except OSError as error:
            if self._is_writable:
                _log.warning("The lines of processed events cannot be written: %s", error)
            self._is_writable = False
        else:
            self._is_writable = True

    def line(self, result: Processed, now: int) -> bytes:
        """Return the line of one event, or of one body without an event."""
        event = result.event
        if event is None:
            return _encode(
                JournalLine(
                    EVENT_PROCESSED, result.disposition, result.stream, None, None, None, None, None,
                    False, result.reading.origin, None, None, None,
                )
            )  # fmt: skip
        report = event.reports[0]
        address = report.recipient if len(event.reports) == 1 and "@" in report.recipient else None
        at = report.occurrence.at
        return _encode(
            JournalLine(
                EVENT_PROCESSED,
                result.disposition,
                result.stream,
                event.type,
                event.message_id or None,
                self._recipient_id(address) if address is not None else None,
                (domain_of(address) or "")[:64] or None if address is not None else None,
                result.campaign[:64] if result.campaign is not None else None,
                result.campaign == UNTAGGED,
                result.reading.origin,
                event.identity.sent_at,
                at,
                now - at,
            )
        )

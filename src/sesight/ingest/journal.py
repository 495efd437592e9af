"""The journal: one structured line for each processed event. Its fields are contract."""

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

LINE = "SES_EVENT_PROCESSED"
"""The message of every line."""


SWEPT = "STORE_SWEPT"
"""The message of the line of a sweep."""


class Line(Struct, frozen=True, rename="camel"):
    """A line: no address, link, subject or IP. Times are epoch ms; `lag_ms` from event to intake."""

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


class SweptLine(Struct, frozen=True, rename="camel"):
    """The line of a sweep: how many of each were removed, the first send day (UTC) that is not expired,
    and whether nothing expired since the clock is doubted.
    """

    message: str
    records: int
    intents: int
    quarantined: int
    hours: int
    expired_to: str
    clock_doubted: bool


def report(swept: SweepResult) -> tuple[int, str]:
    """Return the log level and the line of a sweep: one that removed something is worth a word, and so is
    one that could not since the clock is doubted.
    """
    line = SweptLine(
        SWEPT,
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
    """Writes lines, one write a batch."""

    def __init__(
        self,
        write: Callable[[bytes], object],
        recipient_id: Callable[[str], str | None],
        clock: Clock,
    ) -> None:
        """Keep where to write, how to name a recipient without its address (None: not at all), and
        the clock.
        """
        self._write = write
        self._recipient_id = recipient_id
        self._clock = clock
        self._writable = True

    def record(self, processed: list[Processed]) -> None:
        """Write a line for each event of a batch. Lines that cannot be written are given up with a
        warning: their events are in the store, and a full disk or closed pipe must not refuse them.
        """
        now = self._clock()
        lines = [self.line(each, now) for each in processed]
        try:
            self._write(b"\n".join([*lines, b""]))
        except OSError as error:
            if self._writable:
                _log.warning("lines of processed events cannot be written: %s", error)
            self._writable = False
        else:
            self._writable = True

    def line(self, each: Processed, now: int) -> bytes:
        """Return the line of one event."""
        event = each.event
        if event is None:
            return _encode(
                Line(
                    LINE, each.disposition, each.stream, None, None, None, None, None,
                    False, each.reading.origin, None, None, None,
                )
            )  # fmt: skip
        report = event.reports[0]
        address = report.recipient if len(event.reports) == 1 and "@" in report.recipient else None
        at = report.occurrence.at
        return _encode(
            Line(
                LINE,
                each.disposition,
                each.stream,
                event.type,
                event.message_id or None,
                self._recipient_id(address) if address is not None else None,
                (domain_of(address) or "")[:64] or None if address is not None else None,
                each.campaign[:64] if each.campaign is not None else None,
                each.campaign == UNTAGGED,
                each.reading.origin,
                event.identity.sent_at,
                at,
                now - at,
            )
        )

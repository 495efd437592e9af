"""The reader: bytes of any transport to readings. Never raises for what the bytes hold.

Each body is decoded once: the common shapes of SES events by the fast parser, all others by the lenient
one, which also takes what the fast parser turns down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sesight.domain.errors import Unreadable
from sesight.ingest.reading import INBOUND, EmptyReading, EventReading, UnreadableReading
from sesight.ingest.ses.fast_parser import parse_common_event
from sesight.ingest.ses.json_repair import repaired
from sesight.ingest.ses.parser import parse_event
from sesight.ingest.transport.envelope import (
    Envelope,
    is_bare_event,
    is_inbound,
    open_envelope,
    open_notification,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sesight.domain.event import Event
    from sesight.ingest.reading import Reading
    from sesight.ingest.transport.envelope import OpenedEnvelope


def read(
    data: bytes, origin: str, *, known_sets: Collection[str] = (), stream: str | None = None
) -> list[Reading]:
    """Open an envelope and read everything in it.

    The body of an event whose configuration set is in `known_sets` is dropped, since that event is
    never quarantined (`Rules.known_sets`).
    """
    if is_bare_event(data):
        return [_read_body(data, origin, known_sets, stream)]
    return [_read(opened, known_sets, stream) for opened in open_envelope(data, origin)]


def read_sns_message(message: str, origin: str) -> list[Reading]:
    """Read the `Message` of an SNS notification."""
    data = message.encode("utf-8", "replace")
    if is_bare_event(data):
        return [_read_body(data, origin, (), None)]
    return read_envelopes(open_notification("Notification", message, origin), ())


def read_envelopes(
    envelopes: Iterable[OpenedEnvelope], known_sets: Collection[str]
) -> list[Reading]:
    """Read bodies that are already out of their envelopes."""
    return [_read(opened, known_sets, None) for opened in envelopes]


def _read(opened: OpenedEnvelope, known_sets: Collection[str], stream: str | None) -> Reading:
    if isinstance(opened, Envelope):
        return _read_body(opened.body, opened.origin, known_sets, stream)
    if isinstance(opened, UnreadableReading) and is_inbound(opened.body):
        return EmptyReading(opened.origin, INBOUND)
    return opened


def _read_body(
    body: bytes, origin: str, known_sets: Collection[str], stream: str | None
) -> Reading:
    event = parse_common_event(body) if is_bare_event(body) else None
    if event is None:
        try:
            parsed = _parse_any_event(body)
        except Unreadable as error:
            if is_inbound(body):
                return EmptyReading(origin, INBOUND)
            return UnreadableReading(origin, error.reason, str(error), body)
        if isinstance(parsed, str):
            return EmptyReading(origin, parsed)
        event = parsed
    if event.configuration_set in known_sets:
        body = b""
    return EventReading(origin, event, body, stream)


def _parse_any_event(body: bytes) -> Event | str:
    try:
        return parse_event(body)
    except Unreadable as error:
        better = repaired(body) if error.reason == "not-json" else None
        if better is None:
            raise
    return parse_event(better)

"""Readings: what was read from one body, an event or the reason why there is none."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from msgspec import Struct

from sesight.domain.errors import Unreadable
from sesight.domain.event import Event
from sesight.domain.unsubscribe import ORIGIN as LINK
from sesight.ingest.ses.fast_parser import read_plain
from sesight.ingest.ses.json_repair import mended
from sesight.ingest.ses.parser import read_event
from sesight.ingest.transport.envelope import (
    INBOUND,
    Envelope,
    is_inbound,
    is_plain,
    open_envelope,
    open_notification,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

SENDER = "sender"
"""The origin of what our own sender says."""

OURS = frozenset({SENDER, LINK})
"""Origins of events that we make: they do not show that the provider's come in."""


class Reading(Struct, frozen=True, gc=False, array_like=True):
    """One body as read. Exactly one of `event`, `nothing` (a code: why no event is in it) and
    `unreadable` (the code it is quarantined under) is set. `body` is empty where it cannot be
    needed any more; `item` is the transport's id of it, `stream` one the operator named.
    """

    origin: str
    event: Event | None = None
    nothing: str | None = None
    unreadable: str | None = None
    detail: str = ""
    body: bytes = b""
    item: str | None = None
    stream: str | None = None
    confirmed: bool = False

    @property
    def fingerprint(self) -> str:
        """Return what the body is known by in the quarantine."""
        return blake2b(self.body, digest_size=16).hexdigest()


def read(
    data: bytes,
    origin: str,
    item: str | None = None,
    *,
    known_sets: Collection[str] = (),
    stream: str | None = None,
) -> list[Reading]:
    """Open an envelope and read everything in it. Never raises for what the bytes hold.

    The body of an event whose configuration set is known is let go: it will not be quarantined
    (`Rules.known_sets`).
    """
    if is_plain(data):
        event = read_plain(data)
        if event is not None:
            body = b"" if event.configuration_set in known_sets else data
            return [Reading(origin, event, None, None, "", body, item, stream)]
    return [
        _read_one(envelope, known_sets, stream) for envelope in open_envelope(data, origin, item)
    ]


def read_message(message: str, origin: str) -> list[Reading]:
    """Read what SNS notified of. Never raises for what it holds."""
    data = message.encode("utf-8", "replace")
    if is_plain(data):
        return read(data, origin)
    return read_envelopes(open_notification("Notification", message, origin), ())


def read_envelopes(envelopes: Iterator[Envelope], known_sets: Collection[str]) -> list[Reading]:
    """Read bodies already opened. Never raises for what they hold."""
    return [_read_one(envelope, known_sets, None) for envelope in envelopes]


def _read_one(envelope: Envelope, known_sets: Collection[str], stream: str | None) -> Reading:
    origin, body, item = envelope.origin, envelope.body, envelope.item
    if envelope.nothing is not None:
        return Reading(origin, nothing=envelope.nothing, item=item)
    try:
        if envelope.unreadable is not None:
            raise Unreadable(envelope.unreadable, envelope.detail)
        event = _event_in(body)
    except Unreadable as error:
        if is_inbound(body):
            return Reading(origin, nothing=INBOUND, item=item)
        return Reading(
            origin, unreadable=error.reason, detail=str(error), body=body, item=item, stream=stream
        )
    if isinstance(event, str):
        return Reading(origin, nothing=event, item=item)
    if event.configuration_set in known_sets:
        body = b""
    return Reading(origin, event=event, body=body, item=item, stream=stream)


def _event_in(body: bytes) -> Event | str:
    event = read_plain(body)
    if event is not None:
        return event
    try:
        return read_event(body)
    except Unreadable as error:
        better = mended(body) if error.reason == "not-json" else None
        if better is None:
            raise
    return read_event(better)

"""The bodies that a batch quarantines, within the bounds of the quarantine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from sesight.domain.event import Disposition
from sesight.domain.quarantine import QUARANTINE_BODIES, QUARANTINE_BYTES, Quarantined
from sesight.ingest.processed import Processed
from sesight.ingest.reading import fingerprint

if TYPE_CHECKING:
    from sesight.domain.ports import View
    from sesight.ingest.reading import EventReading, UnreadableReading

FUTURE = "future-send-time"
"""The reason of an event whose message was sent more than a day from now."""

_DETAILS = {
    FUTURE: "The event's send time is more than a day in the future.",
    "unrouted": "The event names no configuration set and its message is not known yet.",
    "unknown-set": "No stream in the settings has the event's configuration set.",
    "unknown-account": "The event is of an AWS account that the settings do not name.",
}

_encode_event = msgspec.msgpack.Encoder().encode


def quarantine_id(reading: EventReading) -> str:
    """Return the id that an event's body has in the quarantine."""
    return fingerprint(_body_to_keep(reading))


def _body_to_keep(reading: EventReading) -> bytes:
    # without its body (`Rules.known_sets`), the event that was read from it is kept instead
    return reading.body or msgspec.json.encode(reading.event)


class BatchQuarantine:
    """Bodies to quarantine, by fingerprint.

    A batch `at_rest` comes from files or a dead-letter queue, where its bodies remain: its unreadable
    bodies may fill half of the quarantine, so that room is left for what arrives live.
    """

    def __init__(self, view: View, now: int, *, at_rest: bool) -> None:
        self._view = view
        self._now = now
        self._at_rest = at_rest
        self._room: dict[str, tuple[int, int]] = {}
        self.bodies: dict[str, Quarantined] = {}

    def add_unreadable(self, reading: UnreadableReading) -> Processed:
        """Quarantine a body that was not understood, or refuse it if there is no room."""
        id_ = fingerprint(reading.body)
        if id_ not in self.bodies:
            bodies, bytes_ = self._room_for(reading.reason)
            if self._at_rest:
                bodies, bytes_ = bodies - QUARANTINE_BODIES // 2, bytes_ - QUARANTINE_BYTES // 2
            if bodies <= 0 or bytes_ < len(reading.body):
                return Processed(reading, Disposition.REFUSED, "quarantine-full")
            self._put(Quarantined(id_, reading.reason, reading.detail, reading.body, self._now))
        return Processed(reading, Disposition.QUARANTINED, reading.reason)

    def add_event(self, reading: EventReading, reason: str) -> Processed:
        """Quarantine an event that cannot be counted yet.

        If there is no room, the event is counted as quarantined and dropped, except one from the
        future, which is refused: its message is sure to come.
        """
        event = reading.event
        body = _body_to_keep(reading)
        id_ = fingerprint(body)
        if id_ not in self.bodies:
            bodies, bytes_ = self._room_for(reason)
            if bodies <= 0 or bytes_ < len(body):
                if reason == FUTURE:
                    return Processed(reading, Disposition.REFUSED, "quarantine-full")
                return Processed(reading, Disposition.QUARANTINED, reason)
            self._put(
                Quarantined(
                    id_,
                    reason,
                    _DETAILS[reason],
                    body,
                    self._now,
                    event.message_id,
                    event.configuration_set,
                    _encode_event(event),
                )
            )
        return Processed(reading, Disposition.QUARANTINED, reason)

    def _room_for(self, reason: str) -> tuple[int, int]:
        if reason not in self._room:
            self._room[reason] = self._view.room(reason)
        return self._room[reason]

    def _put(self, quarantined: Quarantined) -> None:
        bodies, bytes_ = self._room_for(quarantined.reason)
        self._room[quarantined.reason] = bodies - 1, bytes_ - len(quarantined.body)
        self.bodies[quarantined.id] = quarantined

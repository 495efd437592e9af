"""A reading: what was read from one body. It is an event, nothing to count, or unreadable."""

from __future__ import annotations

from hashlib import blake2b

from msgspec import Struct

from sesight.domain.event import Event
from sesight.domain.unsubscribe import ORIGIN as LINK

SENDER = "sender"
"""The origin of events that our own sender reports."""

OURS = frozenset({SENDER, LINK})
"""Origins of events that we make. They do not show that events of the provider arrive."""

INBOUND = "inbound-mail"
"""The reason of an empty reading: SES reports a message that it received for us."""


class EventReading(Struct, frozen=True, gc=False, array_like=True, tag=0):
    """An event. `body` is empty where the event is certain not to be quarantined (`Rules.known_sets`);
    `stream` is the one that the operator named for events without a known configuration set.
    """

    origin: str
    event: Event
    body: bytes = b""
    stream: str | None = None


class EmptyReading(Struct, frozen=True, gc=False, array_like=True, tag=1):
    """A body that holds nothing to count, with the code of the reason. `confirmed` is true for a topic
    subscription that was confirmed.
    """

    origin: str
    reason: str
    confirmed: bool = False


class UnreadableReading(Struct, frozen=True, gc=False, array_like=True, tag=2):
    """A body that could not be understood, with the code it is quarantined under and a sentence."""

    origin: str
    reason: str
    detail: str
    body: bytes


Reading = EventReading | EmptyReading | UnreadableReading
"""The tags tell the three apart in MessagePack, in which reader processes hand readings over."""


def fingerprint(body: bytes) -> str:
    """Return the id of a body in the quarantine."""
    return blake2b(body, digest_size=16).hexdigest()

"""Leaving a stream by the link in a message: what the link stands for, and the event it becomes."""

from __future__ import annotations

from msgspec import Struct

from sesight.domain.event import CAMPAIGN_TAGS, Event, Identity, Report, Subscription
from sesight.domain.record import Record
from sesight.domain.stream import Stream
from sesight.domain.suppression.item import Suppression, SuppressionReason, is_lifted
from sesight.domain.timestamps import DAY

ORIGIN = "unsubscribe"
"""The origin of readings of these events."""


class UnsubscribeTarget(Struct, frozen=True, array_like=True):
    """What an unsubscribe link stands for: an address and the stream it leaves; and of the message
    that had the link its campaign, the UTC day it was made and its send id.
    """

    stream: str
    address: str
    campaign: str | None
    day: int
    send_id: str

    @property
    def masked(self) -> str:
        """Return the address as a page may show it to whoever opened the link."""
        local, _, domain = self.address.rpartition("@")
        return f"{local[:1]}***@{domain}"


def unsubscribe_event(
    leave: UnsubscribeTarget, stream: Stream, record: Record | None, at: int
) -> Event:
    """Return the event of an address that leaves a stream at `at` (ms).

    Where the message's record is not held the event has no message id: then it says something of the
    address and of no message (`sesight.ingest.event_batch`).
    """
    if record is None:
        tags = () if leave.campaign is None else ((CAMPAIGN_TAGS[0], leave.campaign),)
        message_id, identity = "", Identity(leave.day * DAY, send_id=leave.send_id, tags=tags)
    else:
        message_id, identity = record.message_id, record.identity
    left = Subscription(at, left=("*",), source="link")
    return Event(message_id, identity, (Report(leave.address, left),), stream.configuration_set)


def has_unsubscribed(item: Suppression | None, record: Record | None) -> bool:
    """Return whether an address has left by a message, or at all where its record is not held, and
    nobody has let it back in since.
    """
    return item is not None and any(
        cause.reason == SuppressionReason.UNSUBSCRIBED
        and (record is None or cause.message_id == record.message_id)
        and not is_lifted(cause, item.removals)
        for cause in item.causes
    )

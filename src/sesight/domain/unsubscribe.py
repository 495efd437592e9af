"""Unsubscribing by the link in a message: what the link stands for, and the event that it becomes."""

from __future__ import annotations

from msgspec import Struct

from sesight.domain.event import CAMPAIGN_TAGS, Event, Identity, Report, Subscription
from sesight.domain.record import Record
from sesight.domain.stream import Stream
from sesight.domain.suppression.item import Suppression, SuppressionReason, is_lifted
from sesight.domain.timestamps import DAY

ORIGIN = "unsubscribe"
"""The origin of the events that links make."""


class UnsubscribeTarget(Struct, frozen=True, array_like=True):
    """What an unsubscribe link stands for: the address and the stream it unsubscribes from; and of the
    message with the link its campaign, the UTC day of the link, and its send id.
    """

    stream: str
    address: str
    campaign: str | None
    day: int
    send_id: str

    @property
    def masked(self) -> str:
        """Return the address as a page may show it to anyone who opens the link."""
        local, _, domain = self.address.rpartition("@")
        return f"{local[:1]}***@{domain}"


def unsubscribe_event(
    target: UnsubscribeTarget, stream: Stream, record: Record | None, at: int
) -> Event:
    """Return the event of an address that unsubscribes from a stream at `at` (ms).

    If the store no longer holds the message's record, the event has no message id: it then suppresses
    the address and changes no record.
    """
    if record is None:
        tags = () if target.campaign is None else ((CAMPAIGN_TAGS[0], target.campaign),)
        message_id, identity = "", Identity(target.day * DAY, send_id=target.send_id, tags=tags)
    else:
        message_id, identity = record.message_id, record.identity
    occurrence = Subscription(at, left=("*",), source="link")
    report = Report(target.address, occurrence)
    return Event(message_id, identity, (report,), stream.configuration_set)


def has_unsubscribed(item: Suppression | None, record: Record | None) -> bool:
    """Return whether an item holds an unsubscribe that no removal lifts: one that came from the record's
    message, or any if there is no record.
    """
    return item is not None and any(
        cause.reason == SuppressionReason.UNSUBSCRIBED
        and (record is None or cause.message_id == record.message_id)
        and not is_lifted(cause, item.removals)
        for cause in item.causes
    )

"""Cards: the identity and the times of each campaign."""

from __future__ import annotations

from msgspec import Struct

from sesight.domain.event import better_name
from sesight.domain.record import least

MULTIPLE_SUBJECTS = "~several"
"""A card's subject where its messages have more than one."""


CARD_TIME_STEP = 60_000
"""Milliseconds by which a card's times go. A card is one item, which all events of a campaign speak of
at the same time: were its times to the millisecond, each later event would be a write.
"""


class Card(Struct, frozen=True, gc=False, array_like=True):
    """A campaign's identity and times, kept for ever. Joined field by field (the better name, else
    the least text; first and last times), so the order of events does not matter. Times are those of
    the minutes they are in (`CARD_TIME_STEP`).
    """

    stream: str
    campaign: str
    name: str | None = None
    provider: str = "ses"
    sender: str | None = None
    subject: str | None = None
    template: str | None = None
    first_sent_at: int | None = None
    last_sent_at: int | None = None
    last_event_at: int | None = None

    def joined(self, other: Card) -> Card:
        """Return what both say of the campaign."""
        return Card(
            self.stream,
            self.campaign,
            better_name(self.name, other.name),
            min(self.provider, other.provider),
            least(self.sender, other.sender),
            self.subject
            if other.subject in (None, self.subject)
            else other.subject
            if self.subject is None
            else MULTIPLE_SUBJECTS,
            least(self.template, other.template),
            least(self.first_sent_at, other.first_sent_at),
            _greater(self.last_sent_at, other.last_sent_at),
            _greater(self.last_event_at, other.last_event_at),
        )


def _greater(one: int | None, other: int | None) -> int | None:
    return other if one is None or (other is not None and other > one) else one

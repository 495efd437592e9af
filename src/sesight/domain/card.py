"""Cards: the identity and the times of each campaign."""

from __future__ import annotations

from msgspec import Struct

from sesight.domain.event import better_name
from sesight.domain.record import least

MULTIPLE_SUBJECTS = "~several"
"""The subject of a card whose messages have several."""


CARD_TIME_STEP = 60_000
"""The resolution of a card's times, milliseconds. All events of a campaign update one card: with exact times,
every one of them would be a write to the same item.
"""


class Card(Struct, frozen=True, gc=False, array_like=True):
    """A campaign's identity and times, kept forever.

    Two cards of a campaign are joined field by field (the better name, else the lesser text; the first and
    last times), so the order of events does not matter. Times are rounded down to `CARD_TIME_STEP`.
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
        """Return the join of two cards of one campaign."""
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

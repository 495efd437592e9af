"""The cards of the campaigns in a batch."""

from __future__ import annotations

from functools import reduce
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from sesight.domain.card import CARD_TIME_STEP, Card
from sesight.domain.event import campaign_name

if TYPE_CHECKING:
    from sesight.domain.record import Record


class _CardFields(Struct):
    """What a batch says of one campaign: its times, and each distinct description of it."""

    first_sent_at: int
    last_sent_at: int
    last_event_at: int
    descriptions: set[tuple[Any, ...]] = field(default_factory=set)


class BatchCards:
    """Campaigns by (stream, campaign), with what the records of a batch say of them."""

    def __init__(self) -> None:
        self._campaigns: dict[tuple[str, str], _CardFields] = {}

    def add(self, record: Record, campaign: str, before: Record | None) -> None:
        """Add what a changed record says of its campaign; `before` is the record as stored."""
        identity = record.identity
        sent_at = identity.sent_at // CARD_TIME_STEP * CARD_TIME_STEP
        last_at = max([seen.at for seen in record.timeline]) // CARD_TIME_STEP * CARD_TIME_STEP
        place = (record.stream, campaign)
        fields = self._campaigns.get(place)
        if fields is None:
            fields = self._campaigns[place] = _CardFields(sent_at, sent_at, last_at)
        elif last_at > fields.last_event_at:
            fields.last_event_at = last_at
        if fields.descriptions and before is not None and before.identity == identity:
            return  # the card has this description already
        fields.first_sent_at = min(fields.first_sent_at, sent_at)
        fields.last_sent_at = max(fields.last_sent_at, sent_at)
        fields.descriptions.add(
            (
                identity.tags,
                identity.provider,
                identity.sender,
                identity.subject,
                identity.template,
            )
        )

    def joined(self) -> dict[tuple[str, str], Card]:
        """Return one card for each campaign, for the store to join into the stored one."""
        return {
            place: reduce(
                Card.joined,
                [
                    Card(
                        *place,
                        campaign_name(tags),
                        provider,
                        sender,
                        subject,
                        template,
                        fields.first_sent_at,
                        fields.last_sent_at,
                        fields.last_event_at,
                    )
                    for tags, provider, sender, subject, template in fields.descriptions
                ],
            )
            for place, fields in self._campaigns.items()
        }

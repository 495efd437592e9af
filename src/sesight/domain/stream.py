"""Streams: the kinds of mail, each with its own configuration set and reputation."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Stream(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of mail. `months`: its campaigns are months (statements); `soft_bounces`: repeated soft
    bounces suppress; `tracked`: opens and clicks are recorded; `topic`: the contact-list topic that stands
    for the stream, None if leaving any topic leaves the stream; `tables`: what its DynamoDB tables are
    named after, None for its id.
    """

    id: str
    label: str
    kind: Literal["marketing", "transactional"]
    configuration_set: str
    months: bool = False
    soft_bounces: bool = True
    tracked: bool = True
    topic: str | None = None
    tables: str | None = None

    @property
    def marketing(self) -> bool:
        """Return whether unsubscribe and complaint rules for marketing hold."""
        return self.kind == "marketing"


OUTREACH = Stream("outreach", "Outreach", "marketing", "outreach-tracking")
FINANCE = Stream(
    "finance",
    "Finance",
    "transactional",
    "finance-tracking",
    months=True,
    soft_bounces=False,
    tables="financial",
)

"""Streams: the kinds of mail, and the two that Sesight has by default."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct


class Stream(Struct, frozen=True, forbid_unknown_fields=True):
    """A kind of mail with its own configuration set, tables and reputation. A `[[streams]]` list replaces
    the two default streams.
    """

    id: str
    """The stream's name in URLs, figures and tables. Letters, digits, `-` and `_`."""
    label: str
    """The stream's name for people."""
    kind: Literal["marketing", "transactional"]
    """`marketing` or `transactional`. Complaints suppress an address in all marketing streams by default."""
    configuration_set: str
    """The SES configuration set whose events belong to the stream."""
    months: bool = False
    """Whether campaigns are statement months (tag `campaign_month`)."""
    soft_bounces: bool = True
    """Whether repeated soft bounces suppress an address."""
    tracked: bool = True
    """Whether SES records opens and clicks. If not, their rates are null."""
    topic: str | None = None
    """The contact-list topic that stands for the stream. None: unsubscribing from any topic unsubscribes."""
    tables: str | None = None
    """The first word of the names of the stream's DynamoDB tables; the `id` by default."""

    @property
    def marketing(self) -> bool:
        """Return whether this is a marketing stream."""
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

"""The plan: what traffic to simulate, as one struct of numbers.

Times are epoch milliseconds UTC (`ms`), durations milliseconds, shares fractions from 0 to 1.
"""

import time
from typing import Literal

import msgspec

DAY = 86_400_000
HOUR = 3_600_000
MINUTE = 60_000
SECOND = 1_000


def now_ms() -> int:
    """Return the current time in epoch ms."""
    return time.time_ns() // 1_000_000


class Plan(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What to simulate. The same plan gives the same bytes."""

    seed: int = 1
    """All random choices follow from it."""
    end: int = msgspec.field(default_factory=now_ms)
    """The end of the history, epoch ms: nothing is sent and no event arrives after it."""
    days: int = 90
    """Messages are sent in the `days` days up to `end`."""
    messages: int = 100_000
    """Messages sent. A message has about 2.6 events."""
    campaigns: int | None = None
    """Campaigns of both streams together, at least one for each stream that has messages. None: about one
    per 1,500 messages."""
    outreach_share: float = 0.7
    """Share of the messages in the stream `outreach`; the rest are in `finance`."""
    duplicates: float = 0.01
    """Share of events that arrive twice, the second up to `duplicate_ms` after the first."""
    duplicate_ms: int = 10 * MINUTE
    disorder: float = 0.02
    """Share of events that arrive late by up to `disorder_ms`, and so out of order."""
    disorder_ms: int = 2 * MINUTE
    ambiguous: float = 0.01
    """Share of people whose only open comes 1 to 4 s after the delivery (class: unknown)."""
    multi_recipient: float = 0.002
    """Share of messages to two to four recipients of one company."""
    bounces: float = 1.0
    """Factor on the shares of bounces, delays, rejects and other failures (0: all delivered)."""
    complaints: float = 1.0
    """Factor on the shares of complaints and unsubscribes."""
    engagement: float = 1.0
    """Factor on the probability that a person opens; at most about 1.6."""
    machines: float = 1.0
    """Factor on Apple privacy opens, Gmail prefetches and scanners (0: people only)."""
    wrapping: Literal["event", "sns"] = "event"
    """What `write` puts on a line: the SES event, or an SNS notification of it."""
    region: str = "eu-west-1"
    """The AWS region in the ARNs."""
    account: str = "000000000000"
    """The AWS account in the ARNs. AWS never issues this one, so no real topic can match."""
    topic: str = "ses-email-events"
    """The SNS topic's name."""

    @property
    def begin(self) -> int:
        """The start of the history, epoch ms."""
        return self.end - self.days * DAY

    @property
    def topic_arn(self) -> str:
        """The SNS topic the events come from."""
        return f"arn:aws:sns:{self.region}:{self.account}:{self.topic}"


class SimulatedEvent(msgspec.Struct, frozen=True, gc=False):
    """One arrival of one SES event."""

    at: int
    """When it arrives, epoch ms: at its own time or later."""
    body: bytes
    """The SES event as UTF-8 JSON, without a final newline."""

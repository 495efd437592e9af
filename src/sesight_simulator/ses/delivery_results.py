"""What happens to a message at its recipient, and when the event of it comes."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from enum import StrEnum

from sesight_simulator.ses.addresses import is_simulator

Delay = Callable[[str], int]
"""Maps an event type to the time (ms) from the acceptance of the message to the event."""


class DeliveryResult(StrEnum):
    """What happens to a message at its recipient."""

    DELIVERED = "delivered"
    """The receiving server accepts it; nobody opens it."""
    BOUNCED = "bounced"
    """The mailbox does not exist."""
    SUPPRESSED = "suppressed"
    """SES suppresses the address, as for the mailbox simulator's `suppressionlist`."""
    SOFT_BOUNCED = "soft-bounced"
    """The mailbox is full."""
    DELAYED = "delayed"
    """Delivered after a delay."""
    AUTO_REPLIED = "auto-replied"
    """Delivered, then an out-of-office reply."""
    COMPLAINED = "complained"
    """Delivered, then marked as spam."""
    OPENED = "opened"
    """Delivered, then opened."""
    CLICKED = "clicked"
    """Delivered, then opened and its first link clicked."""


OPENING = frozenset({DeliveryResult.OPENED, DeliveryResult.CLICKED})
REACHING = OPENING | {
    DeliveryResult.DELIVERED,
    DeliveryResult.DELAYED,
    DeliveryResult.AUTO_REPLIED,
    DeliveryResult.COMPLAINED,
}

_MAILBOX_SIMULATOR = {
    "success": DeliveryResult.DELIVERED,
    "bounce": DeliveryResult.BOUNCED,
    "ooto": DeliveryResult.AUTO_REPLIED,
    "complaint": DeliveryResult.COMPLAINED,
    "suppressionlist": DeliveryResult.SUPPRESSED,
}
_SHARES = {
    DeliveryResult.DELIVERED: 38,
    DeliveryResult.OPENED: 36,
    DeliveryResult.CLICKED: 14,
    DeliveryResult.DELAYED: 4,
    DeliveryResult.AUTO_REPLIED: 2,
    DeliveryResult.SOFT_BOUNCED: 3,
    DeliveryResult.BOUNCED: 2,
    DeliveryResult.COMPLAINED: 1,
}
_RESULTS_BY_HASH = [result for result, share in _SHARES.items() for _ in range(share)]

_SHORT_DELAYS = {
    "Send": 0,
    "Rendering Failure": 5,
    "Reject": 5,
    "DeliveryDelay": 10,
    "Delivery": 15,
    "Bounce": 20,
    "Open": 30,
    "Click": 40,
    "Complaint": 50,
}
_REALISTIC_DELAYS = {
    "Send": (50, 400),
    "Rendering Failure": (300, 900),
    "Reject": (300, 900),
    "DeliveryDelay": (1_000, 2_000),
    "Delivery": (700, 4_000),
    "Bounce": (1_500, 5_000),
    "Open": (5_000, 15_000),
    "Click": (16_000, 30_000),
    "Complaint": (20_000, 40_000),
}


def short_delay(event_type: str) -> int:
    """Return a delay of milliseconds, for tests; events keep the order of real ones."""
    return _SHORT_DELAYS[event_type]


def realistic_delay(event_type: str) -> int:
    """Return a random delay of seconds, so that a person can watch mail arrive."""
    return random.randint(*_REALISTIC_DELAYS[event_type])


def always_delivered(_: str) -> DeliveryResult:
    """Deliver to every address."""
    return DeliveryResult.DELIVERED


def varied_results(mailbox: str) -> DeliveryResult:
    """Return a result by hash of the address: most are delivered, half are opened."""
    return _RESULTS_BY_HASH[zlib.crc32(mailbox.lower().encode()) % len(_RESULTS_BY_HASH)]


def delivery_result_of(mailbox: str, choose: Callable[[str], DeliveryResult]) -> DeliveryResult:
    """Return what AWS documents for a mailbox simulator address, else what `choose` returns."""
    if is_simulator(mailbox):
        return _MAILBOX_SIMULATOR.get(
            mailbox.partition("@")[0].partition("+")[0].lower(), DeliveryResult.BOUNCED
        )
    return choose(mailbox)

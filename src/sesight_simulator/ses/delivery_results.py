"""Fates: what becomes of a message where it goes, and when one hears of it."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from enum import StrEnum

from sesight_simulator.ses.addresses import is_simulator

Delay = Callable[[str], int]
"""From an event's type to how long after its message's acceptance it happens, ms."""


class Fate(StrEnum):
    """What becomes of a message at a recipient's."""

    DELIVERED = "delivered"
    """The receiving server takes it, and nobody does anything."""
    BOUNCED = "bounced"
    """There is no such mailbox."""
    SUPPRESSED = "suppressed"
    """On SES's own list, as the simulator's `suppressionlist`."""
    SOFT_BOUNCED = "soft-bounced"
    """The mailbox is full."""
    DELAYED = "delayed"
    """Delivered after a delay."""
    AUTO_REPLIED = "auto-replied"
    """Delivered, then an answer that the person is away."""
    COMPLAINED = "complained"
    """Delivered, then marked as spam."""
    OPENED = "opened"
    """Delivered, then opened."""
    CLICKED = "clicked"
    """Delivered, then opened and its first link clicked."""


READ = frozenset({Fate.OPENED, Fate.CLICKED})
REACHED = READ | {Fate.DELIVERED, Fate.DELAYED, Fate.AUTO_REPLIED, Fate.COMPLAINED}

_SIMULATOR = {
    "success": Fate.DELIVERED,
    "bounce": Fate.BOUNCED,
    "ooto": Fate.AUTO_REPLIED,
    "complaint": Fate.COMPLAINED,
    "suppressionlist": Fate.SUPPRESSED,
}
_SHARES = {
    Fate.DELIVERED: 38,
    Fate.OPENED: 36,
    Fate.CLICKED: 14,
    Fate.DELAYED: 4,
    Fate.AUTO_REPLIED: 2,
    Fate.SOFT_BOUNCED: 3,
    Fate.BOUNCED: 2,
    Fate.COMPLAINED: 1,
}
_LOTS = [fate for fate, share in _SHARES.items() for _ in range(share)]

_QUICK = {
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
_LIFELIKE = {
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


def quick(event_type: str) -> int:
    """Delays that let a test see everything at once, in the order of real ones."""
    return _QUICK[event_type]


def lifelike(event_type: str) -> int:
    """Delays that let a person watch mail arrive: seconds, where real ones may be days."""
    return random.randint(*_LIFELIKE[event_type])


def delivered(_: str) -> Fate:
    """Every address takes its mail."""
    return Fate.DELIVERED


def various(mailbox: str) -> Fate:
    """Most addresses take their mail, half of them read it; the same address always does the same."""
    return _LOTS[zlib.crc32(mailbox.lower().encode()) % len(_LOTS)]


def fate_of(mailbox: str, fate: Callable[[str], Fate]) -> Fate:
    """The fate of a bare address: of the simulator's as AWS documents them, else as `fate` says."""
    if is_simulator(mailbox):
        return _SIMULATOR.get(mailbox.partition("@")[0].partition("+")[0].lower(), Fate.BOUNCED)
    return fate(mailbox)

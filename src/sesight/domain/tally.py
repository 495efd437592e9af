"""Tallies: what one record counts as, in every counter.

Totals are the sum of tallies. A record keeps the tally it was last counted as, so a commit adds the new
tally less the stored one. A change of the rules therefore moves totals only through the records that are
counted again (`sesight.domain.counting`).
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct

from sesight.domain.outcome import PENDING, Outcome

OUTCOMES = ("delivered", "softBounced", "bounced", "suppressed", "rejected", "failed", "pending")
"""Outcome counters: exclusive, they sum to `recipients`."""

FACTS = (
    "sent",
    "attempted",
    "reached",
    "everDelayed",
    "autoReplied",
    "complained",
    "unsubscribed",
    "opened",
    "humanOpened",
    "unknownOpened",
    "machineOnlyOpened",
    "clicked",
    "humanClicked",
    "unknownClicked",
    "machineOnlyClicked",
    "capped",
)
"""Counters of recipients for which a fact holds. `capped`: some of their events were left out."""

EVENTS = (
    "opens",
    "clicks",
    "machineOpens",
    "machineClicks",
    "unattributedOpens",
    "unattributedClicks",
)
"""Counters of events, at most 32 of a type for each record."""

COUNTERS = ("recipients", *OUTCOMES, *FACTS, *EVENTS)
"""All counters, in the order of a rollup row."""

LAST_AGE = 72
"""The age bucket of everything later than 71 hours after the send."""

_AT = {name: n for n, name in enumerate(COUNTERS)}
FACT_BIT = {name: 1 << n for n, name in enumerate(FACTS)}
_CLASS = {
    Outcome.DELIVERED: "delivered",
    Outcome.SOFT_BOUNCED: "softBounced",
    Outcome.BOUNCED: "bounced",
    Outcome.SUPPRESSED: "suppressed",
    Outcome.REJECTED: "rejected",
    Outcome.FAILED: "failed",
    **dict.fromkeys(PENDING, "pending"),
}


REACHED = FACT_BIT["reached"]
"""The bit of `Tally.facts` for `reached`."""


class TallyDimensions(Struct, frozen=True, gc=False, array_like=True):
    """The stream, campaign, day and other dimensions under which a record is counted."""

    stream: str
    campaign: str
    day: int
    mailbox: str
    sender_domain: str | None = None
    template: str | None = None
    month: int | None = None
    attempt: str | None = None
    reason: str | None = None
    tags: tuple[tuple[str, str], ...] = ()


class LinkTally(Struct, frozen=True, gc=False, array_like=True):
    """Clicks of one link by one recipient; `human` is 1 if a person clicked it."""

    link: str
    human: int
    clicks: int
    machine_clicks: int


class Tally(Struct, frozen=True, gc=False, array_like=True):
    """What one record counts as. `dimensions` None: it is not counted (a test recipient).

    `facts` has a bit for each of `FACTS`. `events` is empty or holds the counters of `EVENTS`. `ages` holds
    the age in hours of the first delivery, human open, machine-only open and human click; it is empty if
    there is none of them.
    """

    rules: int
    dimensions: TallyDimensions | None = None
    hour: int = 0
    outcome: int = -1
    facts: int = 0
    events: tuple[int, ...] = ()
    ages: tuple[int | None, ...] = ()
    links: tuple[LinkTally, ...] = ()


@lru_cache(4_096)
def flags(outcome: int, bits: int) -> tuple[int, ...]:
    """Return the counters of an outcome and facts, in the order of `COUNTERS`, with 0 for those of events."""
    counts = [0] * len(COUNTERS)
    if outcome >= 0:
        counts[_AT["recipients"]] = 1
        counts[_AT[_CLASS[Outcome(outcome)]]] = 1
    for name, bit in FACT_BIT.items():
        if bits & bit:
            counts[_AT[name]] = 1
    return tuple(counts)


_EVENTS_AT = len(COUNTERS) - len(EVENTS)


def counter_values(tally: Tally) -> tuple[int, ...]:
    """Return the counters of a tally, in the order of `COUNTERS`."""
    counted = flags(tally.outcome, tally.facts)
    return counted[:_EVENTS_AT] + tally.events if tally.events else counted

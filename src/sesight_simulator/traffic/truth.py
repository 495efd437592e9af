"""Truth: the totals a product must find in the traffic, counted without the product's rules.

The generator tells what each event that arrived says (a `Mark`); what a recipient counts as
follows from the set of marks alone, by docs/reference/measures.md. Repetitions are not told.
"""

from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from sesight_simulator.traffic.arrivals import SimulatedMessage
from sesight_simulator.traffic.campaigns import SimulatedCampaign
from sesight_simulator.traffic.event_bodies import Mark, stamp
from sesight_simulator.traffic.plan import DAY, Plan

COUNTERS = (
    "recipients",
    *("delivered", "softBounced", "bounced", "suppressed", "rejected", "failed", "pending"),
    *("sent", "attempted", "reached", "everDelayed", "autoReplied", "complained", "unsubscribed"),
    *("opened", "humanOpened", "unknownOpened", "machineOnlyOpened"),
    *("clicked", "humanClicked", "unknownClicked", "machineOnlyClicked"),
    *("opens", "clicks", "machineOpens", "machineClicks"),
    *("unattributedOpens", "unattributedClicks"),
)
"""Every counter, in the order of docs/reference/measures.md."""

UNTAGGED = "~untagged"
"""The campaign of a message of which no event with campaign tags has arrived."""

# A message's notes are one number: a bit per mark seen, and above them four counts of a byte.
_FLAGS = tuple(1 << mark for mark in Mark)
_ALL_FLAGS = (1 << 24) - 1
_OPENS, _CLICKS, _MACHINE_OPENS, _MACHINE_CLICKS = 32, 40, 48, 56
_COUNTS = tuple(
    {
        Mark.HUMAN_OPEN: 1 << _OPENS,
        Mark.UNKNOWN_OPEN: 1 << _OPENS,
        Mark.MACHINE_OPEN: 1 << _OPENS | 1 << _MACHINE_OPENS,
        Mark.HUMAN_CLICK: 1 << _CLICKS,
        Mark.UNKNOWN_CLICK: 1 << _CLICKS,
        Mark.MACHINE_CLICK: 1 << _CLICKS | 1 << _MACHINE_CLICKS,
    }.get(mark, 0)
    for mark in Mark
)
_UNATTRIBUTED = {mark for mark in Mark if mark >= Mark.HUMAN_OPEN} | {Mark.CANDIDATES}


@cache
def counted(flags: int) -> tuple[str, ...]:
    """The counters one recipient adds 1 to, given the marks seen of it (a bit each)."""

    def seen(*marks: Mark) -> bool:
        return any(flags >> mark & 1 for mark in marks)

    reached = seen(
        Mark.DELIVERY, Mark.COMPLAINT, Mark.UNSUBSCRIBE,
        Mark.HUMAN_OPEN, Mark.UNKNOWN_OPEN, Mark.HUMAN_CLICK, Mark.UNKNOWN_CLICK,
    )  # fmt: skip
    if seen(Mark.REJECT):
        outcome = "rejected"
    elif seen(Mark.FAILURE):
        outcome = "failed"
    elif seen(Mark.BOUNCE):
        outcome = "bounced"
    elif seen(Mark.SUPPRESSED, Mark.SUPPRESSED_COMPLAINT):
        outcome = "suppressed"
    elif seen(Mark.SOFT_BOUNCE):
        outcome = "softBounced"
    else:
        outcome = "delivered" if reached else "pending"
    facts = {
        "recipients": True,
        outcome: True,
        "sent": True,
        "attempted": outcome not in {"suppressed", "rejected", "failed"},
        "reached": reached,
        "everDelayed": seen(Mark.DELAY),
        "autoReplied": seen(Mark.AUTO_REPLY),
        "complained": seen(Mark.COMPLAINT),
        "unsubscribed": seen(Mark.UNSUBSCRIBE),
    }
    if reached:
        human_click, unknown_click, machine_click = (
            seen(Mark.HUMAN_CLICK), seen(Mark.UNKNOWN_CLICK), seen(Mark.MACHINE_CLICK)
        )  # fmt: skip
        # A click implies an open of its own class; the best verdict wins.
        human = human_click or seen(Mark.HUMAN_OPEN)
        unknown = unknown_click or seen(Mark.UNKNOWN_OPEN)
        machine = machine_click or seen(Mark.MACHINE_OPEN)
        facts |= {
            "opened": human or unknown or machine,
            "humanOpened": human,
            "unknownOpened": unknown and not human,
            "machineOnlyOpened": machine and not human and not unknown,
            "clicked": human_click or unknown_click or machine_click,
            "humanClicked": human_click,
            "unknownClicked": unknown_click and not human_click,
            "machineOnlyClicked": machine_click and not human_click and not unknown_click,
        }
    return tuple(name for name, holds in facts.items() if holds)


class _Row:
    """What the messages of one campaign and send day come to."""

    __slots__ = ("campaign", "candidates", "engagement", "recipients", "unattributed")

    def __init__(self, campaign: SimulatedCampaign) -> None:
        self.campaign = campaign
        self.recipients: dict[int, int] = {}
        """Recipients by the marks seen of them."""
        self.engagement = [0, 0, 0, 0]
        """opens, clicks, machineOpens, machineClicks of reached recipients."""
        self.unattributed = [0, 0]
        self.candidates = 0
        """Complaints that name several recipients."""

    def totals(self) -> dict[str, int]:
        """The counters, zeros too."""
        sums = dict.fromkeys(COUNTERS, 0)
        for flags, recipients in self.recipients.items():
            for name in counted(flags):
                sums[name] += recipients
        sums["opens"], sums["clicks"], sums["machineOpens"], sums["machineClicks"] = self.engagement
        sums["unattributedOpens"], sums["unattributedClicks"] = self.unattributed
        sums["complained"] += self.candidates
        return sums


class Truth:
    """The true totals of the events that have arrived, each once."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.events = 0
        """Events that arrived, repetitions not counted."""
        self.duplicates = 0
        """Repetitions that arrived."""
        self.ambiguous = dict.fromkeys(("recipients", "opens", "clicks"), 0)
        """Of class unknown, and why: ordinary browsers 1 to 4 s after the delivery."""
        self._rows: dict[tuple[int, int], _Row] = {}
        """By the campaign's number (inverted: of its untagged mail) and the day of the send."""

    def note(self, message: SimulatedMessage, mark: int, who: int) -> None:
        """Take down what an event says of the recipients `who` (a bit each), the first time."""
        self.events += 1
        parts = message.parts
        if parts is None or mark in _UNATTRIBUTED:
            message.seen = (message.seen | _FLAGS[mark]) + _COUNTS[mark]
        else:
            for place in range(len(parts)):
                if who >> place & 1:
                    parts[place] |= _FLAGS[mark]
        message.left -= 1
        if not message.left:
            self.fold(message)

    def fold(self, message: SimulatedMessage) -> None:
        """Count a message of which nothing more will arrive."""
        seen = message.seen
        flags = seen & _ALL_FLAGS
        row = self._row(message, flags)
        if message.parts is not None:
            for part in message.parts:
                if part:
                    row.recipients[part] = row.recipients.get(part, 0) + 1
            row.unattributed[0] += seen >> _OPENS & 255
            row.unattributed[1] += seen >> _CLICKS & 255
            row.candidates += flags >> Mark.CANDIDATES & 1
            return
        if not flags:
            return
        row.recipients[flags] = row.recipients.get(flags, 0) + 1
        if seen >> 32 and "reached" in counted(flags):
            engagement = row.engagement
            engagement[0] += seen >> _OPENS & 255
            engagement[1] += seen >> _CLICKS & 255
            engagement[2] += seen >> _MACHINE_OPENS & 255
            engagement[3] += seen >> _MACHINE_CLICKS & 255
            if flags & (_FLAGS[Mark.UNKNOWN_OPEN] | _FLAGS[Mark.UNKNOWN_CLICK]):
                self.ambiguous["recipients"] += 1
                self.ambiguous["opens"] += (seen >> _OPENS & 255) - (seen >> _MACHINE_OPENS & 255)
                self.ambiguous["clicks"] += flags >> Mark.UNKNOWN_CLICK & 1

    def _row(self, message: SimulatedMessage, flags: int) -> _Row:
        campaign = message.batch.campaign
        day = message.sent // DAY
        number = campaign.number
        if flags == _FLAGS[Mark.FAILURE]:
            number = ~number  # the one event without campaign tags came alone
            campaign = campaign._replace(id=UNTAGGED, name=UNTAGGED, tag=UNTAGGED)
        row = self._rows.get((number, day))
        if row is None:
            row = self._rows[number, day] = _Row(campaign)
        return row

    def document(self) -> dict[str, Any]:
        """All totals as plain JSON values; sums of days are campaigns and streams."""
        streams: dict[str, Any] = {}
        for (_, day), row in sorted(self._rows.items()):
            totals = row.totals()
            if not any(totals.values()):
                continue
            date = stamp(day * DAY)[:10].decode()
            campaign = row.campaign
            whole = streams.setdefault(campaign.stream, {"totals": {}, "days": {}, "campaigns": {}})
            part = whole["campaigns"].setdefault(
                campaign.id, {"name": campaign.name, "tag": campaign.tag, "totals": {}, "days": {}}
            )
            for place in part, whole:
                place["days"][date] = _sum((place["days"].get(date, {}), totals))
        for whole in streams.values():
            whole["days"] = dict(sorted(whole["days"].items()))
            whole["totals"] = _sum(whole["days"].values())
            for part in whole["campaigns"].values():
                part["totals"] = _sum(part["days"].values())
        return {
            "plan": None if self.plan is None else msgspec.to_builtins(self.plan),
            "events": self.events + self.duplicates,
            "duplicates": self.duplicates,
            "streams": streams,
            "ambiguous": dict(self.ambiguous),
        }


def _sum(rows: Iterable[dict[str, int]]) -> dict[str, int]:
    sums = dict.fromkeys(COUNTERS, 0)
    for row in rows:
        for name, value in row.items():
            sums[name] += value
    return sums

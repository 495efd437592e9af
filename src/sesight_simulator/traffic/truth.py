"""The true totals of the traffic, counted independently of the product's code.

The generator knows the meaning of each event that arrived (a `Mark`). What a recipient counts as follows
from its set of marks, as docs/reference/measures.md defines. Repetitions are not counted.
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
"""The campaign of a message while no event with campaign tags has arrived."""

# What is seen of a message is one number: a bit for each mark, and above them four counts of a byte each.
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
def counters_of(flags: int) -> tuple[str, ...]:
    """Return the counters that a recipient adds 1 to, from the marks seen (a bit each)."""

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
        # A click implies an open of its own class; human beats unknown beats machine.
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


class _Totals:
    """The sums of the messages of one campaign and send day."""

    __slots__ = ("campaign", "candidates", "engagement", "recipients", "unattributed")

    def __init__(self, campaign: SimulatedCampaign) -> None:
        self.campaign = campaign
        self.recipients: dict[int, int] = {}
        """Number of recipients by the marks seen of them."""
        self.engagement = [0, 0, 0, 0]
        """opens, clicks, machineOpens, machineClicks of reached recipients."""
        self.unattributed = [0, 0]
        self.candidates = 0
        """Complaints that name several recipients."""

    def totals(self) -> dict[str, int]:
        """Return all counters, zeros included."""
        sums = dict.fromkeys(COUNTERS, 0)
        for flags, recipients in self.recipients.items():
            for name in counters_of(flags):
                sums[name] += recipients
        sums["opens"], sums["clicks"], sums["machineOpens"], sums["machineClicks"] = self.engagement
        sums["unattributedOpens"], sums["unattributedClicks"] = self.unattributed
        sums["complained"] += self.candidates
        return sums


class Truth:
    """The true totals of the events that have arrived, each counted once."""

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.events = 0
        """Events that arrived, without repetitions."""
        self.duplicates = 0
        """Repetitions that arrived."""
        self.ambiguous = dict.fromkeys(("recipients", "opens", "clicks"), 0)
        """Opens and clicks of class unknown: ordinary browsers 1 to 4 s after the delivery."""
        self._rows: dict[tuple[int, int], _Totals] = {}
        """By the campaign's number (bitwise inverted for its untagged mail) and the send day."""

    def record(self, message: SimulatedMessage, mark: int, recipients: int) -> None:
        """Record the first arrival of an event about some recipients (a bit each)."""
        self.events += 1
        parts = message.parts
        if parts is None or mark in _UNATTRIBUTED:
            message.seen = (message.seen | _FLAGS[mark]) + _COUNTS[mark]
        else:
            for place in range(len(parts)):
                if recipients >> place & 1:
                    parts[place] |= _FLAGS[mark]
        message.left -= 1
        if not message.left:
            self.count(message)

    def count(self, message: SimulatedMessage) -> None:
        """Count a message that has no more events to come."""
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
        if seen >> 32 and "reached" in counters_of(flags):
            engagement = row.engagement
            engagement[0] += seen >> _OPENS & 255
            engagement[1] += seen >> _CLICKS & 255
            engagement[2] += seen >> _MACHINE_OPENS & 255
            engagement[3] += seen >> _MACHINE_CLICKS & 255
            if flags & (_FLAGS[Mark.UNKNOWN_OPEN] | _FLAGS[Mark.UNKNOWN_CLICK]):
                self.ambiguous["recipients"] += 1
                self.ambiguous["opens"] += (seen >> _OPENS & 255) - (seen >> _MACHINE_OPENS & 255)
                self.ambiguous["clicks"] += flags >> Mark.UNKNOWN_CLICK & 1

    def _row(self, message: SimulatedMessage, flags: int) -> _Totals:
        campaign = message.batch.campaign
        day = message.sent // DAY
        number = campaign.number
        if flags == _FLAGS[Mark.FAILURE]:
            number = ~number  # the only event that arrived is one without campaign tags
            campaign = campaign._replace(id=UNTAGGED, name=UNTAGGED, tag=UNTAGGED)
        row = self._rows.get((number, day))
        if row is None:
            row = self._rows[number, day] = _Totals(campaign)
        return row

    def document(self) -> dict[str, Any]:
        """Return all totals as JSON values: by stream, campaign and send day."""
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

"""The rollups: the rows that stored sums are kept in, and what a change of tallies adds to them."""

from __future__ import annotations

from enum import StrEnum
from operator import add, mul, sub
from typing import TYPE_CHECKING, NamedTuple

from sesight.domain.tally import COUNTERS, OUTCOMES, Place, Tally, counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sesight.domain.suppression import Suppression

DIMENSIONED = frozenset(
    {
        "sent",
        "attempted",
        "delivered",
        "reached",
        "everDelayed",
        "softBounced",
        "bounced",
        "complained",
        "humanOpened",
        "humanClicked",
    }
)
"""Counters of a row with a dimension."""

BY_HOUR = frozenset({"recipients", "sent", *OUTCOMES})
"""Counters of an hour row."""

BY_ATTEMPT = frozenset({"recipients", "sent", "delivered"})
"""Counters of a month row by attempt."""

_AT = {name: n for n, name in enumerate(COUNTERS)}
_ZERO = (0,) * len(COUNTERS)


class Family(StrEnum):
    """A set of rollup rows of one shape."""

    DAY = "day"
    HOUR = "hour"
    AGE = "age"
    LINK = "link"
    MONTH = "month"
    SUPPRESSED = "suppressed"


class RollupKey(NamedTuple):
    """One wide row. `campaign` is empty for a stream's row; `bucket` is a UTC day or hour number, an
    age in hours, a month (year * 12 + month - 1) or 0; `dimension` and `value` are empty for none.
    """

    family: str
    stream: str
    campaign: str
    bucket: int
    dimension: str
    value: str


Rollups = dict[RollupKey, list[int]]
"""Changes of rollup rows: counters in the order of `COUNTERS`."""


class Deltas:
    """The changes of one batch: a sum per head, expanded to one increment per rollup row."""

    def __init__(self) -> None:
        """Start with no change."""
        self._heads: dict[tuple[Place, int], list[int]] = {}
        self._ages: dict[tuple[str, str, int], list[int]] = {}
        self._links: dict[tuple[str, str, str], list[int]] = {}

    def add(self, before: Tally | None, after: Tally) -> None:
        """Add the difference that one record's change makes."""
        if before is None or before.place is None:
            self._apply(after, 1)
        elif before.place == after.place and before.hour == after.hour:
            if (
                before.outcome != after.outcome
                or before.facts != after.facts
                or before.events != after.events
            ):
                self._sum(after, list(map(sub, counts(after), counts(before))))
            if before.ages != after.ages:
                self._add_ages(before, -1)
                self._add_ages(after, 1)
            if before.links != after.links:
                self._add_links(before, -1)
                self._add_links(after, 1)
        else:
            self._apply(before, -1)
            self._apply(after, 1)

    def _apply(self, tally: Tally, sign: int) -> None:
        if tally.place is None:
            return
        counted = counts(tally)
        self._sum(tally, counted if sign > 0 else [-n for n in counted])
        if tally.ages:
            self._add_ages(tally, sign)
        if tally.links:
            self._add_links(tally, sign)

    def _sum(self, tally: Tally, change: tuple[int, ...] | list[int]) -> None:
        assert tally.place is not None  # noqa: S101 - callers have looked
        head = (tally.place, tally.hour)
        held = self._heads.get(head)
        self._heads[head] = list(change) if held is None else list(map(add, held, change))

    def _add_ages(self, tally: Tally, sign: int) -> None:
        place = tally.place
        assert place is not None  # noqa: S101 - callers have looked
        for counter, age in zip(_AGED, tally.ages, strict=False):
            if age is not None:
                key = (place.stream, place.campaign, age)
                row = self._ages.get(key)
                if row is None:
                    row = self._ages[key] = list(_ZERO)
                row[counter] += sign

    def _add_links(self, tally: Tally, sign: int) -> None:
        place = tally.place
        assert place is not None  # noqa: S101 - callers have looked
        for of_link in tally.links:
            key = (place.stream, place.campaign, of_link.link)
            row = self._links.get(key)
            if row is None:
                row = self._links[key] = list(_ZERO)
            row[_AT["humanClicked"]] += sign * of_link.human
            row[_AT["clicks"]] += sign * of_link.clicks
            row[_AT["machineClicks"]] += sign * of_link.machine_clicks

    def rows(self) -> Rollups:
        """Return one increment per rollup row that changes."""
        rows: Rollups = {}
        for (place, hour), change in self._heads.items():
            for key, kept in _rows_of(place, hour):
                masked = change if kept is None else list(map(mul, change, kept))
                held = rows.get(key)
                rows[key] = list(masked) if held is None else list(map(add, held, masked))
        for (stream, campaign, age), change in self._ages.items():
            rows[RollupKey(Family.AGE, stream, campaign, age, "", "")] = change
        for (stream, campaign, link), change in self._links.items():
            rows[RollupKey(Family.LINK, stream, campaign, 0, "link", link)] = change
        return {key: change for key, change in rows.items() if any(change)}


def _mask(names: frozenset[str]) -> tuple[int, ...]:
    return tuple(int(name in names) for name in COUNTERS)


_AGED = tuple(_AT[n] for n in ("delivered", "humanOpened", "machineOnlyOpened", "humanClicked"))
_BY_DIMENSION = _mask(DIMENSIONED)
_BY_HOUR = _mask(BY_HOUR)
_BY_REASON = _mask(frozenset({"recipients"}))
_BY_ATTEMPT = _mask(BY_ATTEMPT)


def _rows_of(place: Place, hour: int) -> Iterator[tuple[RollupKey, tuple[int, ...] | None]]:
    """Yield every row a place counts in, with the mask of counters kept there (None: all)."""
    stream, campaign, day = place.stream, place.campaign, place.day
    yield RollupKey(Family.DAY, stream, "", day, "", ""), None
    yield RollupKey(Family.DAY, stream, campaign, day, "", ""), None
    yield RollupKey(Family.HOUR, stream, "", day * 24 + hour, "", ""), _BY_HOUR
    for scope in ("", campaign):
        yield RollupKey(Family.DAY, stream, scope, day, "mailbox", place.mailbox), _BY_DIMENSION
    if place.sender_domain is not None:
        key = RollupKey(Family.DAY, stream, "", day, "senderDomain", place.sender_domain)
        yield key, _BY_DIMENSION
    if place.template is not None:
        yield RollupKey(Family.DAY, stream, "", day, "template", place.template), _BY_DIMENSION
    if place.reason is not None:
        yield RollupKey(Family.DAY, stream, campaign, day, "reason", place.reason), _BY_REASON
    for name, value in place.tags:
        yield RollupKey(Family.DAY, stream, campaign, day, f"tag:{name}", value), _BY_DIMENSION
    if place.month is not None:
        yield RollupKey(Family.MONTH, stream, "", place.month, "", ""), None
        if place.attempt is not None:
            key = RollupKey(Family.MONTH, stream, "", place.month, "attempt", place.attempt)
            yield key, _BY_ATTEMPT


def add_suppressed(rollups: Rollups, before: Suppression | None, after: Suppression | None) -> None:
    """Add to rollup rows what an item's change does to the count of suppressed addresses, which is
    kept under the day an item became active and its reason (counter `recipients`).
    """
    for item, sign in ((before, -1), (after, 1)):
        if item is not None and item.counted is not None:
            day, reason = item.counted
            key = RollupKey(Family.SUPPRESSED, item.stream, "", day, "reason", reason)
            row = rollups.setdefault(key, list(_ZERO))
            row[_AT["recipients"]] += sign

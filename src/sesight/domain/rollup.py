"""Rollups: the rows that store totals, and what a change of tallies adds to them."""

from __future__ import annotations

from collections import defaultdict
from enum import StrEnum
from itertools import chain, repeat
from operator import add, mul
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from sesight.domain.tally import COUNTERS, EVENTS, OUTCOMES, Tally, TallyDimensions, flags

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sesight.domain.suppression.item import Suppression

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

HOURS_KEPT = 30 * 24
"""Hours for which hour rows are kept."""

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
    """The key of a row. `campaign` is empty for a row of the stream. `bucket` is a UTC day or hour number, an age
    in hours, a month (year * 12 + month - 1) or 0. `dimension` and `value` are empty if the row has none.
    """

    family: str
    stream: str
    campaign: str
    bucket: int
    dimension: str
    value: str


Rollups = dict[RollupKey, list[int]]
"""Increments of rollup rows: counters in the order of `COUNTERS`."""


class RollupRow(NamedTuple):
    """One rollup row: its key and its counters in the order of `COUNTERS`."""

    key: RollupKey
    counts: Sequence[int]


class Deltas:
    """Adds up the changes of one batch: how many more records count in each way, expanded to one increment for
    each rollup row.
    """

    def __init__(self) -> None:
        """Start with no change."""
        self._ways: defaultdict[tuple[TallyDimensions, int, int, int], int] = defaultdict(int)
        self._events: dict[tuple[TallyDimensions, int], list[int]] = {}
        self._ages: defaultdict[tuple[str, str, tuple[int | None, ...]], int] = defaultdict(int)
        self._links: dict[tuple[str, str, str], list[int]] = {}

    def add(self, before: Tally | None, after: Tally) -> None:
        """Add the difference between the tallies of a record before and after a change."""
        if before is not None:
            self._apply(before, -1)
        self._apply(after, 1)

    def _apply(self, tally: Tally, sign: int) -> None:
        dimensions = tally.dimensions
        if dimensions is None:
            return
        self._ways[dimensions, tally.hour, tally.outcome, tally.facts] += sign
        if tally.events:
            head = (dimensions, tally.hour)
            row_before = self._events.get(head)
            change = map(mul, tally.events, repeat(sign))
            self._events[head] = list(
                change if row_before is None else map(add, row_before, change)
            )
        if tally.ages:
            self._ages[dimensions.stream, dimensions.campaign, tally.ages] += sign
        for of_link in tally.links:
            row = self._links.setdefault(
                (dimensions.stream, dimensions.campaign, of_link.link), [0, 0, 0]
            )
            row[0] += sign * of_link.human
            row[1] += sign * of_link.clicks
            row[2] += sign * of_link.machine_clicks

    def rows(self) -> Rollups:
        """Return the increment of each rollup row that changes."""
        rows: Rollups = {}
        for (dimensions, hour), change in self._heads().items():
            for key, kept in _rows_of(dimensions, hour):
                _add(rows, key, change if kept is None else map(mul, change, kept))
        for (stream, campaign, ages), n in self._ages.items():
            for counter, age in zip(_AGED, ages, strict=False):
                if age is not None:
                    key = RollupKey(Family.AGE, stream, campaign, age, "", "")
                    rows.setdefault(key, list(_ZERO))[counter] += n
        for (stream, campaign, link), counted in self._links.items():
            row = rows[RollupKey(Family.LINK, stream, campaign, 0, "link", link)] = list(_ZERO)
            for counter, n in zip(_OF_LINK, counted, strict=True):
                row[counter] = n
        return {key: change for key, change in rows.items() if any(change)}

    def _heads(self) -> dict[tuple[TallyDimensions, int], list[int]]:
        """Return the changed counters of each set of dimensions and hour."""
        heads: dict[tuple[TallyDimensions, int], list[int]] = {}
        for (dimensions, hour, outcome, facts), n in self._ways.items():
            if n:
                _add(heads, (dimensions, hour), map(mul, flags(outcome, facts), repeat(n)))
        for head, events in self._events.items():
            _add(heads, head, chain(repeat(0, _BEFORE_EVENTS), events))
        return heads


K = TypeVar("K")


def _add(sums: dict[K, list[int]], key: K, change: Iterable[int]) -> None:
    row_before = sums.get(key)
    sums[key] = list(change) if row_before is None else list(map(add, row_before, change))


def _mask(names: frozenset[str]) -> tuple[int, ...]:
    return tuple(int(name in names) for name in COUNTERS)


_AGED = tuple(_AT[n] for n in ("delivered", "humanOpened", "machineOnlyOpened", "humanClicked"))
_OF_LINK = tuple(_AT[n] for n in ("humanClicked", "clicks", "machineClicks"))
_BEFORE_EVENTS = len(COUNTERS) - len(EVENTS)
_BY_DIMENSION = _mask(DIMENSIONED)
_BY_HOUR = _mask(BY_HOUR)
_BY_REASON = _mask(frozenset({"recipients"}))
_BY_ATTEMPT = _mask(BY_ATTEMPT)


def _rows_of(
    dimensions: TallyDimensions, hour: int
) -> Iterator[tuple[RollupKey, tuple[int, ...] | None]]:
    """Yield every row in which a record counts, with the mask of the counters stored there (None: all)."""
    stream, campaign, day = dimensions.stream, dimensions.campaign, dimensions.day
    yield RollupKey(Family.DAY, stream, "", day, "", ""), None
    yield RollupKey(Family.DAY, stream, campaign, day, "", ""), None
    yield RollupKey(Family.HOUR, stream, "", day * 24 + hour, "", ""), _BY_HOUR
    for scope in ("", campaign):
        yield (
            RollupKey(Family.DAY, stream, scope, day, "mailbox", dimensions.mailbox),
            _BY_DIMENSION,
        )
    if dimensions.sender_domain is not None:
        key = RollupKey(Family.DAY, stream, "", day, "senderDomain", dimensions.sender_domain)
        yield key, _BY_DIMENSION
    if dimensions.template is not None:
        yield RollupKey(Family.DAY, stream, "", day, "template", dimensions.template), _BY_DIMENSION
    if dimensions.reason is not None:
        yield RollupKey(Family.DAY, stream, campaign, day, "reason", dimensions.reason), _BY_REASON
    for name, value in dimensions.tags:
        yield RollupKey(Family.DAY, stream, campaign, day, f"tag:{name}", value), _BY_DIMENSION
    if dimensions.month is not None:
        yield RollupKey(Family.MONTH, stream, "", dimensions.month, "", ""), None
        if dimensions.attempt is not None:
            key = RollupKey(
                Family.MONTH, stream, "", dimensions.month, "attempt", dimensions.attempt
            )
            yield key, _BY_ATTEMPT


def add_suppressed(rollups: Rollups, before: Suppression | None, after: Suppression | None) -> None:
    """Add the change of an item to the count of suppressed addresses (counter `recipients`), stored under the
    day on which the item became active and its reason.
    """
    for item, sign in ((before, -1), (after, 1)):
        if item is not None and item.counted is not None:
            day, reason = item.counted
            key = RollupKey(Family.SUPPRESSED, item.stream, "", day, "reason", reason)
            row = rollups.setdefault(key, list(_ZERO))
            row[_AT["recipients"]] += sign

"""Statistics: from rollup rows to totals, rates, series and breakdowns. Every formula, once.

The only module that divides. Rows come from a `StatsSource` (one stream or one campaign). Sources are merged
by adding counters, never by averaging rates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from math import sqrt
from typing import Literal, NamedTuple, TypeVar

from msgspec import Struct, convert

from sesight.domain.mailbox import REPORTING
from sesight.domain.reason import OTHER, REASONS
from sesight.domain.rollup import BY_ATTEMPT, BY_HOUR, DIMENSIONED, Family, RollupKey, RollupRow
from sesight.domain.tally import COUNTERS, LAST_AGE
from sesight.domain.timestamps import HOUR, day_name, iso

Step = Literal["hour", "day", "week", "age"]
"""The unit of the buckets of a series."""

RATES = {
    "delivery": ("delivered", "attempted"),
    "bounce": ("bounced", "attempted"),
    "softBounce": ("softBounced", "attempted"),
    "delay": ("everDelayed", "sent"),
    "complaint": ("complained", "reached"),
    "complaintReporting": ("complained", "reached"),
    "unsubscribe": ("unsubscribed", "reached"),
    "open": ("humanOpened", "reached"),
    "machineOpen": ("machineOnlyOpened", "reached"),
    "click": ("humanClicked", "reached"),
    "clickToOpen": ("humanClicked", "humanOpened"),
}
"""Every rate with its numerator and denominator."""

TRACKED_RATES = frozenset({"open", "machineOpen", "click", "clickToOpen"})
"""Rates that only include streams that track opens and clicks."""

REPORTING_RATE = "complaintReporting"
"""The rate that only includes mailbox providers that report complaints, from the rows by mailbox."""

TOP = 100
"""The maximum number of rows in a breakdown; the rest is added up as `~other`."""

LABELS = {
    "mailbox": {
        "gmail": "Gmail",
        "microsoft": "Microsoft",
        "yahoo": "Yahoo and AOL",
        "apple": "Apple iCloud",
        "gmx": "GMX and WEB.DE",
        "proton": "Proton",
        "other": "Other mailboxes",
    },
    "reason": REASONS,
    "attempt": {"first": "First attempt", "resend": "Resent"},
}
"""Labels of the values of a dimension; other values are their own label."""

_ZERO = (0,) * len(COUNTERS)
_AT = {name: n for n, name in enumerate(COUNTERS)}
_BY_LINK = frozenset({"humanClicked", "clicks", "machineClicks"})
_BY_AGE = frozenset({"delivered", "humanOpened", "machineOnlyOpened", "humanClicked"})
_UNATTEMPTED = ("suppressed", "rejected", "failed")
_SHOWN = tuple(name for name in COUNTERS if name != "capped")
_BOUNDED = {
    "opens": ("opens", "machineOpens"),
    "clicks": ("clicks", "machineClicks"),
    "unattributedOpens": ("unattributedOpens",),
    "unattributedClicks": ("unattributedClicks",),
}
_AGES = LAST_AGE + 1
_Z95 = 1.959963984540054

K = TypeVar("K", bound=Hashable)


class Rate(Struct, frozen=True):
    """A rate with its numerator and denominator. The value is from 0 to 1, null if it is undefined."""

    value: float | None
    numerator: int
    denominator: int


class Totals(Struct, frozen=True, rename="camel"):
    """Every counter. Counters count recipients unless they are named after events. `atLeast` names counters of
    events that are lower bounds, because some recipient had more events than are kept.
    """

    recipients: int
    delivered: int
    soft_bounced: int
    bounced: int
    suppressed: int
    rejected: int
    failed: int
    pending: int
    sent: int
    attempted: int
    reached: int
    ever_delayed: int
    auto_replied: int
    complained: int
    unsubscribed: int
    opened: int
    human_opened: int
    unknown_opened: int
    machine_only_opened: int
    clicked: int
    human_clicked: int
    unknown_clicked: int
    machine_only_clicked: int
    opens: int
    clicks: int
    machine_opens: int
    machine_clicks: int
    unattributed_opens: int
    unattributed_clicks: int
    at_least: list[str]


class Period(Struct, frozen=True):
    """The figures of a period."""

    totals: Totals
    rates: dict[str, Rate]


class DimensionStats(Struct, frozen=True):
    """The figures of one value of a dimension; `totals` has the counters that are stored for it."""

    totals: dict[str, int]
    rates: dict[str, Rate]


class Slice(Struct, frozen=True):
    """One row of a breakdown. `previous` has the figures of the previous period, null without one."""

    key: str
    label: str
    totals: dict[str, int]
    rates: dict[str, Rate]
    previous: DimensionStats | None


class Series(Struct, frozen=True, rename="camel"):
    """Figures of contiguous buckets, never cumulative. `counts` and `rates` have one value for each of `buckets`.
    A bucket is a UTC day, the Monday of a week, the ISO time of an hour, or an age in hours since the send of each
    message ("72": later). The buckets from `partialFrom` on are incomplete.
    """

    by: Step
    buckets: list[str]
    partial_from: str | None
    counts: dict[str, list[int]]
    rates: dict[str, list[float | None]]


class Stats(Struct, frozen=True):
    """Figures, in the shape that all responses share. `previous` covers the equal period just before."""

    totals: Totals
    rates: dict[str, Rate]
    previous: Period | None
    series: Series | None
    breakdowns: dict[str, list[Slice]]


class StatsSource(NamedTuple):
    """The rollup rows of one stream or campaign, and whether it tracks opens and clicks."""

    rows: Sequence[RollupRow]
    tracked: bool = True


class Axis(NamedTuple):
    """The buckets of a series: numbers of `by` (UTC days also for weeks) from `first` to before `end`.

    `partial` is the first incomplete number, None if all are complete.
    """

    by: Step
    first: int
    end: int
    partial: int | None = None


class _Sum:
    """Counters added up: of all streams, of those that track, and of mailboxes that report complaints."""

    __slots__ = ("every", "reporting", "tracked")

    def __init__(
        self,
        every: Sequence[int] = _ZERO,
        tracked: Sequence[int] = _ZERO,
        reporting: Sequence[int] | None = None,
    ) -> None:
        self.every = every
        self.tracked = tracked
        self.reporting = reporting


class _Group:
    """Rows that belong together, not yet added up."""

    __slots__ = ("blind", "mailboxes", "reporting", "tracked")

    def __init__(self) -> None:
        self.tracked: list[Sequence[int]] = []
        self.blind: list[Sequence[int]] = []
        self.reporting: list[Sequence[int]] = []
        self.mailboxes = False

    def sum(self) -> _Sum:
        """Add the rows up. If no mailbox of the group reports complaints, the sum is zero, not unknown."""
        tracked = added(self.tracked)
        every = added([tracked, *self.blind]) if self.blind else tracked
        return _Sum(every, tracked, added(self.reporting) if self.mailboxes else None)


def added(rows: Sequence[Sequence[int]]) -> Sequence[int]:
    """Add rows of counters, column by column."""
    return [sum(column) for column in zip(*rows, strict=True)] if rows else _ZERO


def divide(numerator: int, denominator: int) -> Rate:
    """Return the rate of two counts, null if the denominator is 0.

    There can be more complaints than reached recipients only if a complaint names no recipient (the record
    `*`). Each of these shows that a message was reached, so the denominator is at least the numerator.
    """
    of = max(numerator, denominator)
    return Rate(numerator / of if of > 0 else None, numerator, of)


def interval(numerator: int, denominator: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a rate; (0, 1) if the denominator is 0."""
    if denominator <= 0:
        return 0.0, 1.0
    share = numerator / denominator
    square = _Z95 * _Z95 / denominator
    centre = share + square / 2
    spread = _Z95 * sqrt((share * (1 - share) + square / 4) / denominator)
    return max((centre - spread) / (1 + square), 0.0), min((centre + spread) / (1 + square), 1.0)


def kept(family: str, dimension: str) -> frozenset[str]:
    """Return the counters that rows of a family and dimension store."""
    if family == Family.HOUR:
        return BY_HOUR | {"attempted"}
    if family == Family.AGE:
        return _BY_AGE
    if family == Family.LINK:
        return _BY_LINK
    if dimension == "reason":
        return frozenset({"recipients"})
    if dimension == "attempt":
        return BY_ATTEMPT
    return DIMENSIONED if dimension else frozenset(_SHOWN)


def totals_of(counts: Sequence[int]) -> Totals:
    """Return the counters of a row (in the order of `COUNTERS`) by name."""
    at_least: list[str] = []
    if counts[_AT["capped"]] > 0:
        for name, bounded in _BOUNDED.items():
            if counts[_AT[name]] > 0:
                at_least += bounded
    named = {name: counts[_AT[name]] for name in _SHOWN}
    return convert({**named, "atLeast": at_least}, Totals)


def counts_of(rows: Iterable[RollupRow], dimension: str = "") -> Sequence[int]:
    """Return the sum of the rows of a dimension, in the order of `COUNTERS`."""
    return added([row.counts for row in rows if row.key.dimension == dimension])


def rates_of(counts: Sequence[int], *, tracked: bool = True) -> dict[str, Rate]:
    """Return the rates of one sum of counters, without `complaintReporting`, which needs more rows."""
    return _rates(_Sum(counts, counts if tracked else _ZERO), frozenset(_SHOWN))


def _rates(total: _Sum, names: frozenset[str]) -> dict[str, Rate]:
    rates = {}
    for name, (numerator, denominator) in RATES.items():
        if numerator not in names or denominator not in names:
            continue
        counts: Sequence[int] | None = total.tracked if name in TRACKED_RATES else total.every
        if name == REPORTING_RATE:
            counts = total.reporting
        if counts is not None:
            rates[name] = divide(counts[_AT[numerator]], counts[_AT[denominator]])
    return rates


def _part(total: _Sum, names: frozenset[str]) -> DimensionStats:
    counts = {name: total.every[_AT[name]] for name in COUNTERS if name in names}
    return DimensionStats(counts, _rates(total, names))


def _grouped(
    sources: Iterable[StatsSource], dimension: str, by: Callable[[RollupKey], K]
) -> dict[K, _Sum]:
    """Add up the rows of a dimension, grouped by what `by` returns for their keys. Without a dimension, the
    rows by mailbox add the sums of reporting mailboxes.
    """
    groups: defaultdict[K, _Group] = defaultdict(_Group)
    for rows, tracked in sources:
        for key, counts in rows:
            if key.dimension == dimension:
                group = groups[by(key)]
                (group.tracked if tracked else group.blind).append(counts)
            elif not dimension and key.dimension == "mailbox":
                group = groups[by(key)]
                group.mailboxes = True
                if key.value in REPORTING:
                    group.reporting.append(counts)
    return {key: group.sum() for key, group in groups.items()}


def period(sources: Sequence[StatsSource]) -> Period:
    """Return the figures of the rows without a dimension; rows by mailbox add `complaintReporting`."""
    total = _grouped(sources, "", lambda _: None).get(None) or _Sum()
    return Period(totals_of(total.every), _rates(total, frozenset(_SHOWN)))


def monday(day: int) -> int:
    """Return the Monday of the week of a UTC day number; day 0 was a Thursday."""
    return day - (day + 3) % 7


def _bucket(by: Step, number: int) -> int:
    return monday(number) if by == "week" else number


def bucket_name(by: Step, number: int) -> str:
    """Return the name of a bucket in responses."""
    if by == "age":
        return str(number)
    if by == "hour":
        return iso(number * HOUR) or ""
    return day_name(_bucket(by, number))


def ages(last_sent_at: int | None, now: int) -> Axis:
    """Return the axis of hours since the send. Ages that the last message (sent at `last_sent_at`, ms) has not
    reached are incomplete; "72" (everything later) always is.
    """
    lived = 0 if last_sent_at is None else (now - last_sent_at) // HOUR
    return Axis("age", 0, _AGES, min(max(lived, 0), LAST_AGE))


def series(sources: Sequence[StatsSource], axis: Axis) -> Series:
    """Return the figures of each bucket of an axis, from rows of its family (weeks: of days)."""
    by = axis.by
    step = 7 if by == "week" else 1
    numbers = range(_bucket(by, axis.first), axis.end, step)
    family = {"hour": Family.HOUR, "age": Family.AGE}.get(by, Family.DAY)
    names = kept(family, "")
    sums = _grouped(sources, "", lambda key: _bucket(by, key.bucket))
    if by == "hour":
        for total in sums.values():
            total.every = _with_attempted(total.every)
    sums_in_order = [sums.get(number) or _Sum() for number in numbers]
    rates: dict[str, list[float | None]] = {}
    if by != "age":
        reports = any(total.reporting is not None for total in sums_in_order)
        for total in sums_in_order:
            if reports and total.reporting is None:
                total.reporting = _ZERO
            for name, rate in _rates(total, names).items():
                rates.setdefault(name, []).append(rate.value)
    partial = None if axis.partial is None else _bucket(by, axis.partial)
    begun = partial is not None and any(number >= partial for number in numbers)
    return Series(
        by,
        [bucket_name(by, number) for number in numbers],
        bucket_name(by, max(partial, numbers[0])) if begun and partial is not None else None,
        {
            name: [total.every[_AT[name]] for total in sums_in_order]
            for name in COUNTERS
            if name in names
        },
        rates,
    )


def _with_attempted(counts: Sequence[int]) -> Sequence[int]:
    """Calculate the counter that hour rows do not store: the sent less those that SES did not attempt."""
    untried = sum(counts[_AT[name]] for name in _UNATTEMPTED)
    at = _AT["attempted"]
    return [*counts[:at], counts[_AT["sent"]] - untried, *counts[at + 1 :]]


def breakdown(
    sources: Sequence[StatsSource],
    previous: Sequence[StatsSource] | None,
    dimension: str,
    top: int = TOP,
) -> list[Slice]:
    """Return the values of a dimension, largest first; those beyond `top` are added up as `~other`.

    The size of a value is the messages sent, that of a reason its recipients, that of a link its clicks.
    """
    family = Family.LINK if dimension == "link" else Family.DAY
    names = kept(family, dimension)
    sums = _grouped(sources, dimension, lambda key: key.value)
    weight = _AT[next(name for name in ("sent", "recipients", "clicks") if name in names)]
    ordered = sorted(sums, key=lambda value: (-sums[value].every[weight], value))
    shown = [value for value in ordered if value != OTHER][:top]
    before = None if previous is None else _grouped(previous, dimension, lambda key: key.value)
    slices = [_slice(dimension, value, sums, before, (value,), names) for value in shown]
    rest = sums.keys() - set(shown)
    if rest:
        gone = (before.keys() - set(shown)) if before is not None else set()
        slices.append(_slice(dimension, OTHER, sums, before, sorted(rest | gone), names))
    return slices


def _slice(
    dimension: str,
    value: str,
    now: dict[str, _Sum],
    before: dict[str, _Sum] | None,
    values: Iterable[str],
    names: frozenset[str],
) -> Slice:
    values = tuple(values)
    current = _part(_joined(now, values), names)
    earlier = None if before is None else _part(_joined(before, values), names)
    label = "Other" if value == OTHER else LABELS.get(dimension, {}).get(value, value)
    return Slice(value, label, current.totals, current.rates, earlier)


def _joined(sums: dict[str, _Sum], values: Iterable[str]) -> _Sum:
    totals = [sums[value] for value in values if value in sums]
    return _Sum(
        added([total.every for total in totals]), added([total.tracked for total in totals])
    )


def stats(
    sources: Sequence[StatsSource],
    previous: Sequence[StatsSource] | None,
    over_time: Series | None,
    dimensions: Iterable[str],
) -> Stats:
    """Return the figures of day or month rows, with a series and a breakdown by each dimension."""
    now = period(sources)
    return Stats(
        now.totals,
        now.rates,
        None if previous is None else period(previous),
        over_time,
        {dimension: breakdown(sources, previous, dimension) for dimension in dimensions},
    )

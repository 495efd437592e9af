"""The overview: whether sending is healthy, and the figures of all streams and of each."""

from __future__ import annotations

from msgspec import Struct, field

from sesight.domain.errors import InvalidParameter
from sesight.domain.reputation import Reputation, assess_reputation
from sesight.domain.rollup import HOURS_KEPT
from sesight.domain.stats import (
    Axis,
    Period,
    Rate,
    Series,
    Slice,
    StatsSource,
    Totals,
    series,
    stats,
)
from sesight.domain.timestamps import DAY, HOUR, iso
from sesight.services import Services
from sesight.services.answers import Meta, meta_of
from sesight.services.figures import Days, day_source, days_of, hour_source
from sesight.services.query import TimeRange, read_range, read_streams

HOURLY_ROWS_DAYS = HOURS_KEPT // 24
"""Days for which rows by hour are kept."""

DEFAULT_DAYS = 30
"""Days of a range without a beginning."""

HOURLY_DAYS = 5
DAILY_DAYS = 120
"""The longest spans (days) that `auto` shows by hour and by day: at most 120 buckets each."""

MAX_BUCKETS = 3_000
"""The most buckets of a series."""

DIMENSIONS = ("mailbox", "senderDomain", "template")


class ScopeFigures(Struct, frozen=True):
    """The figures of all streams together (`all`) or of one. `previous` is null if the store does not go back
    that far.
    """

    scope: str
    totals: Totals
    rates: dict[str, Rate]
    previous: Period | None
    series: Series | None
    breakdowns: dict[str, list[Slice]]


class Overview(Struct, frozen=True, kw_only=True):
    """The verdict, always over the last 7 days and 24 hours; and the figures by scope, over the whole UTC days
    that the range touches, from `from` to before `to`.
    """

    verdict: Reputation
    since: str = field(name="from")
    until: str = field(name="to")
    scopes: list[ScopeFigures]
    meta: Meta


def overview(
    services: Services,
    *,
    stream: str | None = None,
    since: str | None = None,
    until: str | None = None,
    step: str = "auto",
    compare: str = "prev",
) -> Overview:
    """Return the figures of all streams and of each, and the verdict on the account.

    `step` is auto, hour, day or week. With `compare` prev each scope also has the figures of the period of
    the same length just before. Raises InvalidParameter.
    """
    streams = read_streams(services, stream)
    days = whole_days(services, read_range(since, until))
    axis = _axis(services, days, step)
    previous = days.before if compare == "prev" and _goes_back(services, days) else None
    now = {name: day_source(services, name, days) for name in streams}
    over_time = {name: _over_time(services, name, axis, now[name]) for name in streams}
    before = {name: day_source(services, name, previous) for name in streams} if previous else None
    scopes = [("all", list(streams)), *[(name, [name]) for name in streams]]
    return Overview(
        verdict=account_reputation(services),
        since=iso(days.first * DAY) or "",
        until=iso(days.end * DAY) or "",
        scopes=[_scope(scope, members, axis, now, before, over_time) for scope, members in scopes],
        meta=meta_of(services, streams),
    )


def _scope(
    scope: str,
    members: list[str],
    axis: Axis,
    now: dict[str, StatsSource],
    before: dict[str, StatsSource] | None,
    over_time: dict[str, StatsSource],
) -> ScopeFigures:
    figures = stats(
        [now[name] for name in members],
        None if before is None else [before[name] for name in members],
        series([over_time[name] for name in members], axis),
        DIMENSIONS,
    )
    return ScopeFigures(
        scope, figures.totals, figures.rates, figures.previous, figures.series, figures.breakdowns
    )


def whole_days(services: Services, range_: TimeRange) -> Days:
    """Return the days of a range: without a beginning its last 30, without an end up to today."""
    today = services.clock() // DAY
    until = range_.until if range_.until is not None else (today + 1) * DAY
    since = range_.since if range_.since is not None else max(until - DEFAULT_DAYS * DAY, 0)
    if since >= until:
        raise InvalidParameter("from", "from: the range lies in the future.")
    return days_of(since, until)


def _axis(services: Services, days: Days, step: str) -> Axis:
    now = services.clock()
    length = days.end - days.first
    has_hours = days.first > now // DAY - HOURLY_ROWS_DAYS
    if step == "auto":
        by_hour = length <= HOURLY_DAYS and has_hours
        step = "hour" if by_hour else "day" if length <= DAILY_DAYS else "week"
    if step == "hour":
        if not has_hours:
            raise InvalidParameter("step", f"step: hours are kept for {HOURLY_ROWS_DAYS} days.")
        return Axis("hour", days.first * 24, days.end * 24, now // HOUR)
    if length > MAX_BUCKETS * (7 if step == "week" else 1):
        raise InvalidParameter("step", f"step: more than {MAX_BUCKETS:,} buckets; ask for less.")
    return Axis("week" if step == "week" else "day", days.first, days.end, now // DAY)


def _over_time(services: Services, stream: str, axis: Axis, by_day: StatsSource) -> StatsSource:
    if axis.by == "hour":
        return hour_source(services, stream, Days(axis.first, axis.end))
    return by_day


def _goes_back(services: Services, days: Days) -> bool:
    first = services.store.first_day()
    return first is not None and first <= days.before.first


def account_reputation(services: Services) -> Reputation:
    """Return the verdict over all streams together, because SES's limits are per account."""
    now = services.clock()
    week = Days(now // DAY - 6, now // DAY + 1)
    day = Days(now // HOUR - 23, now // HOUR + 1)
    streams = services.counting.streams
    return assess_reputation(
        {name: day_source(services, name, week) for name in streams},
        {name: hour_source(services, name, day) for name in streams},
        {name: stream.label for name, stream in streams.items()},
    )

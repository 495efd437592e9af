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
"""Days of a range whose beginning is not given."""

HOURLY_DAYS = 5
DAILY_DAYS = 120
"""Longest spans that `auto` shows by hour and by day: at most 120 buckets."""

MAX_BUCKETS = 3_000
"""Buckets of a series, at most."""

DIMENSIONS = ("mailbox", "senderDomain", "template")


class ScopeFigures(Struct, frozen=True):
    """The figures of all streams together (`all`) or of one. `previous` is null when the store does
    not go back that far.
    """

    scope: str
    totals: Totals
    rates: dict[str, Rate]
    previous: Period | None
    series: Series | None
    breakdowns: dict[str, list[Slice]]


class Overview(Struct, frozen=True, kw_only=True):
    """The verdict (over the last 7 days and 24 h, whatever the range), and figures by scope over the
    whole UTC days that the range touches: `from` to before `to`.
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

    `step` is auto, hour, day or week; with `compare` prev the figures of the period of equal length just
    before are beside them. Raises InvalidParameter.
    """
    streams = read_streams(services, stream)
    days = whole_days(services, read_range(since, until))
    axis = _axis(services, days, step)
    previous = days.before if compare == "prev" and _goes_back(services, days) else None
    now = {each: day_source(services, each, days) for each in streams}
    over_time = {each: _over_time(services, each, axis, now[each]) for each in streams}
    before = {each: day_source(services, each, previous) for each in streams} if previous else None
    scopes = [("all", list(streams)), *[(each, [each]) for each in streams]]
    return Overview(
        verdict=judged(services),
        since=iso(days.first * DAY) or "",
        until=iso(days.end * DAY) or "",
        scopes=[_scope(name, members, axis, now, before, over_time) for name, members in scopes],
        meta=meta_of(services, streams),
    )


def _scope(
    name: str,
    members: list[str],
    axis: Axis,
    now: dict[str, StatsSource],
    before: dict[str, StatsSource] | None,
    over_time: dict[str, StatsSource],
) -> ScopeFigures:
    found = stats(
        [now[each] for each in members],
        None if before is None else [before[each] for each in members],
        series([over_time[each] for each in members], axis),
        DIMENSIONS,
    )
    return ScopeFigures(
        name, found.totals, found.rates, found.previous, found.series, found.breakdowns
    )


def whole_days(services: Services, range_: TimeRange) -> Days:
    """Return the days of a range; without a beginning its last 30, without an end up to today's."""
    today = services.clock() // DAY
    until = range_.until if range_.until is not None else (today + 1) * DAY
    since = range_.since if range_.since is not None else max(until - DEFAULT_DAYS * DAY, 0)
    if since >= until:
        raise InvalidParameter("from", "from: the range lies in the future.")
    return days_of(since, until)


def _axis(services: Services, days: Days, step: str) -> Axis:
    now = services.clock()
    length = days.end - days.first
    hours_held = days.first > now // DAY - HOURLY_ROWS_DAYS
    if step == "auto":
        by_hour = length <= HOURLY_DAYS and hours_held
        step = "hour" if by_hour else "day" if length <= DAILY_DAYS else "week"
    if step == "hour":
        if not hours_held:
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


def judged(services: Services) -> Reputation:
    """Return the verdict over all streams, since SES's limits are the account's."""
    now = services.clock()
    week = Days(now // DAY - 6, now // DAY + 1)
    day = Days(now // HOUR - 23, now // HOUR + 1)
    streams = services.counting.streams
    return assess_reputation(
        {each: day_source(services, each, week) for each in streams},
        {each: hour_source(services, each, day) for each in streams},
        {each: of.label for each, of in streams.items()},
    )

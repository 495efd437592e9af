"""Statement months: whether every statement arrived, at the first attempt or by a resend."""

from __future__ import annotations

from msgspec import Struct

from sesight.domain.ports import RecordFilter
from sesight.domain.rollup import Family, RollupRow
from sesight.domain.stats import Period, Rate, Slice, StatsSource, Totals, breakdown, period
from sesight.domain.timestamps import DAY, day_name, day_number, iso, month_name, month_number
from sesight.services import Services
from sesight.services.answers import Meta, Total, meta_of
from sesight.services.figures import Detail, DetailState, first_live_day
from sesight.services.query import read_range

COUNT_LIMIT = 2_000
"""The most records that are counted to find how much of a month is kept; beyond it is unknown."""

_PAGE = 500


class MonthRow(Struct, frozen=True, rename="camel", kw_only=True):
    """One statement month. `breakdowns.attempt` has `first` and `resend`; `outstanding` is the number sent at
    the first attempt less the number delivered at either; `previous` is the month before.
    """

    month: str
    stream: str
    totals: Totals
    rates: dict[str, Rate]
    previous: Period | None
    series: None
    breakdowns: dict[str, list[Slice]]
    outstanding: int
    detail: Detail


class MonthList(Struct, frozen=True, rename="camel", kw_only=True):
    """All statement months of the range, the newest first; there are no further pages."""

    data: list[MonthRow]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


CSV_COLUMNS = (
    "month",
    "stream",
    *[f"totals.{name}" for name in ("recipients", "sent", "delivered", "bounced", "softBounced")],
    *[f"totals.{name}" for name in ("suppressed", "rejected", "failed", "pending")],
    "rates.delivery",
    "outstanding",
    "detail.state",
)


def list_months(
    services: Services, stream: str, since: str | None = None, until: str | None = None
) -> MonthList:
    """Return a row for each statement month that the range touches, the newest first. Raises
    InvalidParameter.
    """
    range_ = read_range(since, until)
    first = None if range_.since is None else _month_at(range_.since)
    last = None if range_.until is None else _month_at(range_.until - 1)
    by_month: dict[int, list[RollupRow]] = {}
    for row in services.store.rollups(Family.MONTH, stream):
        by_month.setdefault(row.key.bucket, []).append(row)
    months = [
        _row(services, stream, month, by_month)
        for month in sorted(by_month, reverse=True)
        if (first is None or month >= first) and (last is None or month <= last)
    ]
    return MonthList(
        data=months,
        total=Total(len(months), exact=True),
        next_cursor=None,
        newer_cursor=None,
        searched_to=None,
        meta=meta_of(services, [stream]),
    )


def _month_at(at: int) -> int:
    return month_number(day_name(at // DAY)[:7]) or 0


def _row(
    services: Services, stream: str, month: int, by_month: dict[int, list[RollupRow]]
) -> MonthRow:
    source = StatsSource(by_month[month], services.tracked(stream))
    before = by_month.get(month - 1)
    previous = None if before is None else [StatsSource(before, services.tracked(stream))]
    figures = period([source])
    attempts = breakdown([source], previous, "attempt")
    return MonthRow(
        month=month_name(month),
        stream=stream,
        totals=figures.totals,
        rates=figures.rates,
        previous=None if previous is None else period(previous),
        series=None,
        breakdowns={"attempt": attempts},
        outstanding=_outstanding(attempts),
        detail=_detail(services, stream, month, figures.totals.recipients),
    )


def _outstanding(attempts: list[Slice]) -> int:
    sent = sum(attempt.totals["sent"] for attempt in attempts if attempt.key == "first")
    return max(sent - sum(attempt.totals["delivered"] for attempt in attempts), 0)


def _detail(services: Services, stream: str, month: int, recipients: int) -> Detail:
    """Return how many records of a month are kept. All are, if it began within retention; else the records are
    counted, because a statement may be sent in another month than its own.
    """
    filter_ = RecordFilter(streams=(stream,), month=month)
    newest = services.store.messages(filter_, 1, None, services.clock()).records
    if not newest:
        return Detail(state="expired", covered=0, of=recipients, since=None, until=None)
    live = first_live_day(services)
    began = day_number(f"{month_name(month)}-01")
    covered = recipients if began >= live else _count(services, filter_)
    state: DetailState = "partly-expired" if covered is None or covered < recipients else "live"
    return Detail(
        state=state,
        covered=covered if covered is None else min(covered, recipients),
        of=recipients,
        since=iso(max(began, live) * DAY),
        until=iso(services.store.expires_at(newest[0].sent_at // DAY)),
    )


def _count(services: Services, filter_: RecordFilter) -> int | None:
    """Return how many recipients' records of a month are kept, None beyond `COUNT_LIMIT`."""
    count, cursor = 0, None
    while count <= COUNT_LIMIT:
        page = services.store.messages(filter_, _PAGE, cursor, services.clock())
        count += sum(not record.is_unattributed for record in page.records)
        cursor = page.cursor
        if cursor is None:
            return count
    return None

"""Statement months: whether every statement arrived, at the first attempt or by a resend."""

from __future__ import annotations

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from sesight.api.csv_file import CsvFile, csv_answer, file_name
from sesight.api.dependencies import Given, Services, StreamRoutes
from sesight.api.figures import Detail, DetailState, first_live_day
from sesight.api.parameters import Format, From, To, read_range
from sesight.api.responses import Meta, Total, meta_of
from sesight.api.route import AnyRequest, read
from sesight.domain.ports import RecordFilter
from sesight.domain.rollup import Family, RollupRow
from sesight.domain.stats import Period, Rate, Slice, StatsSource, Totals, breakdown, period
from sesight.domain.timestamps import DAY, day_name, day_number, iso, month_name, month_number

COUNT_LIMIT = 2_000
"""Records counted to tell how much of a month is left; beyond, it is said that it is not known."""

_PAGE = 500


class MonthRow(Struct, frozen=True, rename="camel", kw_only=True):
    """One statement month. `breakdowns.attempt` has `first` and `resend`; `outstanding` is what was
    sent at first less what was delivered at either attempt; `previous` is the month before.
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
    """Statement months, the newest first; never paged."""

    data: list[MonthRow]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


_COLUMNS = (
    "month",
    "stream",
    *[f"totals.{name}" for name in ("recipients", "sent", "delivered", "bounced", "softBounced")],
    *[f"totals.{name}" for name in ("suppressed", "rejected", "failed", "pending")],
    "rates.delivery",
    "outstanding",
    "detail.state",
)


def month_routes(routes: StreamRoutes) -> HTTPRouteHandler:
    """Return the route of a stream's statement months."""
    stream = routes.stream

    @read(f"/{routes.prefix}/months", operation_id=f"months_{stream}", summary=f"Months: {stream}")
    def months(
        services: Given,
        request: AnyRequest,
        since: From = None,
        until: To = None,
        form: Format = "json",
    ) -> Response[MonthList]:
        """One row per statement month that the range touches, the newest first."""
        within = read_range(since, until)
        first = None if within.since is None else _month_at(within.since)
        last = None if within.until is None else _month_at(within.until - 1)
        by_month: dict[int, list[RollupRow]] = {}
        for row in services.store.rollups(Family.MONTH, stream):
            by_month.setdefault(row.key.bucket, []).append(row)
        rows = [
            _row(services, stream, month, by_month)
            for month in sorted(by_month, reverse=True)
            if (first is None or month >= first) and (last is None or month <= last)
        ]
        if form == "csv":
            file = CsvFile.of(
                file_name("months", (stream,), ()), _COLUMNS, lambda _limit, _cursor: (rows, None)
            )
            return csv_answer(services, request, file, None, None)
        return Response(
            MonthList(
                data=rows,
                total=Total(len(rows), exact=True),
                next_cursor=None,
                newer_cursor=None,
                searched_to=None,
                meta=meta_of(services, [stream]),
            )
        )

    return months


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
    first = sum(each.totals["sent"] for each in attempts if each.key == "first")
    return max(first - sum(each.totals["delivered"] for each in attempts), 0)


def _detail(services: Services, stream: str, month: int, recipients: int) -> Detail:
    """Return how much of a month is held: all of one that began since; else its records are counted,
    since a statement may be sent in another month than its own.
    """
    wanted = RecordFilter(streams=(stream,), month=month)
    newest = services.store.messages(wanted, 1, None, services.clock()).records
    if not newest:
        return Detail(state="expired", covered=0, of=recipients, since=None, until=None)
    live = first_live_day(services)
    began = day_number(f"{month_name(month)}-01")
    covered = recipients if began >= live else _count(services, wanted)
    state: DetailState = "partly-expired" if covered is None or covered < recipients else "live"
    return Detail(
        state=state,
        covered=covered if covered is None else min(covered, recipients),
        of=recipients,
        since=iso(max(began, live) * DAY),
        until=iso(services.retention.expires_at(newest[0].sent_at // DAY)),
    )


def _count(services: Services, wanted: RecordFilter) -> int | None:
    """Return how many recipients' records of a month are held, None if more than are counted."""
    found, cursor = 0, None
    while found <= COUNT_LIMIT:
        page = services.store.messages(wanted, _PAGE, cursor, services.clock())
        found += sum(not record.is_unattributed for record in page.records)
        cursor = page.cursor
        if cursor is None:
            return found
    return None

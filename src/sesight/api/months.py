"""The routes of statement months."""

from __future__ import annotations

from litestar import Response
from litestar.handlers import HTTPRouteHandler

from sesight.api.csv_file import CsvFile, csv_answer, file_name
from sesight.api.parameters import (
    FormatParameter,
    FromParameter,
    InjectedServices,
    ToParameter,
)
from sesight.api.route import AnyRequest, read
from sesight.services import StreamRoutes
from sesight.services.months import CSV_COLUMNS, MonthList, list_months


def month_routes(routes: StreamRoutes) -> HTTPRouteHandler:
    """Return the route of a stream's statement months."""
    stream = routes.stream

    @read(f"/{routes.prefix}/months", operation_id=f"months_{stream}", summary=f"Months: {stream}")
    def months(
        services: InjectedServices,
        request: AnyRequest,
        since: FromParameter = None,
        until: ToParameter = None,
        form: FormatParameter = "json",
    ) -> Response[MonthList]:
        """One row per statement month that the range touches, the newest first."""
        answer = list_months(services, stream, since, until)
        if form == "csv":
            file = CsvFile.of(
                file_name("months", (stream,), ()),
                CSV_COLUMNS,
                lambda _limit, _cursor: (answer.data, None),
            )
            return csv_answer(services, request, file, None, None)
        return Response(answer)

    return months

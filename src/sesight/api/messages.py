"""The routes of the message log, of each stream's tracking data, and of one message."""

from __future__ import annotations

from typing import Any

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from sesight.api.csv_file import PARTIAL_HEADER, CsvFile, csv_answer, file_name, partial_header
from sesight.api.parameters import (
    CampaignParameter,
    CursorParameter,
    EmailParameter,
    EventParameter,
    FormatParameter,
    FromParameter,
    InjectedServices,
    LimitParameter,
    MonthParameter,
    OutcomesParameter,
    ProviderParameter,
    RecipientParameter,
    StreamsParameter,
    ToParameter,
)
from sesight.api.route import AnyRequest, read
from sesight.services import Services, StreamRoutes
from sesight.services import messages as service
from sesight.services.messages import (
    CSV_COLUMNS,
    MessageAnswer,
    MessageList,
    MessageQuery,
    list_messages,
    message_file,
    message_query,
)
from sesight.services.query import read_streams, stream_label


@read("/messages")
def messages(
    services: InjectedServices,
    request: AnyRequest,
    stream: StreamsParameter = None,
    provider: ProviderParameter = None,
    campaign: CampaignParameter = None,
    recipient: RecipientParameter = None,
    month: MonthParameter = None,
    event: EventParameter = None,
    outcome: OutcomesParameter = None,
    since: FromParameter = None,
    until: ToParameter = None,
    limit: LimitParameter = None,
    cursor: CursorParameter = None,
    form: FormatParameter = "json",
) -> Response[MessageList]:
    """The message log: one record per message and recipient, with its timeline, newest send first."""
    query = message_query(
        services,
        read_streams(services, stream),
        provider=provider,
        campaign=campaign,
        recipient=recipient,
        month=month,
        event=event,
        outcome=outcome,
        since=since,
        until=until,
    )
    if form == "csv":
        return _csv(services, request, query, limit, cursor)
    return Response(list_messages(services, query, limit, cursor))


def tracking_routes(routes: StreamRoutes) -> list[HTTPRouteHandler]:
    """Return the tracking-data routes of a stream: of SES, and of its legacy provider if it has one."""
    handlers = [_tracking(routes.stream, routes.tracking, "ses")]
    if routes.legacy:
        handlers.append(_tracking(routes.stream, f"/{routes.prefix}/tracking-data", "legacy"))
    return handlers


def _tracking(stream: str, path: str, provider: str) -> HTTPRouteHandler:
    @read(path, operation_id=f"tracking_{stream}_{provider}", summary=f"Tracking data: {stream}")
    def tracking_data(
        services: InjectedServices,
        request: AnyRequest,
        campaign: CampaignParameter = None,
        recipient: RecipientParameter = None,
        email: EmailParameter = None,
        month: MonthParameter = None,
        event: EventParameter = None,
        outcome: OutcomesParameter = None,
        since: FromParameter = None,
        until: ToParameter = None,
        limit: LimitParameter = None,
        cursor: CursorParameter = None,
        form: FormatParameter = "json",
    ) -> Response[MessageList]:
        """The message log of one stream and provider; `email` finds an address."""
        query = message_query(
            services,
            (stream,),
            provider=provider,
            campaign=campaign,
            recipient=recipient,
            email=email,
            month=month,
            event=event,
            outcome=outcome,
            since=since,
            until=until,
        )
        if form == "csv":
            return _csv(services, request, query, limit, cursor)
        return Response(list_messages(services, query, limit, cursor, provider=provider))

    return tracking_data


@read("/messages/{message_id:str}")
def message(services: InjectedServices, message_id: FromPath[str]) -> MessageAnswer:
    """One message, with all its recipients."""
    return service.message(services, message_id)


def _csv(
    services: Services,
    request: AnyRequest,
    query: MessageQuery,
    limit: int | None,
    cursor: str | None,
) -> Response[Any]:
    file = message_file(services, query, limit, cursor)
    name = file_name("messages", stream_label(services, query.filter.streams), file.days)
    answer = csv_answer(services, request, CsvFile.of(name, CSV_COLUMNS, file.read), limit, cursor)
    for missing in file.missing():
        answer.set_header(PARTIAL_HEADER, partial_header(missing))
    return answer

"""The routes of campaigns."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Response
from litestar.params import FromPath, QueryParameter

from sesight.api.csv_file import CsvFile, csv_answer, file_name
from sesight.api.parameters import (
    CursorParameter,
    FormatParameter,
    FromParameter,
    InjectedServices,
    LimitParameter,
    ProviderParameter,
    StreamsParameter,
    ToParameter,
)
from sesight.api.route import AnyRequest, read
from sesight.services import campaigns as service
from sesight.services.campaigns import (
    CAMPAIGN_STATES,
    CSV_COLUMNS,
    DEFAULT_SORT,
    CampaignAnswer,
    CampaignList,
    campaign_query,
    campaign_reader,
    list_campaigns,
)
from sesight.services.query import stream_label


@read("/campaigns")
def campaigns(
    services: InjectedServices,
    request: AnyRequest,
    stream: StreamsParameter = None,
    q: Annotated[
        str | None, QueryParameter(description="Text in the name, subject or id, in any case.")
    ] = None,
    states: Annotated[
        str | None,
        QueryParameter(
            name="state", description=f"States, separated by commas: {', '.join(CAMPAIGN_STATES)}."
        ),
    ] = None,
    provider: ProviderParameter = None,
    since: FromParameter = None,
    until: ToParameter = None,
    sort: Annotated[
        str,
        QueryParameter(
            description="A column of the cards, a total or a rate; `-` before it: descending."
        ),
    ] = DEFAULT_SORT,
    limit: LimitParameter = None,
    cursor: CursorParameter = None,
    form: FormatParameter = "json",
) -> Response[CampaignList]:
    """Campaigns that sent in the range, with their totals. Nulls sort last."""
    query = campaign_query(
        services,
        stream=stream,
        search=q,
        states=states,
        provider=provider,
        since=since,
        until=until,
        sort=sort,
    )
    if form == "csv":
        name = file_name("campaigns", stream_label(services, query.streams), ())
        file = CsvFile.of(name, CSV_COLUMNS, campaign_reader(services, query, limit, cursor))
        return csv_answer(services, request, file, limit, cursor)
    return Response(list_campaigns(services, query, limit, cursor))


@read("/campaigns/{stream:str}/{campaign:path}")
def campaign_figures(
    services: InjectedServices,
    stream: FromPath[str],
    campaign: FromPath[str],
    step: Annotated[
        Literal["age", "day"],
        QueryParameter(
            description="`age`: hours since each message's own send; `day`: UTC send days."
        ),
    ] = "age",
) -> CampaignAnswer:
    """One campaign's card and figures. They outlive its records."""
    return service.campaign_figures(services, stream, campaign.removeprefix("/"), step)

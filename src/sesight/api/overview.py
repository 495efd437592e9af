"""The route of the overview."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar.params import QueryParameter

from sesight.api.parameters import (
    FromParameter,
    InjectedServices,
    StreamsParameter,
    ToParameter,
)
from sesight.api.route import read
from sesight.services import overview as service
from sesight.services.overview import Overview

StepParameter = Annotated[
    Literal["auto", "hour", "day", "week"],
    QueryParameter(
        description="What a bucket is; `auto`: hours up to 5 days, days up to 120, else weeks."
    ),
]
CompareParameter = Annotated[
    Literal["prev", "none"],
    QueryParameter(
        description="`prev`: with the figures of the period of equal length just before."
    ),
]


@read("/overview")
def overview(
    services: InjectedServices,
    stream: StreamsParameter = None,
    since: FromParameter = None,
    until: ToParameter = None,
    step: StepParameter = "auto",
    compare: CompareParameter = "prev",
) -> Overview:
    """Whether sending is healthy, and the figures of all streams and of each."""
    return service.overview(
        services, stream=stream, since=since, until=until, step=step, compare=compare
    )

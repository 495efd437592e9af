"""The query parameters of the routes, and the guard that refuses unknown ones."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal

from litestar.connection import ASGIConnection
from litestar.di import NamedDependency
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter, SkipValidation

from sesight.domain.errors import InvalidParameter
from sesight.services import Services
from sesight.services.query import OUTCOME_WORDS

InjectedServices = NamedDependency[SkipValidation[Services]]
"""The services, as Litestar injects them into a route's function."""

StreamsParameter = Annotated[
    str | None,
    QueryParameter(
        name="stream", description="Stream ids, separated by commas; all of them if absent."
    ),
]
FromParameter = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="Earliest send time: a date (that whole UTC day) or an instant (included).",
    ),
]
ToParameter = Annotated[
    str | None,
    QueryParameter(
        name="to",
        description="Latest send time: a date (that whole UTC day) or an instant (excluded).",
    ),
]
LimitParameter = Annotated[
    int | None, QueryParameter(ge=1, le=500, description="Rows on a page, 1 to 500; 100 if absent.")
]
CursorParameter = Annotated[
    str | None,
    QueryParameter(
        description="`nextCursor` or `newerCursor` of an earlier answer to the same query."
    ),
]
FormatParameter = Annotated[
    Literal["json", "csv"],
    QueryParameter(
        name="format",
        description="`csv`: the same rows as a file; without a `limit`, all of them from the cursor on.",
    ),
]
CampaignParameter = Annotated[
    str | None,
    QueryParameter(description="Campaign id, or `~untagged` for messages without a campaign."),
]
ProviderParameter = Annotated[
    str | None, QueryParameter(description="The sending provider: `ses` or `legacy`.")
]
RecipientParameter = Annotated[
    str | None, QueryParameter(description="Recipient id (`r_…`), never an address.")
]
MonthParameter = Annotated[str | None, QueryParameter(description="Statement month, YYYY-MM.")]
EventParameter = Annotated[
    str | None,
    QueryParameter(
        name="event", description="Only records with this event: Send, Delivery, Bounce, …"
    ),
]
OutcomesParameter = Annotated[
    str | None,
    QueryParameter(
        name="outcome",
        description=f"Outcomes, separated by commas, any of: {', '.join(OUTCOME_WORDS)}.",
    ),
]
EmailParameter = Annotated[str | None, QueryParameter(description="Address of the recipient.")]


@lru_cache(128)
def known_parameters(handler: BaseRouteHandler) -> tuple[str, ...]:
    """Return the names of the query parameters that a handler takes."""
    return tuple(
        sorted(
            field.kwarg_definition.name or name
            for name, field in handler.parsed_fn_signature.parameters.items()
            if isinstance(field.kwarg_definition, QueryParameter)
        )
    )


def only_known(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse parameters that the route does not take, and repeated ones (a Litestar guard)."""
    allowed = known_parameters(handler)
    query = connection.query_params
    for name in query:
        if name not in allowed:
            raise InvalidParameter(
                name, f"There is no parameter {name!r} here.", allowed=list(allowed)
            )
        if len(query.getall(name)) > 1:
            raise InvalidParameter(name, f"The parameter {name!r} is given more than once.")

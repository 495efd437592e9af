"""What a request may ask: the parameters by name, and their strict reading."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated, Any, Literal, NamedTuple

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

from sesight.api.dependencies import Services
from sesight.api.problem import InvalidParameter
from sesight.api.recipient_id import decode
from sesight.domain.errors import InvalidRequest
from sesight.domain.event import EventType
from sesight.domain.outcome import Outcome
from sesight.domain.timestamps import DAY, day_number, month_number, parse_timestamp

GROUPS = ("not_delivered", "pending")
"""Words for several outcomes."""

OUTCOME_WORDS = (
    *[outcome.word for outcome in Outcome],
    *GROUPS,
    "complained",
    "unsubscribed",
)
"""What `outcome` may be: outcomes, groups of them, and facts beside them."""

StreamIds = Annotated[
    str | None,
    QueryParameter(
        name="stream", description="Stream ids, separated by commas; all of them if absent."
    ),
]
From = Annotated[
    str | None,
    QueryParameter(
        name="from",
        description="Send time from which on: a date (that whole UTC day) or an instant (included).",
    ),
]
To = Annotated[
    str | None,
    QueryParameter(
        name="to",
        description="Send time up to which: a date (that whole UTC day) or an instant (excluded).",
    ),
]
Limit = Annotated[
    int | None, QueryParameter(ge=1, le=500, description="Rows on a page, 1 to 500; 100 if absent.")
]
Cursor = Annotated[
    str | None,
    QueryParameter(description="`nextCursor` or `newerCursor` of an answer to the same question."),
]
Format = Annotated[
    Literal["json", "csv"],
    QueryParameter(
        name="format",
        description="`csv`: the same rows as a file; without a `limit`, all of them from the cursor on.",
    ),
]
Campaign = Annotated[str | None, QueryParameter(description="Campaign id, `~untagged` for none.")]
Provider = Annotated[str | None, QueryParameter(description="Who sent: `ses` or `legacy`.")]
Recipient = Annotated[
    str | None, QueryParameter(description="Recipient id (`r_…`), never an address.")
]
Month = Annotated[str | None, QueryParameter(description="Statement month, YYYY-MM.")]
EventName = Annotated[
    str | None,
    QueryParameter(name="event", description="An event the record has: Send, Delivery …"),
]
Outcomes = Annotated[
    str | None,
    QueryParameter(
        name="outcome",
        description=f"Outcomes, separated by commas, any of: {', '.join(OUTCOME_WORDS)}.",
    ),
]
Email = Annotated[str | None, QueryParameter(description="Address of the recipient.")]


DEFAULT_LIMIT = 100
"""Rows on a page when no limit is given."""


class Range(NamedTuple):
    """Send times asked for, epoch ms, half-open; None: open."""

    since: int | None
    until: int | None

    @property
    def whole_days(self) -> bool:
        """Return whether both ends are at midnight UTC."""
        return all(end is None or end % DAY == 0 for end in self)


@lru_cache(128)
def known_parameters(handler: BaseRouteHandler) -> tuple[str, ...]:
    """Return the names of the query parameters a handler takes."""
    return tuple(
        sorted(
            field.kwarg_definition.name or name
            for name, field in handler.parsed_fn_signature.parameters.items()
            if isinstance(field.kwarg_definition, QueryParameter)
        )
    )


def only_known(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Refuse parameters that the route does not take, or that are given twice (a guard)."""
    allowed = known_parameters(handler)
    given = connection.query_params
    for name in given:
        if name not in allowed:
            raise InvalidParameter(
                name, f"There is no parameter {name!r} here.", allowed=list(allowed)
            )
        if len(given.getall(name)) > 1:
            raise InvalidParameter(name, f"The parameter {name!r} is given more than once.")


def read_streams(services: Services, text: str | None) -> tuple[str, ...]:
    """Return the streams asked for, in the order of the settings. Raises InvalidParameter."""
    known = tuple(services.counting.streams)
    if text is None:
        return known
    return tuple(_listed("stream", text, known))


def read_outcomes(text: str | None) -> tuple[str, ...]:
    """Return the outcome words asked for. Raises InvalidParameter."""
    return () if text is None else tuple(_listed("outcome", text, OUTCOME_WORDS))


def _listed(parameter: str, text: str, known: tuple[str, ...]) -> list[str]:
    wanted = [word.strip() for word in text.split(",")]
    for word in wanted:
        if word not in known:
            raise InvalidParameter(
                parameter, f"{parameter}: there is no {word!r}.", allowed=list(known)
            )
    return [word for word in known if word in wanted]


def one_of(parameter: str, text: str | None, known: tuple[str, ...]) -> str | None:
    """Return the word if it is one of the known. Raises InvalidParameter."""
    if text is not None and text not in known:
        raise InvalidParameter(
            parameter, f"{parameter}: there is no {text!r}.", allowed=list(known)
        )
    return text


def read_recipient(services: Services, parameter: str, rid: str) -> str:
    """Return the address of a recipient id. Raises InvalidParameter."""
    try:
        return decode(rid, services.recipient_key)
    except InvalidRequest as error:
        raise InvalidParameter(parameter, f"{parameter}: {error}") from error


def read_event(text: str | None) -> str | None:
    """Return the event type asked for. Raises InvalidParameter."""
    return one_of("event", text, tuple(kind.value for kind in EventType))


def read_month(text: str | None) -> int | None:
    """Return the month asked for, as a number. Raises InvalidParameter."""
    if text is None:
        return None
    month = month_number(text)
    if month is None:
        raise InvalidParameter("month", f"month: {text!r} is no month; write YYYY-MM.")
    return month


def read_range(since: str | None, until: str | None) -> Range:
    """Return the send times asked for. Raises InvalidParameter."""
    found = Range(_moment("from", since, 0), _moment("to", until, DAY))
    if found.since is not None and found.until is not None and found.since >= found.until:
        raise InvalidParameter("to", "The end (`to`) is not after the beginning (`from`).")
    return found


_MOMENT = "write a date (2026-11-24) or an instant with its zone (2026-11-24T09:00:00Z)"
LAST_DAY = 2_932_000
"""The last UTC day (number) that can be asked for, in the year 9997: there is still room to add."""


def _moment(parameter: str, text: str | None, whole_day: int) -> int | None:
    if text is None:
        return None
    at: int | None = None
    if len(text) == len("2026-11-24"):
        try:
            day = day_number(text)
        except ValueError:
            day = -1
        if 0 <= day <= LAST_DAY:
            at = day * DAY + whole_day
    else:
        read = parse_timestamp(text)
        if read is not None and read[1] is None and read[0] <= LAST_DAY * DAY:
            at = read[0]
    if at is None:
        raise InvalidParameter(parameter, f"{parameter}: {text!r} is no time; {_MOMENT}.")
    return at

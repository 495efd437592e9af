"""Queries as text, as the API and the command line receive them: streams, times, words, cursors' limits.

Each function returns the value of one parameter, and raises InvalidParameter with the parameter's name for
text that is none.
"""

from __future__ import annotations

from typing import NamedTuple

from sesight.domain.errors import InvalidParameter, InvalidRequest
from sesight.domain.event import EventType
from sesight.domain.outcome import Outcome
from sesight.domain.timestamps import DAY, day_number, month_number, parse_timestamp
from sesight.services import Services
from sesight.services.recipient_id import decode

OUTCOME_GROUPS = ("not_delivered", "pending")
"""Words for several outcomes."""

OUTCOME_WORDS = (
    *[outcome.word for outcome in Outcome],
    *OUTCOME_GROUPS,
    "complained",
    "unsubscribed",
)
"""The words that `outcome` takes: outcomes, groups of outcomes, and facts beside the outcome."""

DEFAULT_LIMIT = 100
"""Rows on a page if no limit is given."""

LAST_DAY = 2_932_000
"""The last UTC day (number) of a query, in the year 9997: later times would overflow when added to."""

_TIME_FORMS = "write a date (2026-11-24) or an instant with its zone (2026-11-24T09:00:00Z)"


class TimeRange(NamedTuple):
    """Send times, epoch ms, half-open; None: unbounded."""

    since: int | None
    until: int | None


def read_streams(services: Services, text: str | None) -> tuple[str, ...]:
    """Return the streams of a comma-separated list, in the order of the settings; None: all of them."""
    known = tuple(services.counting.streams)
    if text is None:
        return known
    return tuple(_read_list("stream", text, known))


def stream_label(services: Services, streams: tuple[str, ...]) -> tuple[str, ...]:
    """Return the streams as file names have them: `all` for every stream."""
    return ("all",) if streams == tuple(services.counting.streams) else streams


def read_outcomes(text: str | None) -> tuple[str, ...]:
    """Return the outcome words of a comma-separated list."""
    return () if text is None else tuple(_read_list("outcome", text, OUTCOME_WORDS))


def _read_list(parameter: str, text: str, known: tuple[str, ...]) -> list[str]:
    words = [word.strip() for word in text.split(",")]
    for word in words:
        one_of(parameter, word, known)
    return [word for word in known if word in words]


def one_of(parameter: str, text: str | None, known: tuple[str, ...]) -> str | None:
    """Return the word if it is one of the known ones."""
    if text is not None and text not in known:
        raise InvalidParameter(parameter, f"{parameter}: there is no {text!r}.", allowed=known)
    return text


def read_recipient(services: Services, parameter: str, rid: str) -> str:
    """Return the address of a recipient id."""
    try:
        return decode(rid, services.recipient_key)
    except InvalidRequest as error:
        raise InvalidParameter(parameter, f"{parameter}: {error}") from error


def read_event(text: str | None) -> str | None:
    """Return the name of an event type."""
    return one_of("event", text, tuple(kind.value for kind in EventType))


def read_month(text: str | None) -> int | None:
    """Return a month as a number."""
    if text is None:
        return None
    month = month_number(text)
    if month is None:
        raise InvalidParameter("month", f"month: {text!r} is no month; write YYYY-MM.")
    return month


def read_range(since: str | None, until: str | None) -> TimeRange:
    """Return a range of send times. The date of its end is included, an instant is not."""
    range_ = TimeRange(_read_time("from", since, 0), _read_time("to", until, DAY))
    if range_.since is not None and range_.until is not None and range_.since >= range_.until:
        raise InvalidParameter("to", "The end (`to`) is not after the beginning (`from`).")
    return range_


def _read_time(parameter: str, text: str | None, whole_day: int) -> int | None:
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
        parsed = parse_timestamp(text)
        if parsed is not None and parsed[1] is None and parsed[0] <= LAST_DAY * DAY:
            at = parsed[0]
    if at is None:
        raise InvalidParameter(parameter, f"{parameter}: {text!r} is no time; {_TIME_FORMS}.")
    return at

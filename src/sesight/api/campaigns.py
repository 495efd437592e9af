"""Campaigns: every card with its totals, and one campaign's figures, which outlive its records."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from litestar import Response
from litestar.params import FromPath, QueryParameter
from msgspec import Struct
from msgspec.structs import fields

from sesight.api.csv_file import CsvFile, csv_answer, file_name
from sesight.api.dependencies import Given, Services
from sesight.api.figures import Detail, day_source, detail_of, first_live_day
from sesight.api.parameters import (
    DEFAULT_LIMIT,
    Cursor,
    Format,
    From,
    Limit,
    Provider,
    Range,
    StreamIds,
    To,
    one_of,
    read_range,
    read_streams,
)
from sesight.api.problem import InvalidParameter
from sesight.api.responses import Meta, Missing, Total, fitting, meta_of, weight
from sesight.api.route import AnyRequest, read
from sesight.domain.card import CARD_TIME_STEP, Card
from sesight.domain.errors import NotFound
from sesight.domain.rollup import Family
from sesight.domain.stats import (
    RATES,
    REPORTING_RATE,
    Axis,
    Rate,
    Series,
    Slice,
    StatsSource,
    Totals,
    ages,
    breakdown,
    period,
    rates_of,
    series,
    totals_of,
)
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, HOUR, iso

State = Literal["sending", "settled", "final", "expired"]

ENGAGED_DAYS = 60
"""Days after a send for which SES still records opens and clicks."""

STATES = ("sending", "settled", "final", "expired")
BUCKETS = 1_000
"""Days of a series; a campaign that lasts longer is shown by week."""


class CampaignCard(Struct, frozen=True, rename="camel", kw_only=True):
    """A campaign's identity, times (to the minute), state and totals, kept for ever.

    sending: the last send is less than an hour ago; settled: SES still records opens and clicks;
    final: it no longer does; expired: nothing of it is held one by one.
    """

    stream: str
    campaign: str
    name: str | None
    provider: str
    sender: str | None
    subject: str | None
    template: str | None
    first_sent_at: str | None
    last_sent_at: str | None
    last_event_at: str | None
    state: State
    detail: Detail
    totals: Totals
    rates: dict[str, Rate]


class CampaignList(Struct, frozen=True, rename="camel", kw_only=True):
    """Cards, in the order asked for."""

    data: list[CampaignCard]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


class Withheld(Struct, frozen=True):
    """Recipients that our own sender sent nothing to: they are in no other figure."""

    suppressed: int
    invalid: int
    refused: int


class CampaignAnswer(CampaignCard, frozen=True, rename="camel", kw_only=True):
    """A campaign's card with its figures: a series by age or day, and breakdowns by mailbox, reason,
    link and tags. `previous` is always null. A series by day has no `complaintReporting`.
    """

    withheld: Withheld
    previous: None
    series: Series
    breakdowns: dict[str, list[Slice]]
    meta: Meta


_IDENTITY = tuple(
    field.encode_name
    for field in fields(CampaignCard)
    if field.encode_name not in ("detail", "totals", "rates")
)
_TOTALS = tuple(name for name in COUNTERS if name != "capped")
_RATES = tuple(name for name in RATES if name != REPORTING_RATE)
SORTABLE = (*_IDENTITY, *_TOTALS, *_RATES)
"""Columns a list of cards can be sorted by."""

_ROW = (
    *_IDENTITY,
    "detail.state",
    "detail.from",
    "detail.until",
    *[f"totals.{name}" for name in _TOTALS],
    *[f"rates.{name}" for name in _RATES],
)


class _Held(NamedTuple):
    """A card as the store gives it, with its state."""

    card: Card
    counts: Sequence[int]
    state: State


@read("/campaigns")
def campaigns(
    services: Given,
    request: AnyRequest,
    stream: StreamIds = None,
    q: Annotated[
        str | None, QueryParameter(description="Text in the name, subject or id, in any case.")
    ] = None,
    states: Annotated[
        str | None,
        QueryParameter(
            name="state", description=f"States, separated by commas: {', '.join(STATES)}."
        ),
    ] = None,
    provider: Provider = None,
    since: From = None,
    until: To = None,
    sort: Annotated[
        str,
        QueryParameter(
            description="A column of the cards, a total or a rate; `-` before it: descending."
        ),
    ] = "-lastSentAt",
    limit: Limit = None,
    cursor: Cursor = None,
    form: Format = "json",
) -> Response[CampaignList]:
    """Campaigns that have sent in the range, with their totals; what is null comes last."""
    streams = read_streams(services, stream)
    one_of("provider", provider, ("ses", "legacy"))
    within = read_range(since, until)
    wanted = tuple(one_of("state", word, STATES) for word in states.split(",")) if states else ()
    column, descending = sort.removeprefix("-"), sort.startswith("-")
    one_of("sort", column, SORTABLE)
    found = [
        _Held(card, counts, _state(services, card))
        for card, counts in services.store.cards(streams)
        if any(counts) and _matches(card, q, provider, within)
    ]
    held = _sorted(
        [each for each in found if not wanted or each.state in wanted], column, descending
    )
    if form == "csv":
        told = ("all",) if streams == tuple(services.counting.streams) else streams

        def rows_after(size: int, after: str | None) -> tuple[list[CampaignCard], str | None]:
            first, end = _slice(held, after, size)
            return [_card(services, each) for each in held[first:end]], _following(held, end)

        if limit is None and cursor is not None and _place(cursor)[0] == _BEFORE:
            raise InvalidParameter(
                "cursor", "cursor: a file goes on from a `nextCursor`; or add a limit."
            )
        file = CsvFile.of(file_name("campaigns", told, ()), _ROW, rows_after)
        return csv_answer(services, request, file, limit, cursor)

    def page_of(size: int) -> tuple[tuple[int, int], list[CampaignCard]]:
        first, end = _slice(held, cursor, size)
        return (first, end), [_card(services, each) for each in held[first:end]]

    ((first, end), cards), _ = fitting(
        services.answer_bytes, limit or DEFAULT_LIMIT, page_of, lambda page: map(weight, page[1])
    )
    return Response(
        CampaignList(
            data=cards,
            total=Total(len(held), exact=True),
            next_cursor=_following(held, end),
            newer_cursor=_cursor(_BEFORE, held[first]) if first < end and first > 0 else None,
            searched_to=None,
            meta=meta_of(services, streams),
        )
    )


@read("/campaigns/{stream:str}/{campaign:path}")
def campaign_figures(
    services: Given,
    stream: FromPath[str],
    campaign: FromPath[str],
    step: Annotated[
        Literal["age", "day"],
        QueryParameter(
            description="`age`: hours since each message's own send; `day`: UTC send days."
        ),
    ] = "age",
) -> CampaignAnswer:
    """One campaign's card and figures. They stay when its records have expired."""
    campaign = campaign.removeprefix("/")
    if stream not in services.counting.streams:
        raise NotFound(f"There is no stream {stream!r}.")
    card = services.store.card(stream, campaign)
    source = StatsSource(services.store.campaign_totals(stream, campaign), services.tracked(stream))
    if card is None or not source.rows:
        raise NotFound(f"There is no campaign with the id {campaign!r} in {stream}.")
    tags = sorted({row.key.dimension for row in source.rows if row.key.dimension[:4] == "tag:"})
    figures = period([source])
    held = _Held(card, (), _state(services, card))
    detail = detail_of(services, card, figures.totals.recipients)
    breakdowns = {name: breakdown([source], None, name) for name in ("mailbox", "reason", *tags)}
    links = services.store.rollups(Family.LINK, stream, campaign)
    breakdowns["link"] = breakdown([StatsSource(links, services.tracked(stream))], None, "link")
    return CampaignAnswer(
        **_identity(held),
        detail=detail,
        totals=figures.totals,
        rates=figures.rates,
        withheld=_withheld(services, card),
        previous=None,
        series=_series(services, card, step),
        breakdowns=breakdowns,
        meta=meta_of(services, [stream], provider=card.provider, partial=_partial(detail)),
    )


def _withheld(services: Services, card: Card) -> Withheld:
    found = services.withheld(card.stream, card.campaign)
    return Withheld(found.get("suppressed", 0), found.get("invalid", 0), found.get("refused", 0))


def _series(services: Services, card: Card, step: str) -> Series:
    now = services.clock()
    if step == "age":
        rows = services.store.rollups(Family.AGE, card.stream, card.campaign)
        return series(
            [StatsSource(rows, services.tracked(card.stream))], ages(card.last_sent_at, now)
        )
    first = (card.first_sent_at or 0) // DAY
    end = (card.last_sent_at or 0) // DAY + 1
    by: Literal["day", "week"] = "day" if end - first <= BUCKETS else "week"
    source = day_source(services, card.stream, None, card.campaign, dimension="")
    return series([source], Axis(by, first, end, now // DAY))


def _partial(detail: Detail) -> list[Missing]:
    if detail.state == "live":
        return []
    return [
        Missing(
            part="messages",
            reason="detail-expired",
            as_of=detail.since,
            covered=detail.covered,
            of=detail.of,
        )
    ]


def _state(services: Services, card: Card) -> State:
    now = services.clock()
    last = card.last_sent_at or 0
    if last // DAY < first_live_day(services):
        return "expired"
    if now - last < HOUR:
        return "sending"
    return "settled" if now - last < ENGAGED_DAYS * DAY else "final"


def _matches(card: Card, q: str | None, provider: str | None, within: Range) -> bool:
    if provider is not None and card.provider != provider:
        return False
    if within.since is not None and (card.last_sent_at or 0) + CARD_TIME_STEP <= within.since:
        return False
    if within.until is not None and (card.first_sent_at or 0) >= within.until:
        return False
    if q is None:
        return True
    wanted = q.casefold()
    return any(
        wanted in (text or "").casefold() for text in (card.name, card.subject, card.campaign)
    )


def _identity(held: _Held) -> dict[str, Any]:
    card = held.card
    return {
        "stream": card.stream,
        "campaign": card.campaign,
        "name": card.name,
        "provider": card.provider,
        "sender": card.sender,
        "subject": card.subject,
        "template": card.template,
        "first_sent_at": iso(card.first_sent_at),
        "last_sent_at": iso(card.last_sent_at),
        "last_event_at": iso(card.last_event_at),
        "state": held.state,
    }


def _card(services: Services, held: _Held) -> CampaignCard:
    totals = totals_of(held.counts)
    return CampaignCard(
        **_identity(held),
        detail=detail_of(services, held.card, totals.recipients),
        totals=totals,
        rates=rates_of(held.counts, tracked=services.tracked(held.card.stream)),
    )


def _value(held: _Held, column: str) -> Any:
    if column in _TOTALS:
        return held.counts[COUNTERS.index(column)]
    if column in _RATES:
        return rates_of(held.counts)[column].value
    value = held.state if column == "state" else getattr(held.card, _FIELD[column])
    return value.casefold() if isinstance(value, str) else value


_FIELD = {field.encode_name: field.name for field in fields(CampaignCard)}


def _sorted(held: list[_Held], column: str, descending: bool) -> list[_Held]:  # noqa: FBT001
    """Sort by a column, nulls last either way, equals by stream and id."""
    held = sorted(held, key=lambda each: (each.card.stream, each.card.campaign))
    valued = [(value, each) for each in held if (value := _value(each, column)) is not None]
    valued.sort(key=lambda pair: pair[0], reverse=descending)
    shown = {id(each) for _, each in valued}
    return [each for _, each in valued] + [each for each in held if id(each) not in shown]


_AFTER = "a"
_BEFORE = "b"


def _cursor(side: str, held: _Held) -> str:
    data = msgspec.json.encode([side, held.card.stream, held.card.campaign])
    return urlsafe_b64encode(data).decode().rstrip("=")


def _following(held: list[_Held], end: int) -> str | None:
    """Return the cursor of what comes after a page that ends before a position."""
    return _cursor(_AFTER, held[end - 1]) if 0 < end < len(held) else None


def _place(cursor: str) -> tuple[str, str, str]:
    """Return the side of which card a cursor names. Raises InvalidParameter."""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(text, type=tuple[str, str, str])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidParameter("cursor", "cursor: this is no cursor of an answer.") from error


def _slice(held: list[_Held], cursor: str | None, size: int) -> tuple[int, int]:
    """Return the positions of a page: after or before the card that the cursor names."""
    if cursor is None:
        return 0, min(size, len(held))
    side, stream, campaign = _place(cursor)
    for at, each in enumerate(held):
        if (each.card.stream, each.card.campaign) == (stream, campaign):
            if side == _BEFORE:
                return max(at - size, 0), at
            return at + 1, min(at + 1 + size, len(held))
    raise InvalidParameter(
        "cursor", "cursor: it is not of this list; it was made for other filters."
    )

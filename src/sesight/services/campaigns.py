"""Campaigns: every card with its totals, and one campaign's figures, which outlive its records."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from sesight.domain.card import CARD_TIME_STEP, Card
from sesight.domain.errors import InvalidParameter, NotFound
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
from sesight.services import Services
from sesight.services.answers import Meta, Missing, Total, fitting, meta_of, weight
from sesight.services.figures import Detail, day_source, detail_of, first_live_day
from sesight.services.query import DEFAULT_LIMIT, TimeRange, one_of, read_range, read_streams

CampaignState = Literal["sending", "settled", "final", "expired"]
CAMPAIGN_STATES = ("sending", "settled", "final", "expired")

ENGAGEMENT_DAYS = 60
"""Days after a send for which SES still records opens and clicks."""

MAX_DAYS = 1_000
"""Days of a series by day; a longer campaign is shown by week."""


class CampaignCard(Struct, frozen=True, rename="camel", kw_only=True):
    """A campaign's identity, times (to the minute), state and totals. It is kept for ever.

    `state`: sending (the last send is less than an hour ago), settled (SES still records opens and clicks),
    final (SES no longer does) or expired (its records are gone).
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
    state: CampaignState
    detail: Detail
    totals: Totals
    rates: dict[str, Rate]


class CampaignList(Struct, frozen=True, rename="camel", kw_only=True):
    """A page of cards, in the order of the query."""

    data: list[CampaignCard]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


class Withheld(Struct, frozen=True):
    """Recipients whom the sender withheld the mail from, by reason. They are in no other figure."""

    suppressed: int
    invalid: int
    refused: int


class CampaignAnswer(CampaignCard, frozen=True, rename="camel", kw_only=True):
    """A campaign's card with its figures: a series by age or day, and breakdowns by mailbox, reason, link and
    tags. `previous` is always null. A series by day has no `complaintReporting`.
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

SORT_COLUMNS = (*_IDENTITY, *_TOTALS, *_RATES)
"""Columns by which cards can be sorted."""

DEFAULT_SORT = "-lastSentAt"

CSV_COLUMNS = (
    *_IDENTITY,
    "detail.state",
    "detail.from",
    "detail.until",
    *[f"totals.{name}" for name in _TOTALS],
    *[f"rates.{name}" for name in _RATES],
)


class CampaignQuery(NamedTuple):
    """Which cards to list, and in which order."""

    streams: tuple[str, ...]
    search: str | None
    states: tuple[str, ...]
    provider: str | None
    range: TimeRange
    column: str
    descending: bool


class _StoredCard(NamedTuple):
    """A card with its campaign's counts, as stored, and its state now."""

    card: Card
    counts: Sequence[int]
    state: CampaignState


def campaign_query(
    services: Services,
    *,
    stream: str | None = None,
    search: str | None = None,
    states: str | None = None,
    provider: str | None = None,
    since: str | None = None,
    until: str | None = None,
    sort: str | None = None,
) -> CampaignQuery:
    """Read a query for cards. `search` is text in the name, subject or id; `sort` is one of
    `SORT_COLUMNS`, descending after a `-`. Raises InvalidParameter.
    """
    streams = read_streams(services, stream)
    one_of("provider", provider, ("ses", "legacy"))
    range_ = read_range(since, until)
    for word in states.split(",") if states else ():
        one_of("state", word, CAMPAIGN_STATES)
    sort = sort or DEFAULT_SORT
    column = sort.removeprefix("-")
    one_of("sort", column, SORT_COLUMNS)
    return CampaignQuery(
        streams=streams,
        search=search,
        states=tuple(states.split(",")) if states else (),
        provider=provider,
        range=range_,
        column=column,
        descending=sort.startswith("-"),
    )


def list_campaigns(
    services: Services, query: CampaignQuery, limit: int | None = None, cursor: str | None = None
) -> CampaignList:
    """Return a page of cards. Raises InvalidParameter for a cursor of another query."""
    cards = _select(services, query)

    def read(size: int) -> tuple[tuple[int, int], list[CampaignCard]]:
        first, end = _slice(cards, cursor, size)
        return (first, end), [_card(services, card) for card in cards[first:end]]

    ((first, end), data), _ = fitting(
        services.answer_bytes, limit or DEFAULT_LIMIT, read, lambda page: map(weight, page[1])
    )
    return CampaignList(
        data=data,
        total=Total(len(cards), exact=True),
        next_cursor=_cursor_after(cards, end),
        newer_cursor=_cursor(_BEFORE, cards[first]) if first < end and first > 0 else None,
        searched_to=None,
        meta=meta_of(services, query.streams),
    )


CampaignReader = Callable[[int, str | None], tuple[list[CampaignCard], str | None]]
"""Reads up to so many cards after a cursor; returns them and the cursor after them."""


def campaign_reader(
    services: Services, query: CampaignQuery, limit: int | None, cursor: str | None
) -> CampaignReader:
    """Return what reads the pages of a file of cards, all of one snapshot. Raises InvalidParameter for a
    `newerCursor` without a limit: a whole file only continues downwards.
    """
    if limit is None and cursor is not None and _read_cursor(cursor)[0] == _BEFORE:
        raise InvalidParameter(
            "cursor", "cursor: a file goes on from a `nextCursor`; or add a limit."
        )
    cards = _select(services, query)

    def read(size: int, after: str | None) -> tuple[list[CampaignCard], str | None]:
        first, end = _slice(cards, after, size)
        return [_card(services, card) for card in cards[first:end]], _cursor_after(cards, end)

    return read


def campaign_figures(
    services: Services, stream: str, campaign: str, step: Literal["age", "day"] = "age"
) -> CampaignAnswer:
    """Return a campaign's card and figures. `step`: the series is by hours since each message's send, or
    by UTC send days. Raises NotFound.
    """
    if stream not in services.counting.streams:
        raise NotFound(f"There is no stream {stream!r}.")
    card = services.store.card(stream, campaign)
    source = StatsSource(services.store.campaign_totals(stream, campaign), services.tracked(stream))
    if card is None or not source.rows:
        raise NotFound(f"There is no campaign with the id {campaign!r} in {stream}.")
    tags = sorted({row.key.dimension for row in source.rows if row.key.dimension[:4] == "tag:"})
    figures = period([source])
    detail = detail_of(services, card, figures.totals.recipients)
    breakdowns = {name: breakdown([source], None, name) for name in ("mailbox", "reason", *tags)}
    links = services.store.rollups(Family.LINK, stream, campaign)
    breakdowns["link"] = breakdown([StatsSource(links, services.tracked(stream))], None, "link")
    return CampaignAnswer(
        **_identity(card, _state(services, card)),
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
    counts = services.withheld(card.stream, card.campaign)
    return Withheld(counts.get("suppressed", 0), counts.get("invalid", 0), counts.get("refused", 0))


def _series(services: Services, card: Card, step: str) -> Series:
    now = services.clock()
    if step == "age":
        rows = services.store.rollups(Family.AGE, card.stream, card.campaign)
        return series(
            [StatsSource(rows, services.tracked(card.stream))], ages(card.last_sent_at, now)
        )
    first = (card.first_sent_at or 0) // DAY
    end = (card.last_sent_at or 0) // DAY + 1
    by: Literal["day", "week"] = "day" if end - first <= MAX_DAYS else "week"
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


def _state(services: Services, card: Card) -> CampaignState:
    now = services.clock()
    last = card.last_sent_at or 0
    if last // DAY < first_live_day(services):
        return "expired"
    if now - last < HOUR:
        return "sending"
    return "settled" if now - last < ENGAGEMENT_DAYS * DAY else "final"


def _select(services: Services, query: CampaignQuery) -> list[_StoredCard]:
    """Return the cards that match a query, in its order. A card without counts is not shown: its records
    were erased, or never counted.
    """
    cards = [
        _StoredCard(card, counts, _state(services, card))
        for card, counts in services.store.cards(query.streams)
        if any(counts) and _matches(card, query)
    ]
    cards = [card for card in cards if not query.states or card.state in query.states]
    # equals by stream and id; nulls last in either direction
    cards.sort(key=lambda card: (card.card.stream, card.card.campaign))
    keyed = [(_value(card, query.column), card) for card in cards]
    valued = [pair for pair in keyed if pair[0] is not None]
    valued.sort(key=lambda pair: pair[0], reverse=query.descending)
    return [card for _, card in valued] + [card for value, card in keyed if value is None]


def _matches(card: Card, query: CampaignQuery) -> bool:
    since, until = query.range
    if query.provider is not None and card.provider != query.provider:
        return False
    if since is not None and (card.last_sent_at or 0) + CARD_TIME_STEP <= since:
        return False
    if until is not None and (card.first_sent_at or 0) >= until:
        return False
    if query.search is None:
        return True
    text = query.search.casefold()
    return any(
        text in (field or "").casefold() for field in (card.name, card.subject, card.campaign)
    )


def _identity(card: Card, state: CampaignState) -> dict[str, Any]:
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
        "state": state,
    }


def _card(services: Services, stored: _StoredCard) -> CampaignCard:
    totals = totals_of(stored.counts)
    return CampaignCard(
        **_identity(stored.card, stored.state),
        detail=detail_of(services, stored.card, totals.recipients),
        totals=totals,
        rates=rates_of(stored.counts, tracked=services.tracked(stored.card.stream)),
    )


_FIELD = {field.encode_name: field.name for field in fields(CampaignCard)}


def _value(stored: _StoredCard, column: str) -> Any:
    """Return what a card is sorted by."""
    if column in _TOTALS:
        return stored.counts[COUNTERS.index(column)]
    if column in _RATES:
        return rates_of(stored.counts)[column].value
    value = stored.state if column == "state" else getattr(stored.card, _FIELD[column])
    return value.casefold() if isinstance(value, str) else value


# Cursors: a side ("a" after, "b" before) of a card, as base64 of JSON

_AFTER = "a"
_BEFORE = "b"


def _cursor(side: str, stored: _StoredCard) -> str:
    data = msgspec.json.encode([side, stored.card.stream, stored.card.campaign])
    return urlsafe_b64encode(data).decode().rstrip("=")


def _cursor_after(cards: list[_StoredCard], end: int) -> str | None:
    """Return the cursor after a page that ends before a position."""
    return _cursor(_AFTER, cards[end - 1]) if 0 < end < len(cards) else None


def _read_cursor(cursor: str) -> tuple[str, str, str]:
    """Return side, stream and campaign of a cursor. Raises InvalidParameter."""
    try:
        text = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        return msgspec.json.decode(text, type=tuple[str, str, str])
    except (ValueError, msgspec.DecodeError) as error:
        raise InvalidParameter("cursor", "cursor: this is no cursor of an answer.") from error


def _slice(cards: list[_StoredCard], cursor: str | None, size: int) -> tuple[int, int]:
    """Return the positions of a page: after or before the card that the cursor names."""
    if cursor is None:
        return 0, min(size, len(cards))
    side, stream, campaign = _read_cursor(cursor)
    for at, stored in enumerate(cards):
        if (stored.card.stream, stored.card.campaign) == (stream, campaign):
            if side == _BEFORE:
                return max(at - size, 0), at
            return at + 1, min(at + 1 + size, len(cards))
    raise InvalidParameter(
        "cursor", "cursor: it is not of this list; it was made for other filters."
    )

"""The message log and its fixed forms (tracking data of a stream), and one message."""

from __future__ import annotations

from typing import Any, NamedTuple

from litestar import Response
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import Struct
from msgspec.structs import fields

from sesight.api.coverage import coverage
from sesight.api.csv_file import PARTIAL_HEADER, CsvFile, csv_answer, file_name, partial_header
from sesight.api.dependencies import Given, Services, StreamRoutes
from sesight.api.figures import detail_of
from sesight.api.parameters import (
    DEFAULT_LIMIT,
    Campaign,
    Cursor,
    Email,
    EventName,
    Format,
    From,
    Limit,
    Month,
    Outcomes,
    Provider,
    Range,
    Recipient,
    StreamIds,
    To,
    one_of,
    read_event,
    read_month,
    read_outcomes,
    read_range,
    read_recipient,
    read_streams,
)
from sesight.api.problem import CampaignExpired, InvalidParameter
from sesight.api.records import MessageRecord, message_record
from sesight.api.responses import Meta, Total, fitting, meta_of, weight
from sesight.api.route import AnyRequest, read
from sesight.domain.address import normalize_address
from sesight.domain.card import Card
from sesight.domain.errors import InvalidRequest, NotFound
from sesight.domain.ports import RecordFilter, RecordPage
from sesight.domain.timestamps import DAY, day_name, iso

COLUMNS = tuple(field.encode_name for field in fields(MessageRecord))
"""Columns of the CSV form, in order."""

_NEWER = "n."
_OLDER = "o."


class MessageList(Struct, frozen=True, rename="camel", kw_only=True):
    """Records, newest send first. `newerCursor` gives what came in above this page since. A page may
    be short (then `searchedTo` says how far back it got); the end is only where `nextCursor` is null.
    """

    data: list[MessageRecord]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


class MessageAnswer(Struct, frozen=True, rename="camel", kw_only=True):
    """One message with a record for each recipient still held, `*` last."""

    message_id: str
    data: list[MessageRecord]
    meta: Meta


class Asked(NamedTuple):
    """A question of the message log, read."""

    wanted: RecordFilter
    range: Range
    limit: int | None
    cursor: str | None
    format: str


def _asked(
    services: Services,
    streams: tuple[str, ...],
    limit: int | None,
    cursor: str | None,
    form: str,
    **given: str | None,
) -> Asked:
    """Read the parameters of a list. Raises InvalidParameter."""
    within = read_range(given["since"], given["until"])
    recipient = given.get("recipient")
    to = None if recipient is None else read_recipient(services, "recipient", recipient)
    if (email := given.get("email")) is not None:
        if not email.strip():
            raise InvalidParameter("email", "email: it is empty.")
        to = normalize_address(email)[0]
    wanted = RecordFilter(
        streams=streams,
        campaign=given["campaign"],
        address=to,
        month=read_month(given["month"]),
        provider=one_of("provider", given["provider"], ("ses", "legacy")),
        event=read_event(given["event"]),
        outcomes=read_outcomes(given["outcome"]),
        since=within.since,
        until=within.until,
    )
    return Asked(wanted, within, limit, cursor, form)


@read("/messages")
def messages(
    services: Given,
    request: AnyRequest,
    stream: StreamIds = None,
    provider: Provider = None,
    campaign: Campaign = None,
    recipient: Recipient = None,
    month: Month = None,
    event: EventName = None,
    outcome: Outcomes = None,
    since: From = None,
    until: To = None,
    limit: Limit = None,
    cursor: Cursor = None,
    form: Format = "json",
) -> Response[MessageList]:
    """The message log: one record per message and recipient, with its timeline, newest send first."""
    asked = _asked(
        services,
        read_streams(services, stream),
        limit,
        cursor,
        form,
        provider=provider,
        campaign=campaign,
        recipient=recipient,
        month=month,
        event=event,
        outcome=outcome,
        since=since,
        until=until,
    )
    return _answer(services, request, asked, services.provider)


def tracking_routes(routes: StreamRoutes) -> list[HTTPRouteHandler]:
    """Return the tracking-data routes of a stream: of SES, and of the legacy provider if it has one."""
    found = [_tracking(routes.stream, routes.tracking, "ses")]
    if routes.legacy:
        found.append(_tracking(routes.stream, f"/{routes.prefix}/tracking-data", "legacy"))
    return found


def _tracking(stream: str, path: str, provider: str) -> HTTPRouteHandler:
    @read(path, operation_id=f"tracking_{stream}_{provider}", summary=f"Tracking data: {stream}")
    def tracking_data(
        services: Given,
        request: AnyRequest,
        campaign: Campaign = None,
        recipient: Recipient = None,
        email: Email = None,
        month: Month = None,
        event: EventName = None,
        outcome: Outcomes = None,
        since: From = None,
        until: To = None,
        limit: Limit = None,
        cursor: Cursor = None,
        form: Format = "json",
    ) -> Response[MessageList]:
        """The message log with the stream and the provider fixed; `email` finds an address."""
        asked = _asked(
            services,
            (stream,),
            limit,
            cursor,
            form,
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
        return _answer(services, request, asked, provider)

    return tracking_data


@read("/messages/{message_id:str}")
def message(services: Given, message_id: FromPath[str]) -> MessageAnswer:
    """One message, with all its recipients."""
    records = services.store.message(message_id, services.clock())
    if not records:
        raise NotFound(
            f"No message {message_id!r} is held. Messages are kept one by one for "
            f"{services.retention.days or 'any number of'} days."
        )
    return MessageAnswer(
        message_id=message_id,
        data=[message_record(record, services) for record in records],
        meta=meta_of(services, sorted({record.stream for record in records})),
    )


def _answer(
    services: Services, request: AnyRequest, asked: Asked, provider: str
) -> Response[MessageList]:
    """Answer a question of the message log. Raises NotFound, CampaignExpired."""
    cards = _cards(services, asked.wanted)
    if asked.format == "csv":
        return _file(services, request, asked, cards)

    def read(limit: int) -> tuple[RecordPage, list[MessageRecord]]:
        page = _page(services, asked.wanted, limit, asked.cursor)
        return page, [message_record(record, services) for record in page.records]

    (page, records), _ = fitting(
        services.answer_bytes,
        asked.limit or DEFAULT_LIMIT,
        read,
        lambda found: map(weight, found[1]),
    )
    found = coverage(
        services,
        asked.wanted,
        cards,
        page.records,
        is_whole=asked.cursor is None and page.cursor is None,
    )
    return Response(
        MessageList(
            data=records,
            total=found.total,
            next_cursor=_older(page),
            newer_cursor=None if page.newer is None else _NEWER + page.newer,
            searched_to=iso(page.searched_to),
            meta=meta_of(
                services,
                asked.wanted.streams,
                provider=provider,
                partial=found.partial,
            ),
        )
    )


def _page(services: Services, wanted: RecordFilter, limit: int, cursor: str | None) -> RecordPage:
    now = services.clock()
    if cursor is None:
        return services.store.messages(wanted, limit, None, now)
    if not cursor.startswith((_NEWER, _OLDER)):
        raise InvalidParameter("cursor", "cursor: this is no cursor of an answer.")
    newer = cursor.startswith(_NEWER)
    try:
        return services.store.messages(wanted, limit, cursor[len(_NEWER) :], now, newer=newer)
    except InvalidRequest as error:
        raise InvalidParameter("cursor", str(error)) from error


def _cards(services: Services, wanted: RecordFilter) -> list[Card]:
    """Return the cards of the campaign asked for. Raises NotFound without one, CampaignExpired when
    nothing of it is held one by one.
    """
    if wanted.campaign is None:
        return []
    found = [services.store.card(stream, wanted.campaign) for stream in wanted.streams]
    cards = [card for card in found if card is not None]
    if not cards:
        raise NotFound(f"There is no campaign with the id {wanted.campaign!r}.")
    details = [detail_of(services, card, 0) for card in cards]
    if all(detail.state == "expired" for detail in details):
        newest = max(range(len(cards)), key=lambda n: cards[n].last_sent_at or 0)
        card, until = cards[newest], details[newest].until
        raise CampaignExpired(
            f"Recipient detail is kept for {services.retention.days} days. This campaign was last "
            f"sent on {day_name((card.last_sent_at or 0) // DAY)}, so its recipient history is "
            "gone. Its totals are kept.",
            stream=card.stream,
            campaign=card.campaign,
            firstSentAt=iso(card.first_sent_at),
            lastSentAt=iso(card.last_sent_at),
            expiredAt=until,
            retentionDays=services.retention.days,
        )
    return cards


def _file(
    services: Services, request: AnyRequest, asked: Asked, cards: list[Card]
) -> Response[Any]:
    if asked.limit is None and (asked.cursor or "").startswith(_NEWER):
        raise InvalidParameter(
            "cursor", "cursor: a file goes on from a `nextCursor`; or add a limit."
        )
    ends = (
        None if asked.range.since is None else day_name(asked.range.since // DAY),
        None if asked.range.until is None else day_name((asked.range.until - 1) // DAY),
    )

    def read(limit: int, cursor: str | None) -> tuple[list[MessageRecord], str | None]:
        page = _page(services, asked.wanted, limit, cursor)
        return [message_record(record, services) for record in page.records], _older(page)

    name = file_name("messages", _told(services, asked), ends)
    file = CsvFile.of(name, COLUMNS, read)
    answer = csv_answer(services, request, file, asked.limit, asked.cursor)
    for missing in coverage(services, asked.wanted, cards, (), is_whole=False).partial:
        answer.set_header(PARTIAL_HEADER, partial_header(missing))
    return answer


def _older(page: RecordPage) -> str | None:
    return None if page.cursor is None else _OLDER + page.cursor


def _told(services: Services, asked: Asked) -> tuple[str, ...]:
    streams = asked.wanted.streams
    return ("all",) if streams == tuple(services.counting.streams) else streams

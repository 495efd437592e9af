"""The message log, a stream's tracking data (the log with its stream fixed), and one message."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from msgspec import Struct
from msgspec.structs import fields

from sesight.domain.address import normalize_address
from sesight.domain.card import Card
from sesight.domain.errors import DetailExpired, InvalidParameter, InvalidRequest, NotFound
from sesight.domain.ports import RecordFilter, RecordPage
from sesight.domain.timestamps import DAY, day_name, iso
from sesight.services import Services
from sesight.services.answers import Meta, Missing, Total, fitting, meta_of, weight
from sesight.services.coverage import coverage
from sesight.services.figures import detail_of
from sesight.services.query import (
    DEFAULT_LIMIT,
    TimeRange,
    one_of,
    read_event,
    read_month,
    read_outcomes,
    read_range,
    read_recipient,
)
from sesight.services.records import MessageRecord, message_record

CSV_COLUMNS = tuple(field.encode_name for field in fields(MessageRecord))

_NEWER = "n."
_OLDER = "o."


class CampaignExpired(DetailExpired):
    """The records of a campaign have expired. `more` has the campaign and its times, in camelCase."""

    def __init__(self, message: str, **more: str | int | None) -> None:
        super().__init__(message)
        self.more = more


class MessageList(Struct, frozen=True, rename="camel", kw_only=True):
    """Records, newest send first. `newerCursor` gives what has come in above this page since. A page may
    be short: then `searchedTo` is the send time it searched back to. Only a null `nextCursor` is the end.
    """

    data: list[MessageRecord]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


class MessageAnswer(Struct, frozen=True, rename="camel", kw_only=True):
    """One message, with a record for each recipient that is still kept; `*` comes last."""

    message_id: str
    data: list[MessageRecord]
    meta: Meta


class MessageQuery(NamedTuple):
    """Which records to list."""

    filter: RecordFilter
    range: TimeRange


def message_query(
    services: Services,
    streams: tuple[str, ...],
    *,
    provider: str | None = None,
    campaign: str | None = None,
    recipient: str | None = None,
    email: str | None = None,
    month: str | None = None,
    event: str | None = None,
    outcome: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> MessageQuery:
    """Read a query for records of the streams. `recipient` is a recipient id, `email` an address. Raises
    InvalidParameter.
    """
    range_ = read_range(since, until)
    to = None if recipient is None else read_recipient(services, "recipient", recipient)
    if email is not None:
        if not email.strip():
            raise InvalidParameter("email", "email: it is empty.")
        to = normalize_address(email)[0]
    filter_ = RecordFilter(
        streams=streams,
        campaign=campaign,
        address=to,
        month=read_month(month),
        provider=one_of("provider", provider, ("ses", "legacy")),
        event=read_event(event),
        outcomes=read_outcomes(outcome),
        since=range_.since,
        until=range_.until,
    )
    return MessageQuery(filter_, range_)


def list_messages(
    services: Services,
    query: MessageQuery,
    limit: int | None = None,
    cursor: str | None = None,
    *,
    provider: str | None = None,
) -> MessageList:
    """Return a page of records, newest send first. `provider` is the one that `meta` names.

    Raises InvalidParameter for a cursor of another query, NotFound for an unknown campaign, and
    CampaignExpired for one whose records have all expired.
    """
    cards = _cards(services, query.filter)

    def read(size: int) -> tuple[RecordPage, list[MessageRecord]]:
        page = _page(services, query.filter, size, cursor)
        return page, [message_record(record, services) for record in page.records]

    (page, records), _ = fitting(
        services.answer_bytes, limit or DEFAULT_LIMIT, read, lambda read: map(weight, read[1])
    )
    is_whole = cursor is None and page.cursor is None
    covered = coverage(services, query.filter, cards, page.records, is_whole=is_whole)
    return MessageList(
        data=records,
        total=covered.total,
        next_cursor=_cursor_after(page),
        newer_cursor=None if page.newer is None else _NEWER + page.newer,
        searched_to=iso(page.searched_to),
        meta=meta_of(services, query.filter.streams, provider=provider, partial=covered.partial),
    )


class MessageFile(NamedTuple):
    """A file of records: `read` returns up to so many after a cursor, and the cursor after them; `days` are
    the first and last send day asked for; `missing` is what has expired.
    """

    read: Callable[[int, str | None], tuple[list[MessageRecord], str | None]]
    days: tuple[str | None, str | None]
    missing: Callable[[], list[Missing]]


def message_file(
    services: Services, query: MessageQuery, limit: int | None, cursor: str | None
) -> MessageFile:
    """Return what reads a file of records. Raises as `list_messages`."""
    cards = _cards(services, query.filter)
    if limit is None and (cursor or "").startswith(_NEWER):
        raise InvalidParameter(
            "cursor", "cursor: a file goes on from a `nextCursor`; or add a limit."
        )

    def read(size: int, after: str | None) -> tuple[list[MessageRecord], str | None]:
        page = _page(services, query.filter, size, after)
        return [message_record(record, services) for record in page.records], _cursor_after(page)

    since, until = query.range
    days = (
        None if since is None else day_name(since // DAY),
        None if until is None else day_name((until - 1) // DAY),
    )
    return MessageFile(
        read, days, lambda: coverage(services, query.filter, cards, (), is_whole=False).partial
    )


def message(services: Services, message_id: str) -> MessageAnswer:
    """Return one message with all its recipients. Raises NotFound."""
    records = services.store.message(message_id, services.clock())
    if not records:
        raise NotFound(
            f"There is no message {message_id!r}. Single messages are kept for "
            f"{services.retention_days() or 'any number of'} days."
        )
    return MessageAnswer(
        message_id=message_id,
        data=[message_record(record, services) for record in records],
        meta=meta_of(services, sorted({record.stream for record in records})),
    )


def _page(services: Services, filter_: RecordFilter, limit: int, cursor: str | None) -> RecordPage:
    now = services.clock()
    if cursor is None:
        return services.store.messages(filter_, limit, None, now)
    if not cursor.startswith((_NEWER, _OLDER)):
        raise InvalidParameter("cursor", "cursor: this is no cursor of an answer.")
    newer = cursor.startswith(_NEWER)
    try:
        return services.store.messages(filter_, limit, cursor[len(_NEWER) :], now, newer=newer)
    except InvalidRequest as error:
        raise InvalidParameter("cursor", str(error)) from error


def _cursor_after(page: RecordPage) -> str | None:
    return None if page.cursor is None else _OLDER + page.cursor


def _cards(services: Services, filter_: RecordFilter) -> list[Card]:
    """Return the cards of the campaign that a filter names. Raises NotFound if there is none, and
    CampaignExpired if all its records have expired.
    """
    if filter_.campaign is None:
        return []
    by_stream = [services.store.card(stream, filter_.campaign) for stream in filter_.streams]
    cards = [card for card in by_stream if card is not None]
    if not cards:
        raise NotFound(f"There is no campaign with the id {filter_.campaign!r}.")
    details = [detail_of(services, card, 0) for card in cards]
    if all(detail.state == "expired" for detail in details):
        newest = max(range(len(cards)), key=lambda n: cards[n].last_sent_at or 0)
        card, until = cards[newest], details[newest].until
        retention_days = services.retention_days()
        raise CampaignExpired(
            f"Recipient detail is kept for {retention_days} days. This campaign was last sent on "
            f"{day_name((card.last_sent_at or 0) // DAY)}, so its recipient history is gone. Its "
            "totals are kept.",
            stream=card.stream,
            campaign=card.campaign,
            firstSentAt=iso(card.first_sent_at),
            lastSentAt=iso(card.last_sent_at),
            expiredAt=until,
            retentionDays=retention_days,
        )
    return cards

"""One person over all streams and providers: whether we may mail them, and what happened so far."""

from __future__ import annotations

from collections.abc import Iterable
from operator import add

from msgspec import Struct

from sesight.domain.address import normalize_address
from sesight.domain.counting import tally_of
from sesight.domain.errors import InvalidParameter
from sesight.domain.ports import RecordFilter, RecordPage
from sesight.domain.record import Record
from sesight.domain.stats import Totals, totals_of
from sesight.domain.suppression.item import Cause, Removal, Suppression, is_lifted, suppression_keys
from sesight.domain.suppression.policy import (
    ActiveSuppression,
    active_suppression,
    highest_priority,
)
from sesight.domain.tally import COUNTERS, counter_values
from sesight.domain.timestamps import iso
from sesight.services import Services
from sesight.services.answers import Meta, Missing, fitting, meta_of, weight
from sesight.services.coverage import coverage
from sesight.services.query import read_recipient, read_streams
from sesight.services.recipient_id import encode
from sesight.services.records import MessageRecord, message_record

RECORDS = 500
"""The most records of a person in an answer; older ones are in the message log (`recipient=`)."""


class CauseSource(Struct, frozen=True, rename="camel", kw_only=True):
    """The origin of a cause."""

    stream: str | None
    campaign: str | None
    message_id: str | None
    detail: str | None


class Mailable(Struct, frozen=True, kw_only=True):
    """Whether a stream may mail the person. If not: the reason, its scope, and from when until when (null: no
    end).
    """

    stream: str
    allowed: bool
    reason: str | None
    scope: str | None
    since: str | None
    until: str | None
    source: CauseSource | None


class CauseEntry(Struct, frozen=True, kw_only=True):
    """One cause of a suppression. A removal that lists its id has `lifted` it."""

    id: str
    at: str
    reason: str
    scope: str
    until: str | None
    lifted: bool
    source: CauseSource


class RemovalEntry(Struct, frozen=True, rename="camel", kw_only=True):
    """One removal of a suppression: the causes it lifts, and the change it was part of. A removal that was
    restored has no effect any more.
    """

    at: str
    change_id: str
    lifts: list[str]
    note: str | None
    restored_at: str | None


class SuppressionEntry(Struct, frozen=True, kw_only=True):
    """The item of an address, or of its domain, in one stream's list, with its history."""

    stream: str
    address: str
    active: bool
    causes: list[CauseEntry]
    removals: list[RemovalEntry]


class Person(Struct, frozen=True, rename="camel", kw_only=True):
    """One person. `counts`, `firstSentAt` and `lastSentAt` are of `data`, the newest records still kept.
    `nextCursor` continues the records in the message log with `recipient`. `meta.partial` lists what the
    counts lack: `older-records`, and what is past retention.
    """

    recipient_id: str
    address: str
    known: bool
    mailable: list[Mailable]
    counts: Totals
    first_sent_at: str | None
    last_sent_at: str | None
    suppressions: list[SuppressionEntry]
    data: list[MessageRecord]
    next_cursor: str | None
    meta: Meta


def person_by_address(services: Services, text: str, stream: str | None = None) -> Person:
    """Return the person with an address, over the streams of a list (None: all). Raises InvalidParameter."""
    return _person(services, normalize_address(text)[0], read_streams(services, stream))


def person_by_id(services: Services, rid: str, stream: str | None = None) -> Person:
    """Return the person with a recipient id, over the streams of a list (None: all). Raises
    InvalidParameter.
    """
    mailbox = read_recipient(services, "rid", rid)
    return _person(services, mailbox, read_streams(services, stream))


def _person(services: Services, mailbox: str, streams: tuple[str, ...]) -> Person:
    filter_ = RecordFilter(streams=streams, address=mailbox)

    def read_page(limit: int) -> tuple[RecordPage, list[MessageRecord]]:
        page = services.store.messages(filter_, limit, None, services.clock())
        return page, [message_record(record, services) for record in page.records]

    (page, data), _ = fitting(
        services.answer_bytes, RECORDS, read_page, lambda read: map(weight, read[1])
    )
    items: dict[str, list[Suppression]] = {}
    for name in streams:
        by_key = services.store.suppressions_of(name, [mailbox])
        items[name] = [by_key[key] for key in suppression_keys(mailbox) if key in by_key]
    known = bool(page.records) or any(items.values())
    if not known and not normalize_address(mailbox)[2]:
        raise InvalidParameter(
            "address",
            f"{mailbox!r} is not an address, and nothing is recorded under this spelling: "
            "write name@domain.",
        )
    now, policy = services.clock(), services.policy
    sent = [record.sent_at for record in page.records]
    return Person(
        recipient_id=encode(mailbox, services.recipient_key),
        address=mailbox,
        known=known,
        mailable=[
            mailable(name, highest_priority(own, now, policy)) for name, own in items.items()
        ],
        counts=_counts(services, page.records),
        first_sent_at=iso(min(sent, default=None)),
        last_sent_at=iso(max(sent, default=None)),
        suppressions=[entry(services, item) for own in items.values() for item in own],
        data=data,
        next_cursor=None if page.cursor is None else f"o.{page.cursor}",
        meta=meta_of(services, streams, partial=_missing(services, filter_, page)),
    )


def _missing(services: Services, filter_: RecordFilter, page: RecordPage) -> list[Missing]:
    """Return what the counts of a person lack: records that are not in the answer, and expired ones."""
    expired = coverage(services, filter_, (), page.records, is_whole=page.cursor is None).partial
    if page.cursor is None:
        return expired
    oldest = min(record.sent_at for record in page.records)
    older = Missing(
        part="counts", reason="older-records", as_of=iso(oldest), covered=len(page.records)
    )
    return [older, *expired]


def mailable(stream: str, why: ActiveSuppression | None) -> Mailable:
    """Say whether an address is free in a stream, given why it is not (None: it is)."""
    return Mailable(
        stream=stream,
        allowed=why is None,
        reason=None if why is None else why.cause.reason,
        scope=None if why is None else why.cause.scope,
        since=None if why is None else iso(why.since),
        until=None if why is None else iso(why.until),
        source=None if why is None else _source(why.cause),
    )


def _source(cause: Cause) -> CauseSource:
    return CauseSource(
        stream=cause.stream,
        campaign=cause.campaign,
        message_id=cause.message_id,
        detail=cause.detail,
    )


def entry(services: Services, item: Suppression) -> SuppressionEntry:
    """Return an item with its history."""
    return SuppressionEntry(
        stream=item.stream,
        address=item.address,
        active=active_suppression(item, services.clock(), services.policy) is not None,
        causes=[_cause(cause, item.removals) for cause in item.causes],
        removals=[
            RemovalEntry(
                at=iso(removal.at) or "",
                change_id=removal.id,
                lifts=list(removal.lifts),
                note=removal.note,
                restored_at=iso(removal.restored_at),
            )
            for removal in item.removals
        ],
    )


def _cause(cause: Cause, removals: tuple[Removal, ...]) -> CauseEntry:
    return CauseEntry(
        id=cause.id,
        at=iso(cause.at) or "",
        reason=cause.reason,
        scope=cause.scope,
        until=iso(cause.until),
        lifted=is_lifted(cause, removals),
        source=_source(cause),
    )


def _counts(services: Services, records: Iterable[Record]) -> Totals:
    total = [0] * len(COUNTERS)
    for record in records:
        tally = record.tally or tally_of(record, services.counting)
        total = list(map(add, total, counter_values(tally)))
    return totals_of(total)

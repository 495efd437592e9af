"""The suppression list as the API and the command line answer it: pages, figures, and results of changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

from msgspec import Struct

from sesight.domain.errors import InvalidParameter, InvalidRequest
from sesight.domain.rollup import Family
from sesight.domain.suppression.csv import COLUMNS, InvalidRow, SuppressionFile, csv_line
from sesight.domain.suppression.item import Suppression
from sesight.domain.suppression.manual import ResultStatus, SuppressionResult
from sesight.domain.suppression.policy import ActiveSuppression, highest_priority
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, day_name
from sesight.services import Services
from sesight.services.answers import Meta, Total, fitting, meta_of, weight
from sesight.services.query import DEFAULT_LIMIT, read_range, read_streams
from sesight.services.recipient_id import encode, seal, unseal
from sesight.services.recipients import (
    CauseSource,
    Mailable,
    SuppressionEntry,
    entry,
    mailable,
)
from sesight.services.suppressions import SuppressionService

MAX_BAD_ROWS = 1_000
"""Bad rows of a file that an answer lists."""

CSV_HEADER = csv_line(COLUMNS)

_RECIPIENTS = COUNTERS.index("recipients")


# The list


class SuppressedAddress(Struct, frozen=True, rename="camel", kw_only=True):
    """An address, or a whole domain (`@example.com`, without a recipient id). What is shown is that of the
    reason with the highest priority; `streams` are those it is blocked in now.
    """

    address: str
    recipient_id: str | None
    active: bool
    streams: list[str]
    reason: str | None
    scope: str | None
    since: str | None
    until: str | None
    note: str | None
    source: CauseSource | None
    suppressions: list[SuppressionEntry]


class SuppressedAddresses(Struct, frozen=True, rename="camel", kw_only=True):
    """Suppressed addresses, in order of the address. `total` counts the addresses of the list. A list of several
    pages has a total only without a prefix, and an inexact one if several streams have suppressions. A page
    may be short; only a null `nextCursor` is the end.
    """

    data: list[SuppressedAddress]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


class SuppressionQuery(NamedTuple):
    """Which addresses to list: those that block now (`active` True), those that no longer do, or all (None).
    `key` identifies the query: a cursor of one query is not valid in another.
    """

    streams: tuple[str, ...]
    prefix: str
    reason: str | None
    active: bool | None
    key: str


def suppression_query(
    services: Services,
    *,
    stream: str | None = None,
    prefix: str | None = None,
    reason: str | None = None,
    active: str = "true",
) -> SuppressionQuery:
    """Read a query for suppressed addresses; `active` is true, false or all. Raises InvalidParameter."""
    streams = read_streams(services, stream)
    start = (prefix or "").strip().lower()
    if "@" in start[1:]:
        raise InvalidParameter(
            "prefix",
            "prefix: write it without the @; to look for an address, POST it to suppressions/check.",
        )
    return SuppressionQuery(
        streams=streams,
        prefix=start,
        reason=reason,
        active=None if active == "all" else active == "true",
        key="|".join(["suppressions", *streams, start, reason or "", active]),
    )


def list_suppressions(
    services: Services, query: SuppressionQuery, limit: int | None = None, cursor: str | None = None
) -> SuppressedAddresses:
    """Return a page of suppressed addresses, in order. Raises InvalidParameter for a cursor of another
    query.
    """
    after = _unsealed(services, query, cursor)

    def read(size: int) -> tuple[list[SuppressedAddress], str | None]:
        page, last = services.suppressions.page(
            query.streams,
            size,
            after,
            prefix=query.prefix,
            reason=query.reason,
            active=query.active,
        )
        return [_row(services, address, items) for address, items in page], last

    (rows, last), _ = fitting(
        services.answer_bytes, limit or DEFAULT_LIMIT, read, lambda page: map(weight, page[0])
    )
    # the store counts an item as active until upkeep sees that its time is over
    rows = [row for row in rows if query.active is None or row.active is query.active]
    total: Total | None = None
    if cursor is None and last is None:
        total = Total(len(rows), exact=True)
    elif query.active and not query.prefix:
        total = _total(services, query)
    return SuppressedAddresses(
        data=rows,
        total=total,
        next_cursor=_sealed(services, query, last),
        newer_cursor=None,
        searched_to=None,
        meta=meta_of(services, query.streams),
    )


SuppressionReader = Callable[[int, str | None], tuple[list[str], str | None]]
"""Reads up to so many addresses after a cursor; returns their lines of CSV, and the cursor after them."""


def suppression_reader(
    services: Services, query: SuppressionQuery, cursor: str | None
) -> SuppressionReader:
    """Return what reads a file of the addresses that block now. Raises InvalidParameter for a cursor of
    another query.
    """
    _unsealed(services, query, cursor)

    def read(size: int, after: str | None) -> tuple[list[str], str | None]:
        rows, last = services.suppressions.exported_page(
            query.streams,
            size,
            _unsealed(services, query, after),
            prefix=query.prefix,
            reason=query.reason,
        )
        lines = ["".join(map(csv_line, of_address)) for of_address in rows]
        return lines, _sealed(services, query, last)

    return read


def _total(services: Services, query: SuppressionQuery) -> Total | None:
    """Return how many addresses a list of several pages has. An address suppressed in several streams is
    listed once and counted in each, so the largest count of one stream is a lower bound.
    """
    by_stream: Counter[str] = Counter()
    for (name, _, _), active in _counts(services, query.streams, query.reason).items():
        by_stream[name] += active
    if services.store.suppressions_due(services.clock(), 1):
        return None  # these are still counted, and no longer listed
    return Total(max(by_stream.values(), default=0), exact=len(+by_stream) <= 1)


def _sealed(services: Services, query: SuppressionQuery, last: str | None) -> str | None:
    return None if last is None else seal(last, query.key, services.recipient_key)


def _unsealed(services: Services, query: SuppressionQuery, cursor: str | None) -> str | None:
    """Return the address that a cursor is after."""
    if cursor is None:
        return None
    try:
        return unseal(cursor, query.key, services.recipient_key)
    except InvalidRequest as error:
        raise InvalidParameter("cursor", f"cursor: {error}") from error


def _row(services: Services, address: str, items: Sequence[Suppression]) -> SuppressedAddress:
    entries = [entry(services, item) for item in items]
    suppression = highest_priority(items, services.clock(), services.policy)
    shown = mailable("", suppression)
    return SuppressedAddress(
        address=address,
        recipient_id=None if address.startswith("@") else encode(address, services.recipient_key),
        active=suppression is not None,
        streams=[item.stream for item in entries if item.active],
        reason=shown.reason,
        scope=shown.scope,
        since=shown.since,
        until=shown.until,
        note=None if suppression is None else suppression.cause.detail,
        source=shown.source,
        suppressions=entries,
    )


# Figures


class SuppressionCount(Struct, frozen=True):
    """How many addresses and whole domains a stream has suppressed for a reason: in all (`day` null), or since
    a UTC day.
    """

    stream: str
    reason: str
    day: str | None
    active: int


class SuppressionStats(Struct, frozen=True, rename="camel", kw_only=True):
    """How many addresses and whole domains are suppressed now, counted in each stream: `byReason`, and `byDay`
    since when. Suppressions that have just ended count until the next upkeep.
    """

    active: int
    by_reason: list[SuppressionCount]
    by_day: list[SuppressionCount]
    meta: Meta


def suppression_stats(
    services: Services,
    *,
    stream: str | None = None,
    since: str | None = None,
    until: str | None = None,
) -> SuppressionStats:
    """Return how many addresses are suppressed now, by reason and by the day they have been suppressed
    since, which the range limits. Raises InvalidParameter.
    """
    streams = read_streams(services, stream)
    range_ = read_range(since, until)
    days = _counts(
        services,
        streams,
        None,
        None if range_.since is None else range_.since // DAY,
        None if range_.until is None else -(-range_.until // DAY),
    )
    reasons: Counter[tuple[str, str]] = Counter()
    for (name, reason, _), active in days.items():
        reasons[name, reason] += active
    return SuppressionStats(
        active=sum(days.values()),
        by_reason=[
            SuppressionCount(stream=name, reason=reason, day=None, active=active)
            for (name, reason), active in sorted(reasons.items())
            if active
        ],
        by_day=[
            SuppressionCount(stream=name, reason=reason, day=day_name(day), active=active)
            for (name, reason, day), active in sorted(
                days.items(), key=lambda entry: entry[0][::-1]
            )
            if active
        ],
        meta=meta_of(services, streams),
    )


def _counts(
    services: Services,
    streams: Sequence[str],
    reason: str | None,
    since: int | None = None,
    until: int | None = None,
) -> dict[tuple[str, str, int], int]:
    """Return how many are suppressed, by stream, reason and UTC day (number) since which."""
    return {
        (name, row.key.value, row.key.bucket): row.counts[_RECIPIENTS]
        for name in streams
        for row in services.store.rollups(Family.SUPPRESSED, name, since=since, until=until)
        if reason is None or row.key.value == reason
    }


# Results of changes


class AddressResult(Struct, frozen=True):
    """The result of one address, and the streams it concerns; `detail` has the fault of an invalid address."""

    address: str
    state: ResultStatus
    streams: list[str]
    detail: str | None


class Changed(Struct, frozen=True, rename="camel", kw_only=True):
    """The result of each address, in the order of the request, and `counts` by state. A removal can be restored
    under the `changeId`.
    """

    change_id: str
    counts: dict[str, int]
    results: list[AddressResult]


class CheckedAddress(Struct, frozen=True, rename="camel", kw_only=True):
    """Whether all the streams may send to an address, and each of them. `detail` has the fault of text that is
    no address, to which no stream may send.
    """

    address: str
    allowed: bool
    mailable: list[Mailable]
    detail: str | None


class BadLine(Struct, frozen=True):
    """An invalid row of a file, by its last line, and the reason."""

    line: int
    reason: str


class Imported(Struct, frozen=True, rename="camel", kw_only=True):
    """The results of a file's rows: `counts` by state (`invalid` for bad rows), the first thousand bad rows, and
    the names of columns that were ignored.
    """

    change_id: str
    dry_run: bool
    rows: int
    counts: dict[str, int]
    bad: list[BadLine]
    ignored_columns: list[str]


def changed(change: str, results: Sequence[SuppressionResult]) -> Changed:
    """Return the answer to a change."""
    return Changed(
        change_id=change,
        counts=dict(Counter(str(result.status) for result in results)),
        results=[
            AddressResult(result.address, result.status, list(result.streams), result.detail)
            for result in results
        ],
    )


def checked(
    result: tuple[str, dict[str, ActiveSuppression | None]] | SuppressionResult,
) -> CheckedAddress:
    """Return the answer for one address of `SuppressionService.check`."""
    if isinstance(result, SuppressionResult):
        return CheckedAddress(
            address=result.address, allowed=False, mailable=[], detail=result.detail
        )
    address, suppressions = result
    return CheckedAddress(
        address=address,
        allowed=all(suppression is None for suppression in suppressions.values()),
        mailable=[mailable(name, suppression) for name, suppression in suppressions.items()],
        detail=None,
    )


def import_rows(
    suppressions: SuppressionService,
    file: SuppressionFile,
    change: str,
    *,
    dry_run: bool = False,
    report: Callable[[int, str], object] | None = None,
) -> Imported:
    """Suppress the rows of a file; `report` is called with the line and the reason of every bad row."""
    counts: Counter[str] = Counter()
    bad: list[BadLine] = []
    for row, result in suppressions.take(file, change, dry_run=dry_run):
        status = ResultStatus.INVALID if result is None else result.status
        counts[str(status)] += 1
        if status is ResultStatus.INVALID:
            reason = (row.reason if isinstance(row, InvalidRow) else result and result.detail) or ""
            if report is not None:
                report(row.line, reason)
            if len(bad) < MAX_BAD_ROWS:
                bad.append(BadLine(row.line, reason))
    return Imported(
        change_id=change,
        dry_run=dry_run,
        rows=counts.total(),
        counts=dict(counts),
        bad=bad,
        ignored_columns=file.ignored,
    )

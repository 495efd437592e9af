"""Whom the streams must not send to: the list, its figures, and every change of it by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from io import StringIO
from typing import Annotated, Any, Literal

from litestar import Response
from litestar.params import JSONBody, QueryParameter, RawBody
from msgspec import Meta as Limits
from msgspec import Struct

from sesight.api.csv_file import MEDIA_TYPE, CsvFile, Rows, csv_answer, file_name
from sesight.api.dependencies import Given, Services
from sesight.api.parameters import (
    DEFAULT_LIMIT,
    Format,
    From,
    Limit,
    StreamIds,
    To,
    read_range,
    read_streams,
)
from sesight.api.problem import InvalidParameter
from sesight.api.recipient_id import encode, seal, unseal
from sesight.api.recipients import CauseSource, Mailable, SuppressionEntry, entry, mailable
from sesight.api.responses import Meta, Total, fitting, meta_of, weight
from sesight.api.route import AnyRequest, ask, read
from sesight.domain.errors import InvalidRequest
from sesight.domain.rollup import Family
from sesight.domain.suppression.csv import (
    COLUMNS,
    InvalidRow,
    SuppressionDefaults,
    SuppressionFile,
    csv_line,
    parse_time,
    refuse_broken_quotes,
)
from sesight.domain.suppression.item import Suppression, SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import (
    CHANGE_ID,
    ResultStatus,
    SuppressionRequest,
    SuppressionResult,
)
from sesight.domain.suppression.policy import highest_priority
from sesight.domain.tally import COUNTERS
from sesight.domain.timestamps import DAY, day_name

AT_ONCE = 1_000
"""Addresses of one request at most."""

BAD_ROWS = 1_000
"""Bad rows of a file that are told one by one."""

_RECIPIENTS = COUNTERS.index("recipients")

Addresses = Annotated[list[str], Limits(min_length=1, max_length=AT_ONCE)]
ReasonWord = Annotated[
    SuppressionReason | None, QueryParameter(name="reason", description="The reason that is shown.")
]
ScopeName = Literal["stream", "marketing", "all"]
"""The words of `SuppressionScope`, of which the document has another already."""

ScopeWord = Annotated[
    ScopeName | None,
    QueryParameter(name="scope", description="How far rows reach that do not say it."),
]


# The list


class SuppressedAddress(Struct, frozen=True, rename="camel", kw_only=True):
    """An address, or a whole domain (`@example.com`, without a recipient id), as the streams asked for
    have it: what is shown is of the reason that comes first, `streams` are those it blocks now.
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
    """Suppressed addresses in order of the address. `total` counts what is listed; of a list of several
    pages it is known only without a prefix, and not `exact` where more than one stream has some. A page
    may be short; only a null `nextCursor` is the end.
    """

    data: list[SuppressedAddress]
    total: Total | None
    next_cursor: str | None
    newer_cursor: str | None
    searched_to: str | None
    meta: Meta


@read("/suppressions")
def suppressions(
    services: Given,
    request: AnyRequest,
    stream: StreamIds = None,
    prefix: Annotated[
        str | None,
        QueryParameter(
            description="How addresses begin, without their @: no address belongs in a URL. `@exam` "
            "finds whole domains. For one person: `POST /suppressions/check`."
        ),
    ] = None,
    reason: ReasonWord = None,
    active: Annotated[
        Literal["true", "false", "all"],
        QueryParameter(description="Those that block (true), those that no longer do, or all."),
    ] = "true",
    limit: Limit = None,
    cursor: Annotated[
        str | None, QueryParameter(description="`nextCursor` of an answer to the same question.")
    ] = None,
    form: Format = "json",
) -> Response[SuppressedAddresses]:
    """Whom the streams must not send to, with the history of each."""
    streams = read_streams(services, stream)
    begins = _prefix(prefix)
    wanted = None if active == "all" else active == "true"
    if form == "csv" and wanted is not True:
        raise InvalidParameter("active", "active: a file has those that block; leave it out.")
    question = "|".join(["suppressions", *streams, begins, reason or "", active])
    after = None if cursor is None else _after(services, cursor, question)
    if form == "csv":
        told = ("all",) if streams == tuple(services.counting.streams) else streams

        def rows_after(size: int, following: str | None) -> Rows:
            start = None if following is None else _after(services, following, question)
            rows, last = services.suppressions.exported_page(
                streams, size, start, prefix=begins, reason=reason
            )
            lines = ["".join(map(csv_line, each)) for each in rows]
            return Rows(lines, _sealed(services, last, question))

        file = CsvFile(file_name("suppressions", told, ()), csv_line(COLUMNS), rows_after)
        return csv_answer(services, request, file, limit, cursor)

    def page_of(size: int) -> tuple[list[SuppressedAddress], str | None]:
        found, last = services.suppressions.page(
            streams, size, after, prefix=begins, reason=reason, active=wanted
        )
        return [_row(services, address, items) for address, items in found], last

    (found, last), _ = fitting(
        services.answer_bytes, limit or DEFAULT_LIMIT, page_of, lambda each: map(weight, each[0])
    )
    # one whose time is over counts until the writer finds the time to see it
    rows = [row for row in found if wanted is None or row.active is wanted]
    total: Total | None = None
    if cursor is None and last is None:
        total = Total(len(rows), exact=True)
    elif wanted and not begins:
        total = _total(services, streams, reason)
    return Response(
        SuppressedAddresses(
            data=rows,
            total=total,
            next_cursor=_sealed(services, last, question),
            newer_cursor=None,
            searched_to=None,
            meta=meta_of(services, streams),
        )
    )


def _total(services: Services, streams: Sequence[str], reason: str | None) -> Total | None:
    """Return how many addresses a list of several pages has. What is suppressed in several streams is
    listed once and counted in each, so that the most of one stream is what there is at least.
    """
    by_stream: Counter[str] = Counter()
    for (name, _, _), active in _counts(services, streams, reason).items():
        by_stream[name] += active
    if services.store.suppressions_due(services.clock(), 1):
        return None  # counted still, and not listed any more
    return Total(max(by_stream.values(), default=0), exact=len(+by_stream) <= 1)


def _sealed(services: Services, last: str | None, question: str) -> str | None:
    return None if last is None else seal(last, question, services.recipient_key)


def _prefix(text: str | None) -> str:
    begins = (text or "").strip().lower()
    if "@" in begins[1:]:
        raise InvalidParameter(
            "prefix",
            "prefix: write it without the @; to look for an address, POST it to suppressions/check.",
        )
    return begins


def _after(services: Services, cursor: str, question: str) -> str:
    try:
        return unseal(cursor, question, services.recipient_key)
    except InvalidRequest as error:
        raise InvalidParameter("cursor", f"cursor: {error}") from error


def _row(services: Services, address: str, items: Sequence[Suppression]) -> SuppressedAddress:
    entries = [entry(services, item) for item in items]
    why = highest_priority(items, services.clock(), services.policy)
    shown = mailable("", why)
    return SuppressedAddress(
        address=address,
        recipient_id=None if address.startswith("@") else encode(address, services.recipient_key),
        active=why is not None,
        streams=[each.stream for each in entries if each.active],
        reason=shown.reason,
        scope=shown.scope,
        since=shown.since,
        until=shown.until,
        note=None if why is None else why.cause.detail,
        source=shown.source,
        suppressions=entries,
    )


# Figures


class SuppressionCount(Struct, frozen=True):
    """How many addresses and whole domains a stream is blocked from by a reason, and of those how many
    since a UTC day (null: whenever).
    """

    stream: str
    reason: str
    day: str | None
    active: int


class SuppressionStats(Struct, frozen=True, rename="camel", kw_only=True):
    """How many addresses and whole domains are suppressed now, a stream's each: `by_reason`, and
    `by_day` they are suppressed since. Those whose time is over count until the server sees it.
    """

    active: int
    by_reason: list[SuppressionCount]
    by_day: list[SuppressionCount]
    meta: Meta


@read("/suppressions/stats")
def suppression_stats(
    services: Given, stream: StreamIds = None, since: From = None, until: To = None
) -> SuppressionStats:
    """How many addresses are suppressed, by reason and since when; `from` and `to` limit the latter."""
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
            for (name, reason, day), active in sorted(days.items(), key=lambda each: each[0][::-1])
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


# Changes


class Suppress(Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Addresses, and whole domains as `@example.com`, to suppress for one reason. `scope` `stream`
    needs a `stream`; without a scope it is that of the reason, and of `manual` and `import` the stream
    if one is named, else all. `until` is a date or an instant. The same `changeId` adds nothing twice.
    """

    addresses: Addresses
    reason: SuppressionReason = SuppressionReason.MANUAL
    scope: ScopeName | None = None
    stream: str | None = None
    until: str | None = None
    note: str | None = None
    change_id: str | None = None


class Remove(Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Addresses of which something is lifted: all that stands against them in the `streams` (all if
    absent), or only the `causes` named by id. The `note` says why. With `restores` the removals of
    that change are taken back instead.
    """

    addresses: Addresses
    streams: list[str] | None = None
    causes: Annotated[list[str], Limits(max_length=AT_ONCE)] = []
    note: str | None = None
    change_id: str | None = None
    restores: str | None = None


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses to look up, in the `streams` (all if absent)."""

    addresses: Addresses
    streams: list[str] | None = None


class AddressResult(Struct, frozen=True):
    """What became of one address, in which streams; `detail` says more, as what is wrong with it."""

    address: str
    state: ResultStatus
    streams: list[str]
    detail: str | None


class Changed(Struct, frozen=True, rename="camel", kw_only=True):
    """What became of each address, in the order of the request; `counts` by state. The id of the
    change, under which a removal can be taken back.
    """

    change_id: str
    counts: dict[str, int]
    results: list[AddressResult]


class CheckedAddress(Struct, frozen=True, rename="camel", kw_only=True):
    """Whether every stream asked for may send to an address, and each by itself. Nobody may send to
    what is no address: `detail` then says what is wrong with it.
    """

    address: str
    allowed: bool
    mailable: list[Mailable]
    detail: str | None


class Checked(Struct, frozen=True, kw_only=True):
    """Addresses looked up, in the order of the request."""

    data: list[CheckedAddress]
    meta: Meta


class BadLine(Struct, frozen=True):
    """A row of a file that was not taken, by its last line, and why."""

    line: int
    reason: str


class Imported(Struct, frozen=True, rename="camel", kw_only=True):
    """What became of the rows of a file: `counts` by state, `invalid` for bad ones, of which the first
    thousand are told; the names of columns that were not read.
    """

    change_id: str
    dry_run: bool
    rows: int
    counts: dict[str, int]
    bad: list[BadLine]
    ignored_columns: list[str]


@ask("/suppressions")
def add_suppressions(services: Given, data: JSONBody[Suppress]) -> Changed:
    """Suppress up to 1,000 addresses and whole domains."""
    change = _change(services, data.change_id)
    until = None if data.until is None else _until(data.until)
    if data.stream is not None:
        _streams(services, [data.stream])
    wishes = [
        SuppressionRequest(
            address=address,
            reason=data.reason,
            scope=_scope(data.scope),
            stream=data.stream,
            until=until,
            note=data.note,
        )
        for address in data.addresses
    ]
    return changed(change, services.suppressions.add(wishes, change))


@ask("/suppressions/remove")
def remove_suppressions(services: Given, data: JSONBody[Remove]) -> Changed:
    """Lift what stands against up to 1,000 addresses and whole domains, or take such a removal back."""
    streams = _streams(services, data.streams)
    change = _change(services, data.change_id if data.restores is None else data.restores)
    listed = services.suppressions
    if data.restores is not None:
        if data.causes or data.change_id is not None:
            raise InvalidParameter(
                "restores", "restores: a change is taken back whole, without causes or a changeId."
            )
        return changed(change, listed.restore(data.addresses, change, streams))
    told = listed.remove(data.addresses, change, data.note or "", streams, data.causes)
    return changed(change, told)


@ask("/suppressions/check")
def check_suppressions(services: Given, data: JSONBody[Check]) -> Checked:
    """May these addresses, up to 1,000, be sent to? If not, why, how far that reaches, and since when."""
    streams = _streams(services, data.streams)
    found = services.suppressions.check(data.addresses, streams)
    return Checked(data=[checked(each) for each in found], meta=meta_of(services, streams))


@ask("/suppressions/import", body=MEDIA_TYPE)
def import_suppressions(
    services: Given,
    body: RawBody,
    *,
    dry_run: Annotated[
        bool, QueryParameter(name="dryRun", description="Only say what would be done.")
    ] = False,
    stream: Annotated[
        str | None, QueryParameter(description="The stream of rows that name none.")
    ] = None,
    reason: Annotated[
        SuppressionReason, QueryParameter(description="The reason of rows that name none.")
    ] = SuppressionReason.IMPORT,
    reach: ScopeWord = None,
    partial: Annotated[
        bool,
        QueryParameter(description="Import the other rows of a file whose quotes are broken."),
    ] = False,
    change_id: Annotated[
        str | None,
        QueryParameter(name="changeId", description="The same adds nothing twice."),
    ] = None,
) -> Imported:
    """Suppress what a CSV file of up to a megabyte lists: `email`, and if there are `stream`, `reason`,
    `scope`, `until`, `note`, `firstAt`. What `GET /suppressions?format=csv` gives can be read again.
    Nothing is imported of a file in which a quote is not closed properly, unless `partial` asks for it.
    """
    change = _change(services, change_id)
    if stream is not None:
        _streams(services, [stream])
    try:
        text = bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The file is not UTF-8 (byte {error.start + 1}): save it as CSV UTF-8."
        ) from None
    defaults = SuppressionDefaults(reason=reason, scope=_scope(reach), stream=stream)
    if not partial:
        refuse_broken_quotes(SuppressionFile(StringIO(text, newline=""), defaults))
    file = SuppressionFile(StringIO(text, newline=""), defaults)
    counts: Counter[str] = Counter()
    bad: list[BadLine] = []
    for row, told in services.suppressions.take(file, change, dry_run=dry_run):
        status = ResultStatus.INVALID if told is None else told.status
        counts[status] += 1
        if status is ResultStatus.INVALID and len(bad) < BAD_ROWS:
            why = row.reason if isinstance(row, InvalidRow) else told and told.detail
            bad.append(BadLine(row.line, why or ""))
    return Imported(
        change_id=change,
        dry_run=dry_run,
        rows=counts.total(),
        counts=dict(counts),
        bad=bad,
        ignored_columns=file.ignored,
    )


def _change(services: Services, given: str | None) -> str:
    if given is None:
        return services.new_request_id()
    if CHANGE_ID.fullmatch(given) is None:
        raise InvalidParameter(
            "changeId", "changeId: it is 8 to 64 letters, digits, - and _ (so is restores)."
        )
    return given


def _scope(name: ScopeName | None) -> SuppressionScope | None:
    return None if name is None else SuppressionScope(name)


def _until(text: str) -> int:
    at = parse_time(text, DAY)
    if at is None:
        raise InvalidParameter(
            "until", "until: it is no time; write a date (2026-11-24) or an instant."
        )
    return at


def _streams(services: Services, named: Sequence[str] | None) -> tuple[str, ...]:
    known = tuple(services.counting.streams)
    if named is None:
        return known
    if not named or not set(named) <= set(known):
        raise InvalidParameter("streams", "There is no such stream.", allowed=list(known))
    return tuple(name for name in known if name in named)


def changed(change: str, told: Sequence[SuppressionResult]) -> Changed:
    """Return the answer of a change."""
    return Changed(
        change_id=change,
        counts=dict(Counter(str(each.status) for each in told)),
        results=[
            AddressResult(each.address, each.status, list(each.streams), each.detail)
            for each in told
        ],
    )


def checked(found: tuple[str, dict[str, Any]] | SuppressionResult) -> CheckedAddress:
    """Return the row of an address that was looked up."""
    if isinstance(found, SuppressionResult):
        return CheckedAddress(
            address=found.address, allowed=False, mailable=[], detail=found.detail
        )
    address, whys = found
    return CheckedAddress(
        address=address,
        allowed=all(why is None for why in whys.values()),
        mailable=[mailable(name, why) for name, why in whys.items()],
        detail=None,
    )


HANDLERS = [
    suppressions,
    suppression_stats,
    add_suppressions,
    remove_suppressions,
    check_suppressions,
    import_suppressions,
]
"""Every route of the list."""

"""The routes of the suppression list: pages, figures, and every change by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from litestar import Response
from litestar.params import JSONBody, QueryParameter, RawBody
from msgspec import Meta as Limits
from msgspec import Struct

from sesight.api.csv_file import MEDIA_TYPE, CsvFile, CsvPage, csv_answer, file_name
from sesight.api.parameters import (
    FormatParameter,
    FromParameter,
    InjectedServices,
    LimitParameter,
    StreamsParameter,
    ToParameter,
)
from sesight.api.route import AnyRequest, ask, read
from sesight.domain.csv_rows import decode_csv, split_lines
from sesight.domain.errors import InvalidParameter
from sesight.domain.suppression.csv import (
    SuppressionDefaults,
    SuppressionFile,
    parse_time,
    refuse_broken_quotes,
)
from sesight.domain.suppression.item import SuppressionReason, SuppressionScope
from sesight.domain.suppression.manual import CHANGE_ID, SuppressionRequest
from sesight.domain.timestamps import DAY
from sesight.services import Services
from sesight.services import suppression_list as service
from sesight.services.answers import Meta, meta_of
from sesight.services.query import stream_label
from sesight.services.suppression_list import (
    CSV_HEADER,
    Changed,
    CheckedAddress,
    Imported,
    SuppressedAddresses,
    SuppressionStats,
    changed,
    checked,
    import_rows,
    list_suppressions,
    suppression_query,
    suppression_reader,
)

MAX_ADDRESSES = 1_000
"""Addresses of one request at most."""

AddressList = Annotated[list[str], Limits(min_length=1, max_length=MAX_ADDRESSES)]
ReasonParameter = Annotated[
    SuppressionReason | None,
    QueryParameter(name="reason", description="Only addresses shown with this reason."),
]
ScopeName = Literal["stream", "marketing", "all"]
"""The values of `Scope`: a Literal, because the OpenAPI document has no room for a second `Scope`."""

ScopeParameter = Annotated[
    ScopeName | None,
    QueryParameter(name="scope", description="The scope of rows that have none."),
]


@read("/suppressions")
def suppressions(
    services: InjectedServices,
    request: AnyRequest,
    stream: StreamsParameter = None,
    prefix: Annotated[
        str | None,
        QueryParameter(
            description="How addresses begin, without their @: no address belongs in a URL. `@exam` "
            "finds whole domains. For one person: `POST /suppressions/check`."
        ),
    ] = None,
    reason: ReasonParameter = None,
    active: Annotated[
        Literal["true", "false", "all"],
        QueryParameter(
            description="`true`: those that block now; `false`: those that no longer do; or `all`."
        ),
    ] = "true",
    limit: LimitParameter = None,
    cursor: Annotated[
        str | None,
        QueryParameter(description="`nextCursor` of an earlier answer to the same query."),
    ] = None,
    form: FormatParameter = "json",
) -> Response[SuppressedAddresses]:
    """Suppressed addresses and whole domains, with the history of each."""
    query = suppression_query(services, stream=stream, prefix=prefix, reason=reason, active=active)
    if form == "csv":
        if query.active is not True:
            raise InvalidParameter("active", "active: a file has those that block; leave it out.")
        name = file_name("suppressions", stream_label(services, query.streams), ())
        reader = suppression_reader(services, query, cursor)
        file = CsvFile(name, CSV_HEADER, lambda size, after: CsvPage(*reader(size, after)))
        return csv_answer(services, request, file, limit, cursor)
    return Response(list_suppressions(services, query, limit, cursor))


@read("/suppressions/stats")
def suppression_stats(
    services: InjectedServices,
    stream: StreamsParameter = None,
    since: FromParameter = None,
    until: ToParameter = None,
) -> SuppressionStats:
    """How many addresses are suppressed, by reason and since when; `from` and `to` limit the latter."""
    return service.suppression_stats(services, stream=stream, since=since, until=until)


class Suppress(Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Addresses, and whole domains as `@example.com`, to suppress for one reason. The `scope` `stream` needs a
    `stream`. The default scope is that of the reason; for `manual` and `import` it is the stream if one is
    named, else all. `until` is a date or an instant. The same `changeId` adds nothing twice.
    """

    addresses: AddressList
    reason: SuppressionReason = SuppressionReason.MANUAL
    scope: ScopeName | None = None
    stream: str | None = None
    until: str | None = None
    note: str | None = None
    change_id: str | None = None


class Remove(Struct, frozen=True, rename="camel", kw_only=True, forbid_unknown_fields=True):
    """Addresses whose suppressions are removed in the `streams` (all if absent): all their causes, or only the
    `causes` named by id. The `note` says why. With `restores` the removals of that change are undone instead.
    """

    addresses: AddressList
    streams: list[str] | None = None
    causes: Annotated[list[str], Limits(max_length=MAX_ADDRESSES)] = []
    note: str | None = None
    change_id: str | None = None
    restores: str | None = None


class Check(Struct, frozen=True, forbid_unknown_fields=True):
    """Addresses to check, in the `streams` (all if absent)."""

    addresses: AddressList
    streams: list[str] | None = None


class Checked(Struct, frozen=True, kw_only=True):
    """The addresses checked, in the order of the request."""

    data: list[CheckedAddress]
    meta: Meta


@ask("/suppressions")
def add_suppressions(services: InjectedServices, data: JSONBody[Suppress]) -> Changed:
    """Suppress up to 1,000 addresses and whole domains."""
    change = _change(services, data.change_id)
    until = None if data.until is None else _until(data.until)
    if data.stream is not None:
        _streams(services, [data.stream])
    requests = [
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
    return changed(change, services.suppressions.add(requests, change))


@ask("/suppressions/remove")
def remove_suppressions(services: InjectedServices, data: JSONBody[Remove]) -> Changed:
    """Remove the suppressions of up to 1,000 addresses and whole domains, or restore removed ones."""
    streams = _streams(services, data.streams)
    change = _change(services, data.change_id if data.restores is None else data.restores)
    if data.restores is not None:
        if data.causes or data.change_id is not None:
            raise InvalidParameter(
                "restores", "restores: a change is restored whole, without causes or a changeId."
            )
        return changed(change, services.suppressions.restore(data.addresses, change, streams))
    results = services.suppressions.remove(
        data.addresses, change, data.note or "", streams, data.causes
    )
    return changed(change, results)


@ask("/suppressions/check")
def check_suppressions(services: InjectedServices, data: JSONBody[Check]) -> Checked:
    """Whether up to 1,000 addresses may be sent to; if not, the reason, the scope, and since when."""
    streams = _streams(services, data.streams)
    results = services.suppressions.check(data.addresses, streams)
    return Checked(data=[checked(result) for result in results], meta=meta_of(services, streams))


@ask("/suppressions/import", body=MEDIA_TYPE)
def import_suppressions(
    services: InjectedServices,
    body: RawBody,
    *,
    dry_run: Annotated[
        bool,
        QueryParameter(name="dryRun", description="Report the results without changing anything."),
    ] = False,
    stream: Annotated[
        str | None, QueryParameter(description="The stream of rows without one.")
    ] = None,
    reason: Annotated[
        SuppressionReason, QueryParameter(description="The reason of rows without one.")
    ] = SuppressionReason.IMPORT,
    default_scope: ScopeParameter = None,
    partial: Annotated[
        bool,
        QueryParameter(
            description="Import the valid rows of a file in which a quote is not closed."
        ),
    ] = False,
    change_id: Annotated[
        str | None,
        QueryParameter(
            name="changeId",
            description="The id of the change; a repeated import with the same id adds nothing.",
        ),
    ] = None,
) -> Imported:
    """Import a CSV file of up to a megabyte. It has a column `email`, and may have `stream`, `reason`, `scope`,
    `until`, `note` and `firstAt`; a file of `GET /suppressions?format=csv` can be imported. A file in which a
    quote is not closed is refused whole, unless `partial` is set.
    """
    change = _change(services, change_id)
    if stream is not None:
        _streams(services, [stream])
    text = decode_csv(bytes(body))
    defaults = SuppressionDefaults(reason=reason, scope=_scope(default_scope), stream=stream)
    if not partial:
        refuse_broken_quotes(SuppressionFile(split_lines(text), defaults))
    file = SuppressionFile(split_lines(text), defaults)
    return import_rows(services.suppressions, file, change, dry_run=dry_run)


def _change(services: Services, change_id: str | None) -> str:
    if change_id is None:
        return services.new_request_id()
    if CHANGE_ID.fullmatch(change_id) is None:
        raise InvalidParameter(
            "changeId", "changeId: it is 8 to 64 letters, digits, - and _ (so is restores)."
        )
    return change_id


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


HANDLERS = [
    suppressions,
    suppression_stats,
    add_suppressions,
    remove_suppressions,
    check_suppressions,
    import_suppressions,
]
"""Every route of the list."""
